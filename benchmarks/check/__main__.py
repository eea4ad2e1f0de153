"""`make bench-check`: how long `bedside check` takes for one deployment, for 500 files, and for four times as many.

Whole processes, as a person starts them: our rules alone and with the stock tools, on files without and with findings.
Beside it what others need for the same 500 files: PyYAML only to read them, trivy to check them. Of some runs the
fastest counts (what takes most of a minute runs once), in seconds of CPU too, which a busy machine changes less.
Writes docs/benchmarks-check.md.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

GOOD = Path(__file__).parents[2] / "tests" / "policy" / "deployments" / "icu"
KINDS = ("deployment", "service", "ingress", "budget")
BESIDE = Path(sys.executable).parent
READING = "import sys, yaml, pathlib; [list(yaml.safe_load_all(p.read_text())) for p in pathlib.Path('.').glob('*')]"
CARELESS = Path(__file__).with_name("careless.yaml")
PAGE = Path(__file__).parents[2] / "docs" / "benchmarks-check.md"
RUNS = 3
SLOW_RUNS = 1
"""What takes most of a minute is measured once."""


@dataclass(frozen=True)
class Row:
    """What one command needs; seconds on the clock, and of CPU."""

    name: str
    files: int
    wall: float
    processor: float


def main() -> int:
    """Time everything, in turn, and print the table."""
    work = Path(tempfile.mkdtemp(prefix="bench-check-"))
    try:
        rows = list(_rows(work))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    text = Path(__file__).with_name("page.md").read_text()
    page = text.format(
        runs=RUNS,
        day=datetime.now(UTC).date(),
        cores=os.cpu_count(),
        load=os.getloadavg()[0],
        trivy=_version(),
        table=_table(rows),
    )
    PAGE.write_text(page)
    print(page)
    return 0


def _table(rows: Sequence[Row]) -> str:
    (reading,) = (row for row in rows if row.name.startswith("PyYAML"))
    lines = ["| what | files | seconds | of CPU | times reading |", "|---|---|---|---|---|"]
    for row in rows:
        ratio = f"{row.processor / reading.processor:.1f}" if row.files == reading.files else ""
        lines.append(f"| {row.name} | {row.files} | {row.wall:.1f} | {row.processor:.1f} | {ratio} |")
    return "\n".join(lines)


def _version() -> str:
    trivy = _trivy()
    if trivy is None:
        return "is not installed"
    said = subprocess.run([trivy, "--version"], check=True, capture_output=True, text=True).stdout
    return said.splitlines()[0].removeprefix("Version: ")


def _trivy() -> str | None:
    return shutil.which("trivy", path=f"{BESIDE}{os.pathsep}{os.environ['PATH']}")


def _rows(work: Path) -> Iterator[Row]:
    whole = (str(BESIDE / "bedside"), "check", "--fail-on", "never", ".")
    alone = (*whole, "--no-stock")
    few, many, careless = _tree(work / "500", 125), _tree(work / "2000", 500), _careless(work / "careless", 500)
    shutil.copytree(GOOD, work / "icu")
    yield _timed("PyYAML, which only reads them", few, (sys.executable, "-c", READING))
    yield _timed("`bedside check --no-stock`, one deployment", work / "icu", alone)
    yield _timed("`bedside check --no-stock`, good", few, alone)
    yield _timed("`bedside check --no-stock`, good", many, alone)
    yield _timed("`bedside check --no-stock`, careless: 6500 findings", careless, alone)
    trivy = _trivy()
    if trivy is not None:
        config = (trivy, "config", "--skip-check-update", "--quiet", "--format", "json", ".")
        yield _timed("`bedside check`, one deployment", work / "icu", whole)
        yield _timed("`bedside check`, good", few, whole)
        yield _timed("`bedside check`, careless", careless, whole)
        yield _timed("`bedside check --stock`, good", few, (*whole, "--stock"), SLOW_RUNS)
        yield _timed("`trivy config` alone, good", few, config, SLOW_RUNS)
        yield _timed("`bedside check --stock`, careless", careless, (*whole, "--stock"), SLOW_RUNS)
        yield _timed("`trivy config` alone, careless", careless, config, SLOW_RUNS)


def _careless(directory: Path, deployments: int) -> Path:
    """Write so many files with a Deployment and a Service each, which take no care of anything."""
    directory.mkdir()
    for number in range(deployments):
        (directory / f"app-{number}.yaml").write_text(CARELESS.read_text().replace("NAME", f"app-{number}"))
    return directory


def _tree(directory: Path, deployments: int) -> Path:
    """Write so many deployments of four files each, which differ by name."""
    directory.mkdir()
    for number in range(deployments):
        for kind in KINDS:
            text = (GOOD / "k8s" / f"{kind}.yaml").read_text().replace("icu-mortality", f"icu-{number}")
            (directory / f"{kind}-{number}.yaml").write_text(text)
    return directory


def _timed(name: str, directory: Path, command: Sequence[str], runs: int = RUNS) -> Row:
    took = [_once(directory, command) for _ in range(runs)]
    files = sum(path.is_file() for path in directory.rglob("*"))
    return Row(name, files, min(wall for wall, _ in took), min(processor for _, processor in took))


def _once(directory: Path, command: Sequence[str]) -> tuple[float, float]:
    before, started = os.times(), time.perf_counter()
    subprocess.run(command, cwd=directory, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - started, used


if __name__ == "__main__":
    sys.exit(main())

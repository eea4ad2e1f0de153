"""`make bench-check`: how long `bedside check` takes for one deployment, for 500 files, and for four times as many.

Whole processes, as a person starts them. Beside it what others need for the same 500 files: PyYAML only to read them,
trivy to check them. Of some runs the fastest counts, in seconds of CPU too, which a busy machine changes less. Prints
the table of docs/architecture/23-policy.md.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

GOOD = Path(__file__).parents[2] / "tests" / "policy" / "deployments" / "icu"
KINDS = ("deployment", "service", "ingress", "budget")
BESIDE = Path(sys.executable).parent
READING = "import sys, yaml, pathlib; [list(yaml.safe_load_all(p.read_text())) for p in pathlib.Path('.').glob('*')]"
RUNS = 3


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
    print("| what | files | seconds | of CPU | times reading |\n|---|---|---|---|---|")
    (reading,) = (row for row in rows if row.name.startswith("PyYAML"))
    for row in rows:
        ratio = f"{row.processor / reading.processor:.1f}" if row.files == reading.files else ""
        print(f"| {row.name} | {row.files} | {row.wall:.1f} | {row.processor:.1f} | {ratio} |")
    return 0


def _rows(work: Path) -> Iterator[Row]:
    check = (str(BESIDE / "bedside"), "check", "--no-stock", "--fail-on", "never", ".")
    few, many = _tree(work / "500", 125), _tree(work / "2000", 500)
    shutil.copytree(GOOD, work / "icu")
    yield _timed("PyYAML, which only reads them", few, (sys.executable, "-c", READING))
    yield _timed("`bedside check`, one deployment", work / "icu", check)
    yield _timed("`bedside check`", few, check)
    yield _timed("`bedside check`", many, check)
    trivy = shutil.which("trivy", path=f"{BESIDE}{os.pathsep}{os.environ['PATH']}")
    if trivy is not None:
        yield _timed("`trivy config`", few, (trivy, "config", "--skip-check-update", "--quiet", "."))


def _tree(directory: Path, deployments: int) -> Path:
    """Write so many deployments of four files each, which differ by name."""
    directory.mkdir()
    for number in range(deployments):
        for kind in KINDS:
            text = (GOOD / "k8s" / f"{kind}.yaml").read_text().replace("icu-mortality", f"icu-{number}")
            (directory / f"{kind}-{number}.yaml").write_text(text)
    return directory


def _timed(name: str, directory: Path, command: Sequence[str]) -> Row:
    took = [_once(directory, command) for _ in range(RUNS)]
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

"""``python -m benchmarks.audit``: measures, and writes docs/benchmarks-audit.md. About five minutes.

``--quick`` takes one short round and a small log, and prints the page instead. Measures where temporary files lie, or
in the folder that BENCH_AUDIT_DIRECTORY names: on the disk that matters, not in memory.
"""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bedside import wiring
from bedside.locking.environments import EnvironmentCache
from bedside.stages import audit_keys, package
from bedside.stages import serve as serving_stage
from bedside_runtime import golden, service
from bedside_runtime.audit.mounted import HMAC_KEY, SIGNING_KEY
from bedside_runtime.audit.privacy import KeepsHmac, read_hmac_key
from bedside_runtime.contract import FILE_NAME, Contract, decode
from benchmarks.audit import committing, growing, serving, table
from benchmarks.audit.committing import Answer, Committed
from benchmarks.audit.serving import Verified

_ROOT: Final = Path(__file__).parents[2]
_PAGE: Final = _ROOT / "docs" / "benchmarks-audit.md"
_CALLERS: Final = (1, 16, 64)
_POD: Final = "icu-0"
_WAYS: Final = {"log": committing.log_alone, "recorder": committing.recorded}


class _Bench:
    """One release, its keys, and a folder to measure in."""

    def __init__(self, work: Path, *, quick: bool) -> None:
        self._work = work
        self._rounds, self._seconds, self._size = (1, 0.5, 20_000_000) if quick else (5, 2.0, 1_000_000_000)
        self._release = _packaged(work)
        self._keys = audit_keys.keygen(self._release, work / "keys")
        self._answer = _answer(decode((self._release / FILE_NAME).read_bytes()), self._release, self._keys.pod)

    def measure(self) -> table.Measured:
        """Measure all of it."""
        committed = self._committed()
        _say(f"writing a log of {self._size / 1e6:,.0f} MB")
        grown = self._work / "grown" / _POD
        size = growing.grow(grown, self._answer, (self._keys.pod / SIGNING_KEY).read_bytes(), self._size)
        verified = self._verified(grown)
        line = len(self._answer.body()) + 260
        return table.Measured(_machine(self._work), line, size, committed, verified, self._ready(grown))

    def _committed(self) -> Mapping[tuple[str, int], Sequence[Committed]]:
        found: dict[tuple[str, int], list[Committed]] = {(way, n): [] for n in _CALLERS for way in _WAYS}
        for number in range(self._rounds):
            for way, callers in found:
                _say(f"round {number + 1}: {way}, {callers} callers")
                directory = self._work / f"{way}-{callers}-{number}"
                found[way, callers].append(_WAYS[way](directory, self._answer, callers, self._seconds))
                shutil.rmtree(directory)
                shutil.rmtree(directory.with_name(f"{directory.name}-raw"))
        return found

    def _verified(self, grown: Path) -> Mapping[str, Sequence[Verified]]:
        key = self._keys.auditor / "audit-verification.key"
        ways = {"chain": None, "chain and signatures": key}
        found: dict[str, list[Verified]] = {way: [] for way in ways}
        for number in range(min(self._rounds, 3)):
            for way, given in ways.items():
                _say(f"round {number + 1}: verifying, {way}")
                found[way].append(serving.verify(Path(sys.executable), grown, given))
        return found

    def _ready(self, grown: Path) -> Mapping[str, Sequence[float]]:
        environments = EnvironmentCache(wiring.tools().uv, self._work / "locked")  # of the benchmark's own interpreter
        words = serving_stage.command(self._release, environments=environments, port=0, admin_port=0)
        logs = {"none yet": self._work / "none", "the large one": grown.parent}
        found: dict[str, list[float]] = {name: [] for name in logs}
        for number in range(self._rounds):
            for name, directory in logs.items():
                _say(f"round {number + 1}: starting behind {name}")
                environ = {"POD_NAME": _POD, "BEDSIDE_AUDIT_DIRECTORY": str(directory)}
                environ |= {"BEDSIDE_AUDIT_KEYS": str(self._keys.pod)}
                found[name].append(serving.seconds_to_ready(words, environ))
            shutil.rmtree(logs["none yet"])
        return found


def _packaged(work: Path) -> Path:
    """Package the ICU example with a signed log."""
    _say("packaging the ICU example")
    project = work / "icu-mortality"
    shutil.copytree(_ROOT / "examples" / project.name, project, ignore=shutil.ignore_patterns("dist", "__pycache__"))
    with (project / "bedside.toml").open("a") as declared:
        declared.write("\n[audit]\nsigned = true\nlow_water_bytes = 0\n")
    tools = wiring.tools()
    package.package(project, runner=tools.runner, uv=tools.uv)
    (release,) = (project / "dist").iterdir()
    return release


def _answer(contract: Contract, release: Path, keys: Path) -> Answer:
    """The first golden case, answered as the study answered it."""
    case = golden.parse((release / "golden.jsonl").read_bytes(), contract.inputs, contract.output)[0]
    predictions = (service.Prediction(case.expected, "elevated", case.row.flags),)
    caller = service.Caller("0f4c5a6d7e8f90a1b2c3d4e5f6071829", "ehr")
    entry = service.Entry(caller, (case.row.cells,), predictions, 0.001, 1)
    key = read_hmac_key((keys / HMAC_KEY).read_bytes())
    return Answer(entry, KeepsHmac([item.name for item in contract.inputs], "sha256:" + "ab" * 32, None, key))


def _machine(work: Path) -> str:
    here = (
        f"{os.cpu_count()} cores, Linux {platform.release()}, {_file_system(work)}, Python {platform.python_version()}"
    )
    return f"Measured on {datetime.now(UTC):%Y-%m-%d}: {here}; load average {os.getloadavg()[1]:.1f} over five minutes."


def _file_system(path: Path) -> str:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    under = [mount for mount in mounts if path.resolve().is_relative_to(mount[1])]
    return max(under, key=lambda mount: len(mount[1]))[2]


def _say(text: str) -> None:
    sys.stderr.write(f"  {text}\n")


def main(arguments: Sequence[str]) -> int:
    """Measure, and write the page; with ``--quick``, print it."""
    quick = "--quick" in arguments
    write: Callable[[str], object] = sys.stdout.write if quick else _PAGE.write_text
    with tempfile.TemporaryDirectory(prefix="bench-audit-", dir=os.environ.get("BENCH_AUDIT_DIRECTORY")) as work:
        write(table.page(_Bench(Path(work), quick=quick).measure()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

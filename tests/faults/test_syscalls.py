"""Every system call that the real writer makes on its log fails once, is interrupted, or kills the process.

Which calls those are is not written down here: strace watches a writer that goes through its whole life, and whatever
it asks of the kernel is then made to fail. A call that the writer learns to make tomorrow is in the list tomorrow.
"""

import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from appending import LONG, POD, command, read, run, survived
from tracing import calls, injected

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")

ERRORS = ["error=EIO", "error=ENOSPC", "error=EROFS"] if LONG else ["error=EIO", "error=ENOSPC"]
INTERRUPTED = "error=EINTR"
MAY_BE_INTERRUPTED = {"openat", "flock", "fallocate", "write", "fdatasync", "fsync", "pread64", "ftruncate", "fstatfs"}
"""Calls that may return EINTR by their manual. close may too, and has closed then."""

KILLED = "signal=SIGKILL"
KNOWN = {"openat", "flock", "fallocate", "write", "fdatasync", "fsync", "getdents64", "ftruncate", "pread64", "close"}
KNOWN |= {"fstatfs", "mkdir"}
"""What a file system is certainly asked; the names of others differ between machines."""


def before(tmp_path: Path) -> Path:
    """A log of one orderly life, with what a crash can leave behind: the second life has everything to do."""
    directory = tmp_path / "before" / POD
    assert run(command(directory, "b0", 0, 12))[0] == 0
    (directory / ".new-b9-00000009.jsonl").write_bytes(b"half a gen")
    return directory


def life(log: Path, tmp_path: Path, name: str) -> Path:
    shutil.copytree(log, tmp_path / name / POD)
    return tmp_path / name / POD


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return before(tmp_path_factory.mktemp("log"))


@pytest.fixture(scope="module")
def made(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Counter[str]:
    """How often a second life makes which call, and a first one makes those of its own."""
    work = tmp_path_factory.mktemp("calls")
    found, acknowledged = calls(life(log, work, "second"), "b1", 1_000, 40)
    assert len(acknowledged) >= 40
    (work / "first").mkdir()
    first, _ = calls(work / "first" / POD, "b1", 1_000, 4)
    return found | first


def moments(count: int) -> list[int]:
    """Which of ``count`` calls go wrong: all of them in `make faults`; elsewhere the first, the last, one between."""
    return list(range(1, count + 1)) if LONG else sorted({1, (count + 1) // 2, count})


def test_what_is_made_to_fail_is_what_the_writer_asks_for(made: Counter[str]) -> None:
    assert made.keys() >= KNOWN
    assert made.keys() & {"rename", "renameat", "renameat2"}
    assert made.keys() & {"unlink", "unlinkat"}
    assert made["fdatasync"] >= 20


@pytest.mark.timeout(7_200 if LONG else 300)
def test_a_call_that_fails_loses_nothing_acknowledged(
    log: Path, made: Counter[str], tmp_path: Path, figure: Callable[[str, object], None]
) -> None:
    hit, tried = Counter[str](), 0
    for call, count in made.items():
        for way in ERRORS:
            for when in moments(count):
                code, directory = _hurt(log, tmp_path, call, way, when)
                assert code in (0, 4), (call, way, when)
                hit[call] += code == 4
                tried += 1
                shutil.rmtree(directory.parent)
    for call in ("openat", "write", "fdatasync", "fallocate", "fsync", "flock", "getdents64", "fstatfs"):
        assert hit[call], f"no failure of {call} was met"
    figure("failed system calls", f"{tried:,} over {len(made)} calls, {hit.total():,} latched, 0 records lost")


@pytest.mark.timeout(7_200 if LONG else 300)
def test_a_process_killed_in_a_call_loses_nothing_acknowledged(
    log: Path, made: Counter[str], tmp_path: Path, figure: Callable[[str, object], None]
) -> None:
    killed = 0
    for call, count in made.items():
        for when in moments(count):
            code, directory = _hurt(log, tmp_path, call, KILLED, when)
            assert code == -signal.SIGKILL, (call, when)
            shutil.rmtree(directory.parent)
            killed += 1
    figure("killed in a system call", f"{killed:,} times, 0 records lost")


@pytest.mark.timeout(7_200 if LONG else 300)
def test_a_call_that_a_signal_interrupts_is_made_again(log: Path, made: Counter[str], tmp_path: Path) -> None:
    for call in MAY_BE_INTERRUPTED:
        for when in moments(made[call]):
            code, directory = _hurt(log, tmp_path, call, INTERRUPTED, when)
            assert code == 0, (call, when)
            shutil.rmtree(directory.parent)


def _hurt(log: Path, tmp_path: Path, call: str, way: str, when: int) -> tuple[int, Path]:
    name = f"{call}-{way}-{when}"
    directory = tmp_path / name / POD if call == "mkdir" else life(log, tmp_path, name)
    directory.parent.mkdir(exist_ok=True)
    acknowledged = set[str]() if call == "mkdir" else read(log)[1]
    code, further = run(injected(directory, call, way, when) + command(directory, "b1", 1_000, 40))
    survived(directory, [*acknowledged, *further])
    return code, directory


def test_every_answer_waits_for_data_names_and_folders_to_be_durable(tmp_path: Path) -> None:
    """The order of the real writer's system calls, from the first folder to the last record."""
    from tracing import everything

    directory = tmp_path / "new" / "volume" / POD
    trace = everything(command(directory, "b0", 0, 60), tmp_path / "trace")
    order = _Order(tmp_path / "new")
    for call in trace:
        order.take(call.name, call.arguments, call.returned)
    assert order.acknowledged >= 60
    assert order.renamed > 2
    assert order.folders == 3


class _Order:
    """Follows system calls, and says at each acknowledgement whether something of the log is not durable yet."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._dirty: set[str] = set()
        self._names: set[str] = set()
        self.acknowledged = self.renamed = self.folders = 0

    def take(self, name: str, arguments: str, returned: int) -> None:
        if returned < 0:
            return
        described = arguments.split("<", 1)[-1].split(">")[0]
        if name == "mkdir":
            self._made(arguments.split('"')[1])
        elif name in ("write", "writev", "pwrite64", "pwritev", "pwritev2"):
            self._wrote(arguments, described)
        elif name == "fdatasync":
            self._dirty.discard(described)
        elif name == "fsync":
            self._names.discard(described)
            self._dirty.discard(described)
        elif name.startswith("rename"):
            self._renamed(arguments, described)

    def _made(self, path: str) -> None:
        if path.startswith(self._root):
            self._names.add(str(Path(path).parent))
            self.folders += 1

    def _wrote(self, arguments: str, described: str) -> None:
        if described.startswith(self._root) and described.endswith(".jsonl"):
            self._dirty.add(described)
        elif arguments.startswith("1<") and '"r-' in arguments:
            self.acknowledged += 1
            assert not self._dirty, f"acknowledged before {self._dirty} was synced"
            assert not self._names, f"acknowledged before names in {self._names} were synced"

    def _renamed(self, arguments: str, described: str) -> None:
        if described.startswith(self._root):
            assert not self._dirty, f"{self._dirty} got its name before its bytes were durable"
            self._names.add(described)
            self.renamed += 1

"""Every system call on the log fails once, or the process is killed in it: strace makes it so."""

import os
import shutil
from pathlib import Path

import pytest
from appending import LONG, POD, command, run, survived

from bedside_runtime.audit.segments import UNPUBLISHED, segment_name

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")

CALLS = {
    "openat": 6,
    "flock": 4,
    "fallocate": 6,
    "write": 12,
    "fdatasync": 12,
    "rename,renameat,renameat2": 3,
    "fsync": 4,
    "newfstatat,fstat,stat,statx": 12,
    "getdents64": 6,
    "ftruncate": 3,
    "pread64": 3,
    "close": 4,
}
"""Each system call of the log, and how many times it is made to fail in the long form."""

WAYS = ["error=EIO", "error=ENOSPC", "error=EROFS", "signal=SIGKILL"]
SHORT = 2


def _traced(directory: Path, call: str, way: str, when: int) -> list[str]:
    names = [segment_name(boot, number) for boot in ("b0", "b1") for number in range(8)]
    files = [directory, directory / ".writer.lock", *(directory / name for name in names)]
    files += [directory / (UNPUBLISHED + name) for name in names]
    watched = [word for path in files for word in ("-P", str(path))]
    return ["strace", "-f", "-qq", "-o", os.devnull, *watched, "-e", f"inject={call}:{way}:when={when}"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("call", CALLS)
def test_a_system_call_that_fails_loses_nothing_acknowledged(call: str, way: str, tmp_path: Path) -> None:
    for when in range(1, (CALLS[call] if LONG else SHORT) + 1):
        directory = tmp_path / str(when) / POD
        directory.mkdir(parents=True)
        code, first = run(command(directory, "b0", 0, 12))
        assert code == 0
        code, second = run(_traced(directory, call, way, when) + command(directory, "b1", 1_000, 40))
        assert code in ({0, 4} if way.startswith("error") else {0, -9, 137})
        survived(directory, [*first, *second])


def test_the_injection_meets_the_log(tmp_path: Path) -> None:
    """Without this, every test above might pass because strace hits nothing."""
    for call in ("write", "fdatasync", "fallocate", "rename,renameat,renameat2", "openat", "fsync"):
        directory = tmp_path / call / POD
        directory.mkdir(parents=True)
        assert run(_traced(directory, call, "error=EIO", 1) + command(directory, "b0", 0, 12)) == (4, []), call

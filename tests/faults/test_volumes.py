"""Real file systems that run full, lose their power, or come back read-only."""

import contextlib
import fcntl
import os
import shutil
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from appender import made
from appending import LONG, NO_ALARM, POD, command, read, run, survived

from bedside_runtime import canonical
from bedside_runtime.audit.log import AuditLog
from bedside_runtime.audit.reading import judge
from bedside_runtime.audit.verify import Verdict


@contextlib.contextmanager
def mounted(place: Path, *arguments: str) -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *arguments, str(place)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("this machine lets nobody mount: " + done.stderr.decode().strip())
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_volume_that_runs_full_latches_and_loses_nothing(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=128k", "tmpfs") as small:
        code, acknowledged = run(command(small / POD, "b0", 0, 0))
        assert code == 4
        assert len(acknowledged) > 50
        found, kept = read(small / POD)
        assert found.verdict in NO_ALARM
        assert set(acknowledged) <= kept
        shutil.copytree(small / POD, tmp_path / POD)
    survived(tmp_path / POD, acknowledged)


def test_a_volume_mounted_read_only_is_refused_and_untouched(tmp_path: Path) -> None:
    with mounted(tmp_path / "volume", "-t", "tmpfs", "-o", "size=1m", "tmpfs") as volume:
        _, acknowledged = run(command(volume / POD, "b0", 0, 20))
        subprocess.run(["mount", "-o", "remount,ro", str(volume)], check=True)
        assert run(command(volume / POD, "b1", 100, 20)) == (4, [])
        assert judge(volume / POD).verdict is Verdict.INTACT
        subprocess.run(["mount", "-o", "remount,rw", str(volume)], check=True)
        survived(volume / POD, acknowledged)


@pytest.mark.skipif(shutil.which("mkfs.ext4") is None, reason="mkfs.ext4 is not installed")
def test_after_a_power_cut_everything_acknowledged_is_there(
    tmp_path: Path, figure: Callable[[str, object], None]
) -> None:
    """The disk is copied while the writer stands still: what was not synced is in memory only, and lost.

    Each copy is a file of its own: where another mount namespace still holds the last one, its cache would be mounted.
    """
    image = _ext4(tmp_path / "disk.img")
    cycles, records = 100 if LONG else 2, 0
    for cycle in range(cycles):
        copy, log = tmp_path / f"cut-{cycle}.img", Path(str(cycle // 20), POD)
        with mounted(tmp_path / "disk", "-o", "loop", str(image)) as disk:
            acknowledged = _power_cut(image, disk / log, tmp_path / f"told-{cycle}", copy, cycle)
        with mounted(tmp_path / "found", "-o", "loop", str(copy)) as found:
            assert set(acknowledged) <= read(found / log)[1]
            survived(found / log, acknowledged)
        copy.unlink()
        records += len(acknowledged)
    figure("power cuts of ext4", f"{cycles:,}, {records:,} acknowledged records, 0 lost")


def _power_cut(image: Path, directory: Path, told: Path, copy: Path, cycle: int) -> list[str]:
    """Let a writer run, stop it at some moment, and copy the disk as it is. Returns what was acknowledged by then."""
    with _endless(directory, f"b{cycle}", cycle * 100_000, told, 500 + cycle * 37) as child:
        os.kill(child.pid, signal.SIGSTOP)
        shutil.copyfile(image, copy)
        acknowledged = told.read_text().split()
        child.kill()
    assert len(acknowledged) > 10
    return acknowledged


WHOLE, JOURNAL_FLUSHED, JOURNAL_LOST = 0, 1, 2
"""EXT4_GOING_FLAGS_DEFAULT, _LOGFLUSH and _NOLOGFLUSH: only the first waits for what is under way."""


@pytest.mark.skipif(shutil.which("mkfs.ext4") is None, reason="mkfs.ext4 is not installed")
@pytest.mark.parametrize(
    "how", [WHOLE, JOURNAL_FLUSHED, JOURNAL_LOST], ids=["whole", "journal-flushed", "journal-lost"]
)
def test_a_volume_that_dies_under_the_writer_latches_and_loses_nothing(how: int, tmp_path: Path) -> None:
    """Where the file system waits for nothing, what was acknowledged before the shutdown began is there.

    ext4 may report success for a sync that is in flight while the shutdown ends its journal: the data were written,
    the change of their extents from unwritten to written was not, and nobody is told (1 to 3 of 40 times, on Linux
    6.18). A disk that is pulled out fails its writes instead, so that one group is not asked for here.
    """
    image, told = _ext4(tmp_path / "disk.img"), tmp_path / "told"
    with mounted(tmp_path / "disk", "-o", "loop", str(image)) as disk:
        with _endless(disk / POD, "b0", 0, told, 500) as child:
            before = told.read_text().split()
            _shut_down(disk, how)
            assert child.wait(60) == 4
        assert len(before) > 10
        acknowledged = told.read_text().split() if how == WHOLE else before
    shutil.copyfile(image, tmp_path / "found.img")
    with mounted(tmp_path / "found", "-o", "loop", str(tmp_path / "found.img")) as found:
        survived(found / POD, acknowledged)


@pytest.mark.skipif(shutil.which("mkfs.ext4") is None, reason="mkfs.ext4 is not installed")
def test_while_a_volume_hangs_the_log_says_so_and_what_waits_is_durable_once_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bedside_runtime.audit.log.STALLED_AFTER", 0.2)
    with mounted(tmp_path / "disk", "-o", "loop", str(_ext4(tmp_path / "disk.img"))) as disk:
        durable = threading.Event()
        log: AuditLog[None] = AuditLog(made(disk / POD, "b0"), lambda _tickets, error: error or durable.set())
        log.open()
        with _hanging(disk):
            log.submit([((canonical.encode({"kind": "prediction", "request": "r-0"}),), None)])
            assert _soon(lambda: log.state == "stalled")
            assert not durable.is_set()
        assert durable.wait(60)
        assert _soon(lambda: log.state == "open")
        log.close()
        found, kept = read(disk / POD)
        assert (found.verdict, kept) == (Verdict.INTACT, {"r-0"})


FREEZE, THAW = 0xC0045877, 0xC0045878
"""FIFREEZE and FITHAW: in between every write to the file system waits."""


@contextlib.contextmanager
def _hanging(disk: Path) -> Iterator[None]:
    descriptor = os.open(disk, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, FREEZE, 0)
        try:
            yield
        finally:
            fcntl.ioctl(descriptor, THAW, 0)
    finally:
        os.close(descriptor)


def _soon(said: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not said() and time.monotonic() < deadline:
        time.sleep(0.01)
    return said()


def _ext4(image: Path) -> Path:
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    return image


@contextlib.contextmanager
def _endless(directory: Path, boot: str, start: int, told: Path, size: int) -> Iterator[subprocess.Popen[bytes]]:
    """A writer that goes on, once it has acknowledged so many records that ``told`` has ``size`` bytes."""
    with (
        told.open("wb") as stdout,
        subprocess.Popen(command(directory, boot, start, 0), stdout=stdout) as child,
    ):
        try:
            deadline = time.monotonic() + 60
            while told.stat().st_size < size and time.monotonic() < deadline:
                time.sleep(0.005)
            yield child
        finally:
            child.kill()


def _shut_down(disk: Path, how: int) -> None:
    """EXT4_IOC_SHUTDOWN: from this moment on every write fails, as on a volume that was taken away."""
    descriptor = os.open(disk, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, 0x8004587D, struct.pack("I", how))
    finally:
        os.close(descriptor)

"""Real file systems that run full, lose their power, or come back read-only."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from appending import LONG, NO_ALARM, POD, command, read, run, survived

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
    """The disk is copied while the writer stands still: what was not synced is in memory only, and lost."""
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    cycles, records = 100 if LONG else 2, 0
    for cycle in range(cycles):
        with mounted(tmp_path / "disk", "-o", "loop", str(image)) as disk:
            acknowledged = _power_cut(image, disk / POD, tmp_path / "cut.img", cycle)
        with mounted(tmp_path / "found", "-o", "loop", str(tmp_path / "cut.img")) as found:
            assert set(acknowledged) <= read(found / POD)[1]
            survived(found / POD, acknowledged)
        records += len(acknowledged)
    figure("power cuts of ext4", f"{cycles:,}, {records:,} acknowledged records, 0 lost")


def _power_cut(image: Path, directory: Path, copy: Path, cycle: int) -> list[str]:
    """Let a writer run, stop it at some moment, and copy the disk as it is. Returns what was acknowledged by then."""
    told = directory.parent.parent / f"told-{cycle}"
    with told.open("wb") as stdout:
        child = subprocess.Popen(command(directory, f"b{cycle}", cycle * 100_000, 0), stdout=stdout)
        deadline = time.monotonic() + 20
        while told.stat().st_size < 500 + cycle * 37 and time.monotonic() < deadline:
            time.sleep(0.005)
        os.kill(child.pid, signal.SIGSTOP)
        shutil.copyfile(image, copy)
        acknowledged = told.read_text().split()
        child.kill()
        child.wait()
    assert len(acknowledged) > 10
    return acknowledged

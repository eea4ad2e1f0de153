"""Fetching a large file: whatever fails, the name stands for the validated bytes, or for nothing."""

import errno
import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bedside_runtime.errors import (
    ArtifactMismatch,
    BedsideRuntimeError,
    FetchBusy,
    StorageRefused,
    StorageUnavailable,
    VolumeFull,
)
from bedside_runtime.fetching import download as room
from bedside_runtime.fetching.download import Fetched, download

CHUNK = 1_000
DATA = random.Random(7).randbytes(10 * CHUNK + 123)
SHA256 = hashlib.sha256(DATA).hexdigest()


class Memory:
    """Object storage in memory. ``fails`` is asked before each read, and may raise."""

    def __init__(self, data: bytes = DATA, fails: Callable[[int], None] = lambda _: None) -> None:
        self.data, self.fails = data, fails
        self.asked: list[int] = []

    def size(self) -> int:
        return len(self.data)

    def read(self, start: int, end: int) -> memoryview:
        self.asked.append(start)
        self.fails(start)
        return memoryview(self.data[start:end])


def fetch(source: Any, target: Path, **changes: Any) -> Fetched:
    asked = {"sha256": SHA256, "size": len(DATA), "chunk": CHUNK, "pause": lambda _: None, **changes}
    return download(source, target, **asked)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "model.ubj"


def part(target: Path) -> Path:
    return target.with_name(f".{target.name}.part")


def left(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


def test_the_file_comes_whole_and_alone(target: Path) -> None:
    told: list[tuple[int, int]] = []
    assert fetch(Memory(), target, on_progress=lambda *at: told.append(at)) == Fetched(len(DATA), 0)
    assert target.read_bytes() == DATA
    assert left(target) == ["model.ubj"]
    assert target.stat().st_mode & 0o777 == 0o644
    assert told[-1] == (len(DATA), len(DATA))
    assert told == sorted(told)


def test_a_file_that_is_there_is_compared_and_not_fetched_again(target: Path) -> None:
    target.write_bytes(DATA)
    source = Memory()
    assert fetch(source, target) == Fetched(len(DATA), len(DATA))
    assert source.asked == []
    target.write_bytes(DATA[:-1] + b"\0")
    with pytest.raises(ArtifactMismatch, match="there already"):
        fetch(source, target)


@pytest.mark.parametrize("at", range(0, len(DATA), CHUNK))
def test_a_connection_that_drops_at_any_chunk_is_taken_up_again(target: Path, at: int) -> None:
    dropped: list[int] = []

    def fails(start: int) -> None:
        if start == at and len(dropped) < 3:
            dropped.append(start)
            raise StorageUnavailable("dropped")

    fetch(Memory(fails=fails), target)
    assert target.read_bytes() == DATA
    assert len(dropped) == 3


@pytest.mark.parametrize("at", range(0, len(DATA), CHUNK))
def test_a_fetch_that_was_given_up_at_any_chunk_goes_on_there(target: Path, at: int) -> None:
    def fails(start: int) -> None:
        if start >= at:
            raise StorageUnavailable("dropped")

    with pytest.raises(StorageUnavailable):
        fetch(Memory(fails=fails), target)
    assert left(target) == [".model.ubj.part"]
    assert part(target).read_bytes() == DATA[:at]
    source = Memory()
    assert fetch(source, target) == Fetched(len(DATA), at)
    assert sorted(source.asked) == list(range(at, len(DATA), CHUNK))
    assert target.read_bytes() == DATA


def test_failures_with_bytes_between_them_are_not_added_up(target: Path) -> None:
    seen: dict[int, int] = {}

    def fails(start: int) -> None:
        seen[start] = seen.get(start, 0) + 1
        if seen[start] <= 3:
            raise StorageUnavailable("dropped")

    fetch(Memory(fails=fails), target)
    assert target.read_bytes() == DATA


def test_it_waits_longer_each_time_and_gives_up(target: Path) -> None:
    def fails(_: int) -> None:
        raise StorageUnavailable("dropped")

    waited: list[float] = []
    with pytest.raises(StorageUnavailable):
        fetch(Memory(fails=fails), target, pause=waited.append)
    assert waited == [1, 2, 4, 8]


WRONG: dict[str, tuple[bytes, str]] = {
    "one bit": (DATA[:500] + bytes([DATA[500] ^ 1]) + DATA[501:], "sha256"),
    "the last bit": (DATA[:-1] + bytes([DATA[-1] ^ 1]), "sha256"),
    "truncated": (DATA[:-1], "fewer"),
    "empty": (b"", "fewer"),
    "larger than said": (DATA + b"\0", "more"),
}


@pytest.mark.parametrize("case", WRONG)
def test_other_bytes_never_get_the_name_and_nothing_of_them_stays(target: Path, case: str) -> None:
    data, said = WRONG[case]
    with pytest.raises(ArtifactMismatch, match=said):
        fetch(Memory(data), target)
    assert left(target) == []


def test_without_a_size_the_digest_alone_decides(target: Path) -> None:
    assert fetch(Memory(), target, size=None).size == len(DATA)
    target.unlink()
    with pytest.raises(ArtifactMismatch):
        fetch(Memory(DATA + b"\0"), target, size=None)
    assert left(target) == []


def test_what_an_earlier_fetch_left_damaged_is_found_and_goes(target: Path) -> None:
    part(target).write_bytes(b"\0" * 2_500)
    with pytest.raises(ArtifactMismatch):
        fetch(Memory(), target)
    assert left(target) == []
    fetch(Memory(), target)
    assert target.read_bytes() == DATA


def test_more_than_the_whole_was_left_by_nobody_of_us(target: Path) -> None:
    part(target).write_bytes(b"\0" * (len(DATA) + 1))
    assert fetch(Memory(), target).kept == 0
    assert target.read_bytes() == DATA


def test_an_answer_of_another_length_is_no_answer(target: Path) -> None:
    class Short(Memory):
        def read(self, start: int, end: int) -> memoryview:
            return super().read(start, end)[:-1]

    with pytest.raises(StorageUnavailable, match="999 came"):
        fetch(Short(), target)
    assert part(target).read_bytes() == b""


def test_what_is_refused_is_not_asked_again(target: Path) -> None:
    def fails(_: int) -> None:
        raise StorageRefused("not for you")

    source = Memory(fails=fails)
    with pytest.raises(StorageRefused):
        fetch(source, target)
    assert len(source.asked) <= 4


def test_a_volume_without_room_is_said_before_a_byte_is_asked_for(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: SimpleNamespace(free=len(DATA) - 1))
    source = Memory()
    with pytest.raises(VolumeFull):
        fetch(source, target)
    assert source.asked == []
    assert left(target) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_takes_no_more_leaves_no_name(target: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    written = 0

    def write(_file: Any, data: memoryview) -> None:
        nonlocal written
        written += len(data)
        if written > 3 * CHUNK:
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(room, "_write", write)
    with pytest.raises(VolumeFull if code != errno.EIO else StorageUnavailable):
        fetch(Memory(), target)
    assert not target.exists()
    assert left(target) == ([] if code != errno.EIO else [".model.ubj.part"])


def test_a_link_in_the_way_is_not_followed(target: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"mine")
    part(target).symlink_to(elsewhere)
    with pytest.raises(StorageUnavailable):
        fetch(Memory(), target)
    assert elsewhere.read_bytes() == b"mine"
    target.symlink_to(tmp_path / "other")
    (tmp_path / "other").write_bytes(DATA)
    with pytest.raises(ArtifactMismatch):
        fetch(Memory(), target)


def test_two_fetches_at_once_are_one_too_many(target: Path) -> None:
    inside, go = threading.Event(), threading.Event()

    def waits(_: int) -> None:
        inside.set()
        go.wait(60)

    first = threading.Thread(target=fetch, args=(Memory(fails=waits), target))
    first.start()
    assert inside.wait(60)
    with pytest.raises(FetchBusy):
        fetch(Memory(), target)
    go.set()
    first.join()
    assert target.read_bytes() == DATA


CHILD = """
import sys, time
from pathlib import Path
from bedside_runtime.fetching.download import download

class Slow:
    def size(self): return len(data)
    def read(self, start, end):
        time.sleep(0.02)
        return memoryview(data[start:end])

data = Path(sys.argv[1]).read_bytes()
download(Slow(), Path(sys.argv[2]), sha256=sys.argv[3], size=len(data), chunk=100)
"""


def test_kill_9_at_any_moment_leaves_no_wrong_name_and_the_next_fetch_ends_right(target: Path, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(DATA)
    command = [sys.executable, "-c", CHILD, str(tmp_path / "data"), str(target), SHA256]
    grown = []
    for share in (0.2, 0.4, 0.6, 0.8):
        child = subprocess.Popen(command)
        deadline = time.monotonic() + 60
        while not part(target).exists() or part(target).stat().st_size < share * len(DATA):
            assert time.monotonic() < deadline
            assert child.poll() is None
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert not target.exists()
        grown.append(part(target).stat().st_size)
        assert part(target).read_bytes() == DATA[: grown[-1]]
    assert grown == sorted(grown)
    assert fetch(Memory(), target).kept == grown[-1]
    assert target.read_bytes() == DATA


def test_errors_have_a_remedy() -> None:
    for kind in (ArtifactMismatch, StorageUnavailable, StorageRefused, VolumeFull, FetchBusy):
        assert issubclass(kind, BedsideRuntimeError)
        assert kind("x").remedy

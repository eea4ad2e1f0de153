import errno
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from logs import POD, judge
from test_writer import body, writer

from bedside_runtime.audit.disk import PosixDisk
from bedside_runtime.audit.recovery import recover
from bedside_runtime.audit.segments import segment_name
from bedside_runtime.audit.verify import Verdict
from bedside_runtime.audit.writer import Settings, Writer
from bedside_runtime.errors import AuditBusy, AuditUnavailable


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[PosixDisk]:
    made = PosixDisk(tmp_path / "log" / POD)
    yield made
    made.close()


def files(tmp_path: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((tmp_path / "log" / POD).glob("*.jsonl"))}


def opened(disk: PosixDisk, boot: str = "b0", settings: Settings | None = None) -> Writer:
    made = writer(disk, settings or Settings(), boot=boot)  # type: ignore[arg-type]
    made.open()
    return made


def test_a_log_on_a_real_disk_is_intact(disk: PosixDisk, tmp_path: Path) -> None:
    log = opened(disk)
    log.append([body(0)])
    log.close()
    assert judge(files(tmp_path)).verdict is Verdict.INTACT


def test_reserved_space_does_not_show_in_the_size_and_is_given_back(disk: PosixDisk, tmp_path: Path) -> None:
    log = opened(disk)
    path = tmp_path / "log" / POD / segment_name("b0", 0)
    assert path.stat().st_blocks * 512 >= Settings().reserve_bytes
    assert path.stat().st_size < 4096
    log.close()
    assert path.stat().st_blocks * 512 < 65_536


def test_a_second_writer_is_refused(disk: PosixDisk, tmp_path: Path) -> None:
    opened(disk)
    with pytest.raises(AuditBusy):
        PosixDisk(tmp_path / "log" / POD)


def test_a_second_writer_is_refused_even_where_the_lock_file_was_removed(disk: PosixDisk, tmp_path: Path) -> None:
    opened(disk)
    (tmp_path / "log" / POD / ".writer.lock").unlink()
    other = PosixDisk(tmp_path / "log" / POD)
    with pytest.raises(AuditBusy):
        opened(other, "b1")
    other.close()


def test_an_unlinked_file_latches(disk: PosixDisk, tmp_path: Path) -> None:
    log = opened(disk)
    (tmp_path / "log" / POD / segment_name("b0", 0)).unlink()
    with pytest.raises(AuditUnavailable):
        log.append([body(0)])


def test_a_file_exchanged_for_another_latches(disk: PosixDisk, tmp_path: Path) -> None:
    log = opened(disk)
    path = tmp_path / "log" / POD / segment_name("b0", 0)
    path.write_bytes(path.rename(path.with_suffix(".old")).read_bytes())
    with pytest.raises(AuditUnavailable):
        log.append([body(0)])


def test_a_segment_is_never_opened_through_a_link(disk: PosixDisk, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"")
    (tmp_path / "log" / POD / segment_name("b0", 0)).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        recover(disk)


def test_a_leftover_without_a_durable_genesis_is_no_part_of_the_log(disk: PosixDisk, tmp_path: Path) -> None:
    (tmp_path / "log" / POD / f".new-{segment_name('b9', 0)}").write_bytes(b"half a gen")
    opened(disk).append([body(0)])
    assert [path.name for path in (tmp_path / "log" / POD).glob(".new-*")] == []
    assert judge(files(tmp_path)).verdict is Verdict.INTACT


def test_publishing_never_replaces_a_file(disk: PosixDisk) -> None:
    disk.create("one").close()
    disk.create("two").close()
    with pytest.raises(FileExistsError):
        disk.publish("one", "two")
    with pytest.raises(FileExistsError):
        disk.create("two")


def test_a_file_size_limit_latches_and_the_log_ends_in_a_torn_tail(tmp_path: Path) -> None:
    script = f"""
import resource, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from pathlib import Path
from test_disk import opened, body
from bedside_runtime.audit.disk import PosixDisk
from bedside_runtime.audit.writer import Settings
from bedside_runtime.errors import AuditUnavailable
log = opened(PosixDisk(Path({str(tmp_path / "log" / POD)!r})), settings=Settings(reserve_bytes=0))
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
number = 0
try:
    while True:
        log.append([body(number), body(number + 1)])
        number += 2
except AuditUnavailable:
    print(number)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    acknowledged = int(done.stdout)
    data = b"".join(files(tmp_path).values())
    assert acknowledged > 4
    assert all(b'"r-%d"' % number in data for number in range(acknowledged))
    assert judge(files(tmp_path)).verdict in {Verdict.INTACT, Verdict.TORN_TAIL}
    assert resource.getrlimit(resource.RLIMIT_FSIZE) != (5000, 5000)


def test_a_start_behind_a_large_log_reads_only_its_end(disk: PosixDisk, tmp_path: Path) -> None:
    opened(disk).abandon()
    path = tmp_path / "log" / POD / segment_name("b0", 0)
    with path.open("r+b") as file:
        data = file.read()
        file.truncate(1 << 40)
        file.seek(1 << 40)
        file.write(b"\n" + data)
    assert recover(PosixDisk(tmp_path / "log" / POD)).number == 1

import errno
import itertools
import os
import random
from dataclasses import dataclass

import pytest
from logs import POD, RELEASE, judge
from simulated import PowerCut, SimulatedDisk

from bedside_runtime import canonical
from bedside_runtime.audit import notes, record
from bedside_runtime.audit.chain import MAX_GROUP
from bedside_runtime.audit.privacy import KeepsNothing
from bedside_runtime.audit.record import Position
from bedside_runtime.audit.verify import Report, Verdict
from bedside_runtime.audit.writer import Settings, Writer
from bedside_runtime.errors import AuditUnavailable, AuditUnreadable

LONG = os.environ.get("BEDSIDE_FAULTS") == "long"
SMALL = Settings(record.Promises(8, 60.0, 30.0), segment_bytes=4_000, reserve_bytes=1_000, low_water_bytes=1_000)


@dataclass
class SetClock:
    """A clock that the test sets."""

    micros: int = 0
    second: int = 0

    def utc(self) -> str:
        return f"2026-11-23T19:00:{self.second:02d}.000000Z"

    def mono(self) -> int:
        return self.micros


def body(number: int) -> bytes:
    return canonical.encode({"kind": "prediction", "request": f"r-{number}"})


def writer(
    disk: SimulatedDisk,
    settings: Settings = SMALL,
    clock: SetClock | None = None,
    boot: str = "b0",
    signer: notes.Signer | None = None,
) -> Writer:
    identity = record.Identity("icu", "1.0.0", RELEASE, None, POD, boot)
    keeping = KeepsNothing([], RELEASE, None)
    return Writer(disk, identity, settings, clock or SetClock(), keeping=keeping, signer=signer)


def opened(disk: SimulatedDisk, settings: Settings = SMALL, clock: SetClock | None = None, boot: str = "b0") -> Writer:
    made = writer(disk, settings, clock, boot)
    made.open()
    return made


def judged(disk: SimulatedDisk, *, signed: bool = False) -> Report:
    trusted = None
    if signed:
        from keys import signer, trust

        trusted = trust(signer())
    return judge(dict(sorted(disk.files().items(), key=lambda item: item[0].split("-")[-1])), trust=trusted)


def requests(disk: SimulatedDisk) -> list[str]:
    found = []
    for data in disk.files().values():
        found += [word.split(b'"')[0].decode() for word in data.split(b'"request":"')[1:]]
    return found


def test_what_was_appended_is_durable_and_intact() -> None:
    disk = SimulatedDisk()
    log = opened(disk)
    log.append([body(0), body(1)])
    assert all(item.synced == len(item.data) for item in disk.entries.values())
    assert requests(disk) == ["r-0", "r-1"]
    log.close()
    report = judged(disk)
    assert (report.verdict, report.closed, report.records) == (Verdict.INTACT, True, 4)


def test_a_group_is_one_write_and_one_sync() -> None:
    disk = SimulatedDisk()
    log = opened(disk)
    before = len(disk.operations)
    log.append([body(number) for number in range(6)])
    assert [item for item in disk.operations[before:] if item in {"write", "sync"}] == ["write", "sync"]


def test_a_group_never_grows_beyond_what_a_crash_may_tear() -> None:
    disk = SimulatedDisk()
    log = opened(disk, Settings())
    sizes: list[int] = []
    big = canonical.encode({"kind": "prediction", "request": "x" * 900_000})
    inode = next(iter(disk.entries.values()))
    for _ in range(2):
        before = len(inode.data)
        log.append([big] * 7)
        sizes.append(len(inode.data) - before)
    assert disk.operations.count("sync") > 2 * (min(sizes) // MAX_GROUP)
    assert judged(disk).verdict is Verdict.INTACT


def test_a_segment_that_is_full_is_followed_by_one_that_names_it() -> None:
    disk = SimulatedDisk()
    log = opened(disk)
    for number in range(60):
        log.append([body(number)])
    assert len(disk.files()) > 3
    assert judged(disk).verdict is Verdict.INTACT
    assert requests(disk) == [f"r-{number}" for number in range(60)]


def test_an_old_segment_is_closed_even_when_it_is_small() -> None:
    disk, clock = SimulatedDisk(), SetClock()
    log = opened(disk, clock=clock)
    clock.micros = int(SMALL.segment_seconds * 1e6)
    log.tick(ready=True)
    assert len(disk.files()) == 2
    assert judged(disk).verdict is Verdict.INTACT


def test_a_heartbeat_is_written_when_nothing_else_is() -> None:
    disk, clock = SimulatedDisk(), SetClock()
    log = opened(disk, clock=clock)
    for second in range(1, 61):
        clock.micros = second * 1_000_000
        log.tick(ready=False)
    assert b"".join(disk.files().values()).count(b'{"kind":"heartbeat","ready":false}') == 2


def test_clock_steps_leave_the_log_intact() -> None:
    disk, clock = SimulatedDisk(), SetClock(second=30)
    log = opened(disk, clock=clock)
    clock.second = 10
    log.append([body(0)])
    assert (judged(disk).verdict, judged(disk).clock_steps) == (Verdict.INTACT, 1)


def test_an_entry_that_asks_for_its_position_is_told_the_one_it_gets() -> None:
    disk = SimulatedDisk()
    log = opened(disk)
    seen: list[Position] = []

    def entry(position: Position) -> bytes:
        seen.append(position)
        return body(position.seq)

    log.append([entry, body(99), entry])
    assert [item.seq for item in seen] == [1, 3]
    assert requests(disk) == ["r-1", "r-99", "r-3"]


def test_little_space_is_noticed_and_its_return_too() -> None:
    disk = SimulatedDisk()
    log = opened(disk)
    disk.free_bytes = SMALL.low_water_bytes - 1
    log.tick(ready=True)
    assert log.space_is_low
    log.append([body(0)])
    disk.free_bytes += 1
    log.tick(ready=True)
    assert not log.space_is_low


def test_space_is_reserved_before_it_is_used() -> None:
    disk = SimulatedDisk()
    log = opened(disk)
    for number in range(20):
        log.append([body(number)])
        assert all(len(item.data) <= item.reserved for item in disk.entries.values())


def test_a_disk_that_cannot_reserve_is_used_and_the_log_says_so() -> None:
    disk = SimulatedDisk(can_reserve=False)
    log = opened(disk)
    log.append([body(0)])
    assert not log.reserves
    assert b'"reserved":false' in next(iter(disk.files().values()))


def test_a_file_that_was_moved_away_latches() -> None:
    disk = SimulatedDisk()
    log = opened(disk)
    name = next(iter(disk.entries))
    disk.entries["elsewhere"] = disk.entries.pop(name)
    with pytest.raises(AuditUnavailable, match="moved or removed"):
        log.append([body(0)])


def test_a_new_start_follows_the_last_whole_record_and_touches_nothing() -> None:
    disk = SimulatedDisk()
    opened(disk).append([body(0)])
    before = disk.files()
    log = opened(disk, boot="b1")
    log.append([body(1)])
    assert {name: disk.files()[name] for name in before} == before
    assert judged(disk).verdict is Verdict.INTACT


def test_a_last_segment_without_a_whole_record_is_refused() -> None:
    disk = SimulatedDisk.of({"b0-00000000.jsonl": b"not a log\n" * 10})
    with pytest.raises(AuditUnreadable):
        opened(disk)


def test_two_last_segments_are_refused() -> None:
    disk = SimulatedDisk()
    opened(disk)
    disk.entries["b9-00000000.jsonl"] = disk.entries["b0-00000000.jsonl"]
    with pytest.raises(AuditUnreadable):
        opened(disk, boot="b1")


def _survives(found: SimulatedDisk, acknowledged: list[str]) -> None:
    """The rule of every crash: nothing acknowledged is lost, nothing cries tampering, and the log goes on."""
    report = judged(found)
    assert report.verdict in {Verdict.INTACT, Verdict.TORN_TAIL} or not found.files()
    kept = requests(found)
    assert kept[: len(acknowledged)] == acknowledged
    log = opened(found, boot="b1")
    log.append([body(1000)])
    report = judged(found)
    assert report.verdict is Verdict.INTACT
    assert requests(found)[-1] == "r-1000"


@pytest.mark.parametrize("count", range(9))
def test_whatever_a_power_cut_leaves_of_a_group_of_up_to_eight_records(count: int) -> None:
    disk = SimulatedDisk()
    log = opened(disk, Settings(record.Promises(100, 60.0, 30.0)))
    log.append([body(0), body(1)])
    disk.fail_at, disk.how = len(disk.operations) + 1, "power-cut"
    assert _next_operations(count) == ["write", "sync", "stat"][: 3 if count else 0]
    if count:
        with pytest.raises(PowerCut):
            log.append([body(2 + number) for number in range(count)])
    for found in disk.after_power_cut():
        _survives(found, ["r-0", "r-1"])


def _next_operations(count: int) -> list[str]:
    disk = SimulatedDisk()
    log = opened(disk, Settings(record.Promises(100, 60.0, 30.0)))
    log.append([body(0), body(1)])
    before = len(disk.operations)
    log.append([body(2 + number) for number in range(count)])
    return disk.operations[before:]


def _life(disk: SimulatedDisk, acknowledged: list[str]) -> None:
    """Two starts, records one at a time and in groups, rotations, a heartbeat, an orderly end."""
    number = itertools.count()
    for boot in ("b0", "b1"):
        clock = SetClock()
        log = opened(disk, clock=clock, boot=boot)
        for size in (1, 3, 1, 8, 2):
            group = [next(number) for _ in range(size)]
            log.append([body(item) for item in group])
            acknowledged += [f"r-{item}" for item in group]
        clock.micros += 31_000_000
        log.tick(ready=True)
        log.close()


def _operations_of_a_life() -> list[str]:
    disk = SimulatedDisk()
    _life(disk, [])
    assert judged(disk).verdict is Verdict.INTACT
    assert len(disk.files()) > 3
    return disk.operations


LIFE = _operations_of_a_life()


@pytest.mark.parametrize("how", ["EIO", "ENOSPC", "EROFS", "short"])
def test_whichever_operation_fails_the_log_latches_and_loses_nothing(how: str) -> None:
    for fail_at, name in enumerate(LIFE):
        if how == "short" and name != "write":
            continue
        disk, acknowledged = SimulatedDisk(fail_at=fail_at, how=how), []
        with pytest.raises(AuditUnavailable):
            _life(disk, acknowledged)
        disk.fail_at = None
        _survives(SimulatedDisk.of({key: bytes(item.data) for key, item in disk.entries.items()}), acknowledged)
        _survives(
            SimulatedDisk.of({key: bytes(item.data[: item.synced]) for key, item in disk.durable.items()}), acknowledged
        )


def test_the_power_may_be_cut_at_any_operation() -> None:
    for fail_at in range(len(LIFE)):
        disk, acknowledged = SimulatedDisk(fail_at=fail_at, how="power-cut"), []
        with pytest.raises(PowerCut):
            _life(disk, acknowledged)
        for found in itertools.islice(disk.after_power_cut(), None if LONG else 12):
            _survives(found, acknowledged)


@pytest.mark.parametrize("signed", [False, True])
def test_no_life_however_it_ended_looks_like_tampering(signed: bool) -> None:
    """Clean logs by the real writer: 1,000 in `make faults`, with starts, rotations, steps of the clock and crashes."""
    for seed in range(500 if LONG else 60):
        rng = random.Random(seed)
        disk, acknowledged = SimulatedDisk(), list[str]()
        for boot in range(rng.randint(1, 4)):
            disk = _any_life(disk, f"b{boot}", rng, acknowledged, signed=signed)
        found = judged(disk, signed=signed)
        assert found.verdict in {Verdict.INTACT, Verdict.TORN_TAIL} or not disk.files(), (seed, found)
        assert requests(disk)[: len(acknowledged)] == acknowledged or set(acknowledged) <= set(requests(disk)), seed


def _any_life(
    disk: SimulatedDisk, boot: str, rng: random.Random, acknowledged: list[str], *, signed: bool
) -> SimulatedDisk:
    """One start to one of all the ends there are; returns the disk that the next start finds."""
    clock = SetClock(second=rng.randint(0, 59))
    disk.fail_at = len(disk.operations) + rng.randint(0, 80) if rng.random() < 0.7 else None
    disk.how = rng.choice(["power-cut", "EIO", "ENOSPC", "short"])
    try:
        log = writer(disk, SMALL, clock, boot, signer=_signer() if signed else None)
        log.open()
        for _ in range(rng.randint(0, 12)):
            names = [f"r-{boot}-{clock.micros}-{number}" for number in range(rng.randint(1, 9))]
            log.append([canonical.encode({"kind": "prediction", "request": name}) for name in names])
            acknowledged += names
            clock.micros += rng.choice([1, 1_000, 40_000_000])
            clock.second = rng.randint(0, 59)
            log.tick(ready=rng.random() < 0.5)
        if rng.random() < 0.7:
            log.close()
    except (AuditUnavailable, PowerCut):
        pass
    disk.fail_at = None
    if rng.random() < 0.5:
        return rng.choice(list(itertools.islice(disk.after_power_cut(), 200)))
    return SimulatedDisk.of({name: bytes(item.data) for name, item in disk.entries.items()})


def _signer() -> notes.Signer:
    pytest.importorskip("cryptography", reason="signed checkpoints need the extra `audit`")
    from keys import signer

    return signer()


def test_after_a_failed_sync_nothing_is_tried_again() -> None:
    disk = SimulatedDisk()
    log = opened(disk)
    disk.fail_at = len(disk.operations) + 1
    for _ in range(3):
        with pytest.raises(AuditUnavailable, match=os.strerror(errno.EIO)):
            log.append([body(0)])
    assert disk.operations[-1] == "sync"
    assert disk.operations.count("sync") == 2
    with pytest.raises(AuditUnavailable):
        log.tick(ready=True)
    with pytest.raises(AuditUnavailable):
        log.close()

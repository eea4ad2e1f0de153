import errno
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait

import pytest
from simulated import SimulatedDisk
from test_writer import body, judged, requests, writer

from bedside_runtime.audit import record
from bedside_runtime.audit.log import AuditLog
from bedside_runtime.audit.verify import Verdict
from bedside_runtime.audit.writer import Settings
from bedside_runtime.errors import AuditUnavailable

Ticket = Future[None]


def deliver(tickets: Sequence[Ticket], error: AuditUnavailable | None) -> None:
    for ticket in tickets:
        if error is None:
            ticket.set_result(None)
        else:
            ticket.set_exception(error)


def opened(disk: SimulatedDisk, on_failure: Callable[[str], None] = lambda _: None) -> AuditLog[Ticket]:
    log = AuditLog(writer(disk, Settings()), deliver, on_failure=on_failure, tick_seconds=0.01)
    log.open()
    return log


def hand_in(log: AuditLog[Ticket], number: int) -> Ticket:
    ticket = Ticket()
    log.submit([((body(number),), ticket)])
    return ticket


def test_a_ticket_is_delivered_once_its_entry_is_durable() -> None:
    disk = SimulatedDisk()
    log = opened(disk)
    hand_in(log, 1).result(60)
    assert requests(disk) == ["r-1"]
    assert all(item.synced == len(item.data) for item in disk.entries.values())
    log.close()
    assert judged(disk).closed


class SlowDisk(SimulatedDisk):
    """Syncs only when the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.may_sync, self.syncing = threading.Event(), threading.Event()
        self.may_sync.set()

    def operation(self, name: str) -> None:
        if name == "sync":
            self.syncing.set()
            assert self.may_sync.wait(60)
        super().operation(name)


def test_those_who_wait_share_one_sync() -> None:
    disk = SlowDisk()
    log = opened(disk)
    disk.may_sync.clear()
    disk.syncing.clear()
    first = hand_in(log, 0)
    assert disk.syncing.wait(60)
    before = disk.operations.count("sync")
    others = [hand_in(log, number) for number in range(1, 65)]
    assert not any(ticket.done() for ticket in (first, *others))
    disk.may_sync.set()
    assert not wait([first, *others], 60).not_done
    assert disk.operations.count("sync") - before == 2
    log.close()


class WatchedDisk(SlowDisk):
    """Notes at each of one kind of operation whether ``first`` has been told yet; one of another kind may fail."""

    first: Ticket | None = None
    fails = ""

    def __init__(self, watched: str) -> None:
        super().__init__()
        self.watched = watched
        self.told: list[bool] = []

    def operation(self, name: str) -> None:
        if name == self.watched and self.first is not None:
            self.told.append(self.first.done())
        if name == self.fails:
            raise OSError(errno.EIO, "an error")
        super().operation(name)


def one_group(
    tell: Callable[[Sequence[Ticket], AuditUnavailable | None], None] = deliver,
    on_failure: Callable[[str], None] = lambda _: None,
) -> tuple[WatchedDisk, AuditLog[Ticket], Ticket]:
    """A log whose disk waits in the sync of a group; nothing is due in time."""
    disk = WatchedDisk("sync")
    log: AuditLog[Ticket] = AuditLog(writer(disk, Settings()), tell, on_failure=on_failure, tick_seconds=60)
    log.open()
    hand_in(log, 9)
    for _ in range(60_000):
        if "statvfs" in disk.operations:  # what time demands is done
            break
        time.sleep(0.001)
    disk.may_sync.clear()
    disk.syncing.clear()
    disk.first = hand_in(log, 0)
    assert disk.syncing.wait(60)
    return disk, log, disk.first


def test_a_ticket_does_not_wait_for_what_time_demands() -> None:
    log: AuditLog[Ticket] = AuditLog(writer(SimulatedDisk(), Settings()), deliver, tick_seconds=60)
    log.open()
    for number in range(3):
        hand_in(log, number).result(30)
    log.close()


def test_those_before_are_told_while_the_disk_syncs_for_those_behind() -> None:
    disk, log, first = one_group()
    second = hand_in(log, 1)
    disk.may_sync.set()
    assert not wait([first, second], 60).not_done
    assert disk.told[-1]
    log.close()


@pytest.mark.parametrize("operation", ["write", "sync"])
def test_those_before_are_told_that_theirs_is_durable_whatever_becomes_of_those_behind(operation: str) -> None:
    disk, log, first = one_group()
    second = hand_in(log, 1)
    disk.fails = operation
    disk.may_sync.set()
    assert not wait([first, second], 60).not_done
    assert first.exception() is None
    assert isinstance(second.exception(), AuditUnavailable)
    assert requests(disk)[:2] == ["r-9", "r-0"]


def test_those_before_are_told_although_nothing_is_to_be_written_for_those_behind() -> None:
    disk, log, first = one_group()
    nothing = Ticket()
    log.submit([((), nothing)])
    disk.may_sync.set()
    assert not wait([first, nothing], 60).not_done
    log.close()


def test_those_who_wait_do_not_wait_for_what_time_demands() -> None:
    disk = WatchedDisk("statvfs")
    log: AuditLog[Ticket] = AuditLog(writer(disk, Settings()), deliver, tick_seconds=0.0)
    log.open()
    disk.may_sync.clear()
    disk.syncing.clear()
    first = hand_in(log, 0)
    assert disk.syncing.wait(60)
    second, disk.first = hand_in(log, 1), first
    disk.may_sync.set()
    assert not wait([first, second], 60).not_done
    assert disk.told[0]
    log.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("operation", ["write", "sync"])
def test_a_log_whose_callers_cannot_be_told_still_says_that_it_has_latched(operation: str) -> None:
    def nobody(_tickets: Sequence[Ticket], _error: AuditUnavailable | None) -> None:
        if not is_there:
            raise RuntimeError("the loop is closed")

    is_there, reasons = [True], list[str]()
    disk, log, _ = one_group(nobody, reasons.append)
    hand_in(log, 1)
    is_there.clear()
    disk.fails = operation
    disk.may_sync.set()
    with pytest.raises(AuditUnavailable):
        log.close()
    log._thread.join(60)
    assert len(reasons) == 1


def test_those_before_are_told_when_nothing_but_the_end_is_behind_them() -> None:
    disk = SlowDisk()
    log = opened(disk)
    disk.may_sync.clear()
    disk.syncing.clear()
    first = hand_in(log, 0)
    assert disk.syncing.wait(60)
    closing = threading.Thread(target=log.close)
    closing.start()
    while log.state != "closed":
        closing.join(0.001)
    disk.may_sync.set()
    closing.join(60)
    assert first.result(0) is None


def test_closing_writes_what_was_handed_in_and_takes_no_more() -> None:
    disk = SlowDisk()
    log = opened(disk)
    disk.may_sync.clear()
    tickets = [hand_in(log, number) for number in range(10)]
    closing = threading.Thread(target=log.close)
    closing.start()
    disk.may_sync.set()
    closing.join(60)
    assert all(ticket.done() and ticket.exception() is None for ticket in tickets)
    assert judged(disk).verdict is Verdict.INTACT
    assert log.state == "closed"
    with pytest.raises(AuditUnavailable):
        hand_in(log, 11)


def test_a_failed_sync_fails_all_who_wait_and_all_who_come() -> None:
    disk, reasons = SlowDisk(), []
    log = opened(disk, reasons.append)
    disk.may_sync.clear()
    disk.syncing.clear()
    tickets = [hand_in(log, 0)]
    assert disk.syncing.wait(60)
    tickets += [hand_in(log, number) for number in range(1, 20)]
    disk.fail_at = len(disk.operations)
    disk.may_sync.set()
    assert not wait(tickets, 60).not_done
    assert all(isinstance(ticket.exception(), AuditUnavailable) for ticket in tickets)
    assert log.state == "failed"
    assert len(reasons) == 1
    with pytest.raises(AuditUnavailable):
        hand_in(log, 30)
    with pytest.raises(AuditUnavailable):
        log.close()


def test_a_heartbeat_that_fails_takes_nobodys_answer_back() -> None:
    disk, failed = SimulatedDisk(), threading.Event()
    log = opened(disk, lambda _: failed.set())
    ticket = hand_in(log, 0)
    ticket.result(60)
    disk.fail_at = len(disk.operations) + 5
    assert failed.wait(60)
    assert ticket.exception() is None
    assert log.state == "failed"


def test_a_defect_in_an_entry_latches_like_a_failed_disk() -> None:
    log = opened(SimulatedDisk())
    ticket = Ticket()
    log.submit([([lambda _: b"%d" % (1 // 0)], ticket)])
    assert isinstance(ticket.exception(60), AuditUnavailable)
    assert log.failure == "defect in the audit log: ZeroDivisionError"


def test_little_space_is_a_state_of_its_own() -> None:
    disk = SimulatedDisk(free_bytes=0)
    log = opened(disk)
    hand_in(log, 0).result(60)
    for _ in range(6_000):
        if log.state == "space-low":
            break
        threading.Event().wait(0.01)
    assert log.state == "space-low"
    log.close()


def test_a_disk_that_takes_too_long_is_a_state_that_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bedside_runtime.audit.log.STALLED_AFTER", 0.05)
    disk = SlowDisk()
    log = opened(disk)
    disk.may_sync.clear()
    ticket = hand_in(log, 0)
    assert soon(lambda: log.state == "stalled")
    assert not ticket.done()
    disk.may_sync.set()
    ticket.result(60)
    assert soon(lambda: log.state == "open")
    log.close()
    assert requests(disk) == ["r-0"]


class LateDisk(SimulatedDisk):
    """Finds out in what state the log begins with a sync, and ends none before the test lets it."""

    log: AuditLog[Ticket]

    def __init__(self) -> None:
        super().__init__()
        self.late, self.found, self.goes_on = False, list[str](), threading.Semaphore(0)

    def operation(self, name: str) -> None:
        if name == "sync" and self.late:
            self.found.append(self.log.state)
            assert self.goes_on.acquire(timeout=60)
        super().operation(name)


def test_a_disk_that_took_too_long_is_waited_for_only_once_it_was_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = LateDisk()
    disk.log = log = opened(disk)
    monkeypatch.setattr("bedside_runtime.audit.log.STALLED_AFTER", 0.1)
    disk.late = True
    ticket = hand_in(log, 0)
    assert soon(lambda: log.state == "stalled")
    disk.goes_on.release()
    ticket.result(60)
    assert soon(lambda: len(disk.found) == 2), "nobody hands anything in: it is tried with a record of its own"
    assert disk.found[1] == "stalled"
    disk.late = False
    disk.goes_on.release()
    assert soon(lambda: log.state == "open")
    log.close()
    assert b'"kind":"heartbeat"' in b"".join(disk.files().values())
    assert judged(disk).verdict is Verdict.INTACT


def soon(said: Callable[[], bool]) -> bool:
    return any(said() or threading.Event().wait(0.01) for _ in range(6_000))


def test_the_clock_is_looked_at_often_enough_to_keep_every_promise() -> None:
    for promises, seconds in (
        (record.Promises(1000, 60.0, 30.0), 1.0),
        (record.Promises(1000, 60.0, 0.5), 0.25),
        (record.Promises(1000, 0.2, 30.0), 0.1),
    ):
        assert writer(SimulatedDisk(), Settings(promises)).tick_seconds == seconds


def test_entries_of_many_threads_stand_in_one_chain() -> None:
    disk = SimulatedDisk()
    log = opened(disk)

    def caller(start: int) -> None:
        for number in range(start, start + 50):
            hand_in(log, number).result(60)

    threads = [threading.Thread(target=caller, args=(number * 50,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    log.close()
    assert judged(disk).verdict is Verdict.INTACT
    assert sorted(requests(disk)) == sorted(f"r-{number}" for number in range(400))

import asyncio
import gc
import threading
import time
from collections.abc import Awaitable, Callable

import pytest
from logs import RELEASE
from simulated import SimulatedDisk
from test_writer import judged, writer

from bedside_runtime.audit.privacy import KeepsHmac
from bedside_runtime.audit.recorder import AuditRecorder, OnFailure
from bedside_runtime.audit.verify import Verdict
from bedside_runtime.audit.writer import Settings
from bedside_runtime.errors import AuditUnavailable, RecordTooLarge
from bedside_runtime.inputs import compile_inputs
from bedside_runtime.serve import event_loop
from bedside_runtime.service import Caller, Entry, Prediction, Refused
from contracts import INPUTS

PATIENT = {"age": 101, "temperature": 37.2, "lactate": None, "admission": "Emergency", "ventilated": False}
ROWS = compile_inputs(INPUTS).rows([PATIENT])
CELLS = [row.cells for row in ROWS]
KEEPER = KeepsHmac([item.name for item in INPUTS], RELEASE, None, bytes(32))


def entry(request: str) -> Entry:
    return Entry(
        Caller(request, "ward-3"),
        CELLS,
        (Prediction(0.125, "elevated", ROWS[0].flags),),
        0.001,
        1,
    )


def run(
    disk: SimulatedDisk,
    scenario: Callable[[AuditRecorder], Awaitable[None]],
    on_failure: OnFailure = "refuse",
    reasons: list[str] | None = None,
) -> None:
    async def main() -> None:
        latched: list[str] = reasons if reasons is not None else []
        recorder = AuditRecorder(writer(disk, Settings()), KEEPER, on_failure, latched.append)
        recorder.open()
        await scenario(recorder)

    event_loop.run(main())


def test_an_answer_is_recorded_with_who_what_and_how_long_and_without_its_inputs() -> None:
    disk = SimulatedDisk()

    async def scenario(recorder: AuditRecorder) -> None:
        await asyncio.gather(*(recorder.record([entry(f"r-{number}")]) for number in range(20)))
        assert recorder.healthy
        assert not recorder._awaited, "nothing is kept of those that were told"
        await recorder.close()

    run(disk, scenario)
    data = b"".join(disk.files().values())
    assert judged(disk).verdict is Verdict.INTACT
    for number in range(20):
        assert data.count(b'"request":"r-%d"' % number) == 1
    line = next(line for line in data.splitlines() if b'"kind":"prediction"' in line)
    for part in (
        b'"caller":"ward-3"',
        b'"duration_us":1000',
        b'"band":"elevated"',
        b'"value":0.125',
        b'{"code":"outside-expected","input":"age"}',
        RELEASE.encode(),
        b'"image":null',
    ):
        assert part in line
    assert b"Emergency" not in data
    assert b"37.2" not in data


@pytest.mark.parametrize("on_failure", ["refuse", "answer-and-alarm"])
def test_after_a_failure_nobody_is_answered_unless_the_author_chose_so(on_failure: OnFailure) -> None:
    disk, reasons = SimulatedDisk(), []

    async def scenario(recorder: AuditRecorder) -> None:
        disk.fail_at, disk.how = len(disk.operations), "ENOSPC"
        for _ in range(3):
            if on_failure == "refuse":
                with pytest.raises(AuditUnavailable):
                    await recorder.record([entry("r-1")])
            else:
                await recorder.record([entry("r-1")])
        answers = on_failure == "answer-and-alarm"
        assert (recorder.healthy, recorder.alarm) == (answers, answers)
        assert recorder.unrecorded == (3 if answers else 0)
        assert recorder.detail == ("answering-unrecorded" if answers else "failed")

    run(disk, scenario, on_failure, reasons)
    assert len(reasons) == 1


def test_a_caller_that_goes_away_is_recorded_all_the_same() -> None:
    disk = SimulatedDisk()

    async def scenario(recorder: AuditRecorder) -> None:
        task = asyncio.ensure_future(recorder.record([entry("r-1")]))
        await asyncio.sleep(0)
        task.cancel()
        await recorder.record([entry("r-2")])
        await recorder.close()
        gc.collect()

    run(disk, scenario)
    assert b'"request":"r-1"' in b"".join(disk.files().values())


def test_what_is_begun_with_becomes_durable_although_the_loop_has_more_to_do() -> None:
    disk = SimulatedDisk()

    async def scenario(recorder: AuditRecorder) -> None:
        recorded = recorder.record([entry("r-1")])
        recorder.begin()
        deadline = time.monotonic() + 20
        while b'"request":"r-1"' not in b"".join(disk.files().values()):  # and the loop never gets its turn
            assert time.monotonic() < deadline
            time.sleep(0.001)
        await recorded
        await recorder.close()

    run(disk, scenario)
    assert judged(disk).verdict is Verdict.INTACT


class Hanging(SimulatedDisk):
    """Waits in every operation until it may go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.goes_on = threading.Event()
        self.goes_on.set()
        self._monkeypatch = monkeypatch
        self.hangs_after(60.0)

    def hangs_after(self, seconds: float) -> None:
        """A step that takes longer counts as one that hangs."""
        self._monkeypatch.setattr("bedside_runtime.audit.log.STALLED_AFTER", seconds)

    def operation(self, name: str) -> None:
        assert self.goes_on.wait(60)
        super().operation(name)

    @property
    def written(self) -> bytes:
        return b"".join(self.files().values())


async def stalled(recorder: AuditRecorder, disk: Hanging) -> None:
    """Wait until the log counts as stalled: only now, as any other step may take its time on a busy machine."""
    disk.hangs_after(0.1)
    while recorder._log.state != "stalled":
        await asyncio.sleep(0.01)


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Hanging:
    return Hanging(monkeypatch)


REFUSED = Refused(Caller("r-refused"), 422, "invalid-inputs", 15e-6)


def test_a_disk_that_hangs_holds_nobody_up_and_loses_nothing_that_was_handed_in(hanging: Hanging) -> None:
    async def scenario(recorder: AuditRecorder) -> None:
        hanging.goes_on.clear()
        under_way = recorder.record([entry("r-1")])
        refused = asyncio.ensure_future(recorder.refused(REFUSED))
        await stalled(recorder, hanging)
        recorder.relieve()
        with pytest.raises(AuditUnavailable, match="hangs"):
            await under_way
        await refused
        with pytest.raises(AuditUnavailable, match="hangs"):
            await recorder.record([entry("r-2")])
        await recorder.refused(Refused(Caller("r-1"), 503, "audit-unavailable", 15e-6))
        await recorder.changed("not-ready", "recorder-unavailable")
        assert (recorder.healthy, recorder.detail, recorder.unrecorded) == (False, "stalled", 0)
        hanging.goes_on.set()
        while not recorder.healthy:
            await asyncio.sleep(0.01)
        hanging.hangs_after(60.0)
        recorder.relieve()
        await recorder.record([entry("r-3")])
        await recorder.close()

    run(hanging, scenario)
    assert judged(hanging).verdict is Verdict.INTACT
    for part in (b'"r-refused"', b'"code":"audit-unavailable"', b'"event":"not-ready"', b'"request":"r-3"'):
        assert hanging.written.count(part) == 1
    assert hanging.written.count(b'"request":"r-1"') == 2, "what was answered, and that nobody was told"
    assert b'"request":"r-2"' not in hanging.written


def test_a_disk_that_is_slow_is_waited_for(hanging: Hanging) -> None:
    async def scenario(recorder: AuditRecorder) -> None:
        hanging.goes_on.clear()
        under_way = asyncio.ensure_future(recorder.record([entry("r-1")]))
        refused = asyncio.ensure_future(recorder.refused(REFUSED))
        await asyncio.sleep(0.2)
        recorder.relieve()
        await asyncio.sleep(0.1)
        assert not under_way.done()
        assert not refused.done()
        hanging.goes_on.set()
        await under_way
        await refused
        await recorder.close()

    run(hanging, scenario)


def test_what_waits_for_a_disk_that_hangs_has_a_bound(hanging: Hanging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bedside_runtime.audit.recorder._MOST_UNAWAITED", 2)

    async def scenario(recorder: AuditRecorder) -> None:
        hanging.goes_on.clear()
        await recorder.refused(Refused(Caller("r-1"), 503, "overloaded", 15e-6, at_once=True))
        await stalled(recorder, hanging)
        await recorder.refused(REFUSED)
        await recorder.refused(Refused(Caller("r-one-too-many"), 422, "invalid-inputs", 15e-6))
        assert recorder.unrecorded_refusals == 1
        await recorder.changed("not-ready", "recorder-unavailable")  # of these there are never many
        hanging.goes_on.set()
        while not recorder.healthy:
            await asyncio.sleep(0.01)
        hanging.hangs_after(60.0)
        await recorder.refused(Refused(Caller("r-in-time"), 422, "invalid-inputs", 15e-6))
        await recorder.refused(Refused(Caller("r-2"), 503, "overloaded", 15e-6, at_once=True))
        await recorder.close()

    run(hanging, scenario)
    assert hanging.written.count(b'"kind":"refusal"') == 4
    assert b'"r-in-time"' in hanging.written
    assert b'"r-one-too-many"' not in hanging.written
    assert b'"event":"not-ready"' in hanging.written


def test_with_answer_and_alarm_a_disk_that_hangs_is_alarm_and_patients_are_answered(hanging: Hanging) -> None:
    async def scenario(recorder: AuditRecorder) -> None:
        hanging.goes_on.clear()
        under_way = asyncio.ensure_future(recorder.record([entry("r-1")]))  # type: ignore[arg-type]
        await stalled(recorder, hanging)
        recorder.relieve()
        await under_way
        await recorder.record([entry("r-2"), entry("r-3")])
        assert (recorder.healthy, recorder.detail, recorder.unrecorded) == (True, "answering-unrecorded", 3)
        hanging.goes_on.set()
        while recorder.alarm:
            await asyncio.sleep(0.01)
        hanging.hangs_after(60.0)
        await recorder.record([entry("r-4")])
        await recorder.close()
        assert (recorder.detail, recorder.unrecorded) == ("closed", 3)

    run(hanging, scenario, "answer-and-alarm")
    assert judged(hanging).verdict is Verdict.INTACT
    assert b'"r-2"' not in hanging.written


@pytest.mark.parametrize("how", ["durable", "EIO", "closed"])
def test_nothing_is_left_of_refusals_that_nobody_waits_for(how: str) -> None:
    disk, failures = SimulatedDisk(), list[object]()

    async def scenario(recorder: AuditRecorder) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, failure: failures.append(failure))
        if how == "EIO":
            disk.fail_at, disk.how = len(disk.operations), how
        elif how == "closed":
            await recorder.close()
        await recorder.refused(Refused(Caller("r-1"), 503, "overloaded", 15e-6, at_once=True))
        assert recorder._unawaited == 1
        deadline = time.monotonic() + 60
        while recorder._unawaited:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        gc.collect()

    run(disk, scenario)
    assert not failures, "as of an exception that nobody took"


def test_after_the_end_nobody_is_answered_whatever_the_author_chose() -> None:
    async def scenario(recorder: AuditRecorder) -> None:
        await recorder.close()
        with pytest.raises(AuditUnavailable):
            await recorder.record([entry("r-1")])
        assert recorder.unrecorded == 0

    run(SimulatedDisk(), scenario, "answer-and-alarm")


def test_refusals_and_changes_are_recorded() -> None:
    disk = SimulatedDisk()

    async def scenario(recorder: AuditRecorder) -> None:
        await recorder.changed("start")
        await recorder.refused(Refused(Caller("r-1"), 422, "invalid-inputs", 15e-6))
        await recorder.close()
        await recorder.changed("drain")

    run(disk, scenario)
    data = b"".join(disk.files().values())
    assert b'"code":"invalid-inputs"' in data
    assert b'"event":"start"' in data
    assert b'"event":"drain"' not in data


def test_an_answer_too_large_for_a_record_is_refused_and_the_log_lives_on() -> None:
    disk = SimulatedDisk()
    many = Entry(Caller("r-1"), CELLS * 40_000, (Prediction(0.125, "elevated", ROWS[0].flags),) * 40_000, 0.001, 40_000)

    async def scenario(recorder: AuditRecorder) -> None:
        with pytest.raises(RecordTooLarge):
            await recorder.record([many])
        await recorder.record([entry("r-2")])
        await recorder.close()

    run(disk, scenario)
    assert judged(disk).verdict is Verdict.INTACT

import asyncio
import gc
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

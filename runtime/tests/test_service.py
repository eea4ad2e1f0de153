import asyncio
import threading
from collections.abc import Iterable, Sequence

import pytest

from bedside_runtime import golden
from bedside_runtime.adapters.predictor import Predictor
from bedside_runtime.batching import Batching
from bedside_runtime.contract import Row, Scalar
from bedside_runtime.errors import GoldenMismatch, OutputInvalid
from bedside_runtime.inputs import Flag, compile_inputs
from bedside_runtime.service import Caller, Entry, NoRecord, PredictionService, Recorder
from contracts import INPUTS, OUTPUT, Logistic, contract

PATIENT = {"age": 101, "temperature": 37.2, "lactate": 1.1, "admission": "Emergency", "ventilated": False}
ROWS = compile_inputs(INPUTS).rows([PATIENT, PATIENT | {"age": 20}])
VALUES = [float(value) for value in Logistic().predict([row.cells for row in ROWS])]
CASE = golden.Case("one", ROWS[0], VALUES[0])
CALLER = Caller("r-1")


def service(predictor: Predictor, recorder: Recorder | None = None, case: golden.Case = CASE) -> PredictionService:
    return PredictionService(contract(), "0" * 64, predictor, Batching(predictor), [case], recorder or NoRecord())


class Fixed:
    def __init__(self, *values: Scalar) -> None:
        self.values = values

    def predict(self, rows: Sequence[Row]) -> Sequence[Scalar]:
        return self.values


def test_rows_are_answered_in_order_with_band_and_flags() -> None:
    answered = asyncio.run(service(Logistic()).predict(ROWS, CALLER))
    assert [item.value for item in answered] == VALUES
    assert [item.flags for item in answered] == [(Flag("outside-expected", "age"),), ()]
    assert {item.band for item in answered} == {OUTPUT.band(value) for value in VALUES}


@pytest.mark.parametrize("values", [(float("nan"), 0.2), (0.2, 1.5), (0.2,), (0.2, 0.2, 0.2)])
def test_an_impossible_output_answers_nobody_and_is_not_recorded(values: tuple[float, ...]) -> None:
    kept = Kept()
    with pytest.raises(OutputInvalid):
        asyncio.run(service(Fixed(*values), kept).predict(ROWS, CALLER))
    assert kept.entries == []


class Kept:
    healthy = True

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    async def record(self, entries: Iterable[Entry]) -> None:
        self.entries += entries


def test_the_recorder_has_the_answer_before_the_caller() -> None:
    async def scenario() -> None:
        durable = asyncio.Event()

        class Slow(Kept):
            async def record(self, entries: Iterable[Entry]) -> None:
                await durable.wait()
                await super().record(entries)

        slow = Slow()
        task = asyncio.create_task(service(Logistic(), slow).predict(ROWS, CALLER))
        await asyncio.sleep(0.05)
        assert not task.done()
        durable.set()
        answered = await task
        assert slow.entries[0].predictions == answered
        assert slow.entries[0].caller == CALLER

    asyncio.run(scenario())


def test_a_recorder_that_fails_keeps_the_answer_back() -> None:
    class Broken(Kept):
        async def record(self, entries: Iterable[Entry]) -> None:
            raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        asyncio.run(service(Logistic(), Broken()).predict(ROWS, CALLER))


def test_predictions_never_hold_the_event_loop() -> None:
    async def scenario() -> None:
        release = threading.Event()

        class Stuck(Logistic):
            def predict(self, rows: Sequence[Row]) -> Sequence[Scalar]:
                release.wait(5)
                return super().predict(rows)

        task = asyncio.create_task(service(Stuck()).predict(ROWS, CALLER))
        await asyncio.wait_for(asyncio.sleep(0.01), 1)
        assert not task.done()
        release.set()
        assert len(await task) == 2

    asyncio.run(scenario())


def test_the_self_check_replays_golden_cases() -> None:
    asyncio.run(service(Logistic()).self_check())
    drifted = golden.Case("one", ROWS[0], VALUES[0] + 0.01)
    with pytest.raises(GoldenMismatch):
        asyncio.run(service(Logistic(), case=drifted).self_check())

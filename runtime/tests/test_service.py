import asyncio
import threading
from collections.abc import Iterable, Sequence

import pytest

from bedside_runtime import golden
from bedside_runtime.adapters.predictor import Predictor
from bedside_runtime.batching import Batching, Inline
from bedside_runtime.contract import Row, Scalar, Serve
from bedside_runtime.errors import GoldenMismatch, OutputInvalid, Overloaded
from bedside_runtime.inputs import Flag, compile_inputs
from bedside_runtime.serve import event_loop
from bedside_runtime.service import Caller, Entry, NoRecord, Prediction, PredictionService, Recorder
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
    answered = event_loop.run(service(Logistic()).predict(ROWS, CALLER))
    assert [item.value for item in answered] == VALUES
    assert [item.flags for item in answered] == [(Flag("outside-expected", "age"),), ()]
    assert {item.band for item in answered} == {OUTPUT.band(value) for value in VALUES}


@pytest.mark.parametrize("values", [(float("nan"), 0.2), (0.2, 1.5), (0.2,), (0.2, 0.2, 0.2)])
def test_an_impossible_output_answers_nobody_and_is_not_recorded(values: tuple[float, ...]) -> None:
    kept = Kept()
    with pytest.raises(OutputInvalid):
        event_loop.run(service(Fixed(*values), kept).predict(ROWS, CALLER))
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

    event_loop.run(scenario())


def test_a_recorder_that_fails_keeps_the_answer_back() -> None:
    class Broken(Kept):
        async def record(self, entries: Iterable[Entry]) -> None:
            raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        event_loop.run(service(Logistic(), Broken()).predict(ROWS, CALLER))


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

    event_loop.run(scenario())


# -- several requests together


CALLERS = [Caller("r-1"), Caller("r-2")]


def quick(predictor: Predictor, kept: Kept, most: int = 2) -> PredictionService:
    made = contract(serve=Serve(max_in_flight=most))
    return PredictionService(made, "0" * 64, predictor, Inline(predictor), [CASE], kept)


def together(service: PredictionService) -> tuple[Sequence[bool], Sequence[Prediction]]:
    async def main() -> tuple[Sequence[bool], Sequence[Prediction]]:
        answered, recording = service.predict_together(ROWS, CALLERS)
        return answered, await asyncio.wait_for(recording, 20)

    return event_loop.run(main())


def test_each_request_is_recorded_with_its_own_caller() -> None:
    kept = Kept()
    service = quick(Logistic(), kept)
    answered, predictions = together(service)
    assert answered == [True, True]
    assert [item.value for item in predictions] == VALUES
    assert [(entry.caller.request, entry.rows[0]) for entry in kept.entries] == [
        ("r-1", ROWS[0].cells),
        ("r-2", ROWS[1].cells),
    ]
    assert service.in_flight == 0


def test_an_impossible_output_of_one_is_left_out_and_not_recorded() -> None:
    kept = Kept()
    answered, (one,) = together(quick(Fixed(float("nan"), 0.2), kept))
    assert (answered, one.value) == ([False, True], 0.2)
    assert [entry.caller.request for entry in kept.entries] == ["r-2"]


class Never(Kept):
    """Makes nothing durable, and can be asked how often it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def record(self, _entries: Iterable[Entry]) -> "asyncio.Future[None]":  # type: ignore[override]
        self.asked += 1
        return asyncio.get_running_loop().create_future()


def test_who_is_left_out_is_known_before_the_others_are_recorded_and_takes_no_place_in_flight() -> None:
    async def scenario() -> None:
        service = quick(Fixed(float("nan"), 0.2), Never())
        answered, recording = service.predict_together(ROWS, CALLERS)
        assert answered == [False, True]
        task = asyncio.create_task(recording)
        await asyncio.sleep(0)
        assert not task.done()
        assert (service.in_flight, service.free) == (1, 1)
        task.cancel()
        await asyncio.wait([task])
        assert service.in_flight == 0

    event_loop.run(scenario())


def test_where_all_are_left_out_the_recorder_is_not_asked() -> None:
    never = Never()
    assert together(quick(Fixed(float("nan"), float("nan")), never)) == ([False, False], [])
    assert never.asked == 0


def test_more_than_may_be_in_flight_are_not_begun() -> None:
    kept = Kept()
    service = quick(Logistic(), kept, most=1)
    with pytest.raises(Overloaded):
        together(service)
    assert (kept.entries, service.in_flight) == ([], 0)


def test_what_could_not_be_recorded_is_in_flight_no_more() -> None:
    class Broken(Kept):
        async def record(self, entries: Iterable[Entry]) -> None:
            raise OSError("no space")

    service = quick(Logistic(), Broken())
    with pytest.raises(OSError, match="no space"):
        together(service)
    assert service.in_flight == 0


def test_the_self_check_replays_golden_cases() -> None:
    event_loop.run(service(Logistic()).self_check())
    drifted = golden.Case("one", ROWS[0], VALUES[0] + 0.01)
    with pytest.raises(GoldenMismatch):
        event_loop.run(service(Logistic(), case=drifted).self_check())

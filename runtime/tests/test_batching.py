"""Batches: what waits together is asked together, and no answer depends on it."""

import asyncio
import threading
import time
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedside_runtime.batching import Answered, Batching, Inline
from bedside_runtime.contract import Row, Scalar
from bedside_runtime.errors import DeadlineExceeded, OutputInvalid
from bedside_runtime.serve import event_loop

LATE = 1e9


class Doubling:
    """Twice the first cell; remembers its calls, and can be held."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def predict(self, rows: Sequence[Row]) -> Sequence[Scalar]:
        self.calls.append(len(rows))
        self.gate.wait(60)
        if any(row[0] == "poison" for row in rows):
            raise ValueError("Jane Canary")
        return [float(row[0] or 0) * 2 for row in rows]


def asks(*cells: object) -> list[Row]:
    return [(cell,) for cell in cells]  # type: ignore[misc] # any cell


async def busy(batching: Batching, model: Doubling) -> "asyncio.Task[Answered]":
    """Let the model be busy with one request, so that others wait."""
    model.gate.clear()
    first = asyncio.create_task(batching.predict(asks(0), LATE))
    while not model.calls:
        await asyncio.sleep(0.001)
    return first


@given(
    st.lists(st.lists(st.integers(-1000, 1000), min_size=1, max_size=5), min_size=1, max_size=20),
    st.integers(1, 8),
    st.lists(st.integers(0, 3), min_size=20, max_size=20),
)
@settings(max_examples=60, deadline=None)
def test_a_case_has_one_answer_in_any_batch_at_any_position(
    requests: list[list[int]], most: int, pauses: list[int]
) -> None:
    async def scenario() -> None:
        batching = Batching(Doubling(), most)

        async def one(rows: list[int], pause: int) -> None:
            for _ in range(pause):
                await asyncio.sleep(0)
            assert (await batching.predict(asks(*rows), LATE)).values == [row * 2.0 for row in rows]

        await asyncio.gather(*map(one, requests, pauses))
        assert (batching.waiting, batching.abandoned) == (0, 0)
        batching.close()

    event_loop.run(scenario())


def test_what_waits_while_the_model_is_busy_is_asked_at_once_up_to_the_most() -> None:
    async def scenario() -> None:
        model = Doubling()
        batching = Batching(model, 4)
        first = await busy(batching, model)
        waiting = [asyncio.create_task(batching.predict(asks(n), LATE)) for n in range(6)]
        await asyncio.sleep(0)
        assert batching.waiting == 6
        model.gate.set()
        answers = await asyncio.gather(first, *waiting)
        assert model.calls == [1, 4, 2]
        assert [answer.batch for answer in answers] == [1, 4, 4, 4, 4, 2, 2]
        batching.close()

    event_loop.run(scenario())


def test_a_request_larger_than_a_batch_is_asked_by_itself() -> None:
    async def scenario() -> None:
        model = Doubling()
        batching = Batching(model, 2)
        assert (await batching.predict(asks(1, 2, 3), LATE)).values == [2.0, 4.0, 6.0]
        assert model.calls == [3]
        batching.close()

    event_loop.run(scenario())


def test_a_lone_request_does_not_wait_for_company_unless_it_is_told_to() -> None:
    async def scenario() -> None:
        at_once, later, never = (Batching(Doubling(), 4, wait) for wait in (0.0, 0.1, 600.0))
        started = time.monotonic()
        one, other, third = (asyncio.create_task(each.predict(asks(1), LATE)) for each in (at_once, later, never))
        for _ in range(3):
            await asyncio.sleep(0)
        assert at_once.waiting == 0
        await asyncio.wait_for(one, 60)
        await asyncio.wait_for(other, 60)
        assert time.monotonic() - started > 0.09  # the loop's own clock counts milliseconds
        assert never.waiting == 1
        third.cancel()
        for batching in (at_once, later, never):
            batching.close()

    event_loop.run(scenario())


def test_a_full_batch_does_not_wait() -> None:
    async def scenario() -> None:
        batching = Batching(Doubling(), 2, wait_seconds=30.0)
        both = asyncio.gather(batching.predict(asks(1), LATE), batching.predict(asks(2), LATE))
        assert [answer.batch for answer in await asyncio.wait_for(both, 20)] == [2, 2]
        batching.close()

    event_loop.run(scenario())


def test_the_failure_of_one_request_is_its_own() -> None:
    async def scenario() -> None:
        model = Doubling()
        batching = Batching(model)
        first = await busy(batching, model)
        good = asyncio.create_task(batching.predict(asks(1), LATE))
        bad = asyncio.create_task(batching.predict(asks("poison"), LATE))
        other = asyncio.create_task(batching.predict(asks(3), LATE))
        await asyncio.sleep(0)
        model.gate.set()
        assert (await first).values == [0.0]
        assert (await good).values == [2.0]
        assert (await other).values == [6.0]
        with pytest.raises(ValueError, match="Jane"):
            await bad
        batching.close()

    event_loop.run(scenario())


def test_what_would_take_its_time_is_asked_on_a_thread_and_holds_nobody_up() -> None:
    class Edged(Doubling):
        def at_once(self, rows: Sequence[Row]) -> Sequence[Scalar | None]:
            return [None if row[0] == 7 else float(row[0] or 0) * 2 for row in rows]

    async def scenario() -> None:
        model = Edged()
        inline = Inline(model, Batching(model))
        model.gate.clear()
        slow = asyncio.create_task(inline.predict(asks(1, 7), LATE))
        while not model.calls:
            await asyncio.sleep(0.001)
        quick = inline.predict(asks(2), LATE)
        assert isinstance(quick, Answered)
        assert quick.values == [4.0]
        with pytest.raises(DeadlineExceeded):
            await inline.predict(asks(7), time.monotonic() + 0.5)  # within which it is begun
        assert inline.abandoned == 1
        model.gate.set()
        assert (await slow).values == [2.0, 14.0]
        assert model.calls == [2]
        inline.close()

    event_loop.run(scenario())


@pytest.mark.parametrize("kind", [Batching, Inline])
def test_another_number_of_answers_than_rows_is_refused(kind: type[Batching] | type[Inline]) -> None:
    class Short:
        def predict(self, rows: Sequence[Row]) -> Sequence[Scalar]:
            return [0.5] * (len(rows) - 1)

    asking = kind(Short())
    with pytest.raises(OutputInvalid, match="1 values for 2 rows"):
        event_loop.run(asking.predict(asks(1, 2), LATE))
    asking.close()


@pytest.mark.parametrize("kind", [Batching, Inline])
def test_work_whose_deadline_has_passed_is_never_begun(kind: type[Batching] | type[Inline]) -> None:
    model = Doubling()
    asking = kind(model)
    with pytest.raises(DeadlineExceeded):
        event_loop.run(asking.predict(asks(1), 0.0))
    assert model.calls == []
    asking.close()


def test_work_that_expires_while_it_waits_is_dropped_before_the_model_sees_it() -> None:
    async def scenario() -> None:
        model = Doubling()
        batching = Batching(model)
        first = await busy(batching, model)
        with pytest.raises(DeadlineExceeded):
            await batching.predict(asks(1), time.monotonic() + 0.5)
        assert batching.abandoned == 1
        model.gate.set()
        await first
        await batching.predict(asks(2), LATE)
        assert model.calls == [1, 1]
        assert (batching.waiting, batching.abandoned) == (0, 0)
        batching.close()

    event_loop.run(scenario())


def test_a_prediction_that_outlasts_its_deadline_keeps_its_slot_until_it_ends() -> None:
    async def scenario() -> None:
        model = Doubling()
        batching = Batching(model)
        model.gate.clear()
        with pytest.raises(DeadlineExceeded):
            await batching.predict(asks(1), time.monotonic() + 0.5)
        assert batching.abandoned == 1
        model.gate.set()
        await batching.predict(asks(2), LATE)
        assert batching.abandoned == 0
        batching.close()

    event_loop.run(scenario())


def test_a_caller_that_goes_away_leaves_no_slot_behind() -> None:
    async def scenario() -> None:
        model = Doubling()
        batching = Batching(model)
        first = await busy(batching, model)
        gone = asyncio.create_task(batching.predict(asks(1), LATE))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        model.gate.set()
        await first
        await batching.predict(asks(2), LATE)
        assert model.calls == [1, 1]
        assert (batching.waiting, batching.abandoned) == (0, 0)
        batching.close()

    event_loop.run(scenario())


def test_a_self_check_runs_where_patients_are_answered() -> None:
    async def scenario() -> str:
        batching = Batching(Doubling())
        try:
            return await batching.run(lambda: threading.current_thread().name)
        finally:
            batching.close()

    assert event_loop.run(scenario()).startswith("predict")

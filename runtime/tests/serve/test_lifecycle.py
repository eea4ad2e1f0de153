from collections.abc import Iterable

import pytest

from bedside_runtime.batching import Inline
from bedside_runtime.serve.lifecycle import NEXT, Lifecycle, State
from bedside_runtime.service import Entry, NoRecord, PredictionService, Recorder
from contracts import Logistic, contract


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def ready(clock: Clock, recorder: Recorder | None = None) -> Lifecycle:
    lifecycle = Lifecycle(clock)
    lifecycle.verifying()
    lifecycle.ready(PredictionService(contract(), "d", Logistic(), Inline(Logistic()), [], recorder or NoRecord()))
    return lifecycle


@pytest.mark.parametrize("state", list(State))
def test_only_listed_transitions_exist(state: State) -> None:
    for target in State:
        lifecycle = Lifecycle()
        lifecycle.state = state
        if target in NEXT[state]:
            lifecycle._become(target)
            assert lifecycle.state is target
        else:
            with pytest.raises(RuntimeError):
                lifecycle._become(target)


def test_nothing_leads_back_to_ready() -> None:
    assert [state for state in State if State.READY in NEXT[state]] == [State.VERIFYING]


def test_readiness_ends_three_periods_after_the_last_self_check() -> None:
    clock = Clock()
    lifecycle = ready(clock)
    clock.now = 30.0
    assert lifecycle.readiness().ready
    clock.now = 30.1
    assert lifecycle.readiness().reason == "predict-loop-stalled"
    lifecycle.checked()
    assert lifecycle.readiness().ready


def test_a_recorder_that_cannot_write_is_not_ready() -> None:
    class Full(NoRecord):
        healthy = False

        async def record(self, entries: Iterable[Entry]) -> None:
            raise OSError

    assert ready(Clock(), Full()).readiness().reason == "recorder-unavailable"


def test_a_failure_keeps_its_reason_while_draining() -> None:
    lifecycle = ready(Clock())
    lifecycle.fail("golden-mismatch")
    lifecycle.drain()
    assert lifecycle.readiness().reason == "golden-mismatch"
    assert not lifecycle.started()
    assert lifecycle.service is None

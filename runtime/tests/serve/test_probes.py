"""The probe matrix: exact status and reason of every probe in every state."""

import math
import threading
import time
from typing import Any

import msgspec
import pytest
from served import PATIENT, QUICK, Served, Switchable, loaded, serving

from bedside_runtime.errors import GoldenMismatch, IntegrityError, OutputInvalid
from bedside_runtime.loading import Loaded

CHECKED = msgspec.structs.replace(QUICK, self_check_seconds=0.1)
"""The next self-check comes soon; a busy machine may be late with it."""


def probes(served: Served) -> dict[str, tuple[int, str]]:
    found = {}
    for path in ("/livez", "/startupz", "/readyz"):
        status, body = served.get(path)
        found[path] = status, body["reason"]
        twin = {"/livez": "/health", "/startupz": "/startup", "/readyz": "/ready"}[path]
        assert served.get(twin) == (status, body)
        assert served.get(path, admin=True) == (status, body)
    return found


def becomes(served: Served, reason: str) -> dict[str, tuple[int, str]]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if served.get("/readyz")[1]["reason"] == reason:
            return probes(served)
        time.sleep(0.01)
    raise AssertionError(f"never {reason}: {served.get('/readyz')}")


def test_while_loading_only_liveness_is_there() -> None:
    release = threading.Event()

    def load(_stage: Any, on_contract: Any) -> Loaded:
        on_contract(loaded().contract)
        release.wait(60)
        return loaded()

    with serving(load) as served:
        assert probes(served) == {"/livez": (200, "live"), "/startupz": (503, "loading"), "/readyz": (503, "loading")}
        status, problem = served.post({"inputs": PATIENT})
        assert (status, problem["code"], problem["reason"]) == (503, "not-ready", "loading")
        assert served.get("/model")[0] == 503
        release.set()
        assert becomes(served, "ready")["/startupz"] == (200, "started")


def test_while_verifying_nothing_is_answered_yet() -> None:
    release = threading.Event()

    def load(stage: Any, on_contract: Any) -> Loaded:
        on_contract(loaded().contract)
        stage("loading")
        stage("verifying")
        release.wait(60)
        return loaded()

    with serving(load) as served:
        assert becomes(served, "verifying") == {
            "/livez": (200, "live"),
            "/startupz": (503, "verifying"),
            "/readyz": (503, "verifying"),
        }
        assert served.post({"inputs": PATIENT})[0] == 503
        release.set()


def test_ready_means_ready() -> None:
    with serving() as served:
        assert probes(served) == {"/livez": (200, "live"), "/startupz": (200, "started"), "/readyz": (200, "ready")}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (GoldenMismatch("case x"), "golden-mismatch"),
        (OutputInvalid("NaN"), "output-invalid"),
        (IntegrityError("model"), "integrity"),
        (ValueError("anything that a model library raises"), "load-failed"),
        (SystemExit("model code that ends the process"), "load-failed"),
    ],
)
def test_a_failed_load_is_live_and_never_ready(error: BaseException, reason: str) -> None:
    def load(_stage: Any, _contract: Any) -> Loaded:
        raise error

    with serving(load) as served:
        assert becomes(served, reason) == {
            "/livez": (200, "live"),
            "/startupz": (503, reason),
            "/readyz": (503, reason),
        }
        status, problem = served.post({"inputs": PATIENT})
        assert (status, problem["reason"]) == (503, reason)
        assert served.stop() == 3
    assert str(error) not in served.stream.getvalue()


def test_a_failed_load_exits_by_itself_after_its_grace() -> None:
    def load(_stage: Any, on_contract: Any) -> Loaded:
        on_contract(loaded(settings=type(QUICK)(failed_exit_seconds=0.2)).contract)
        raise GoldenMismatch("case x")

    with serving(load) as served:
        assert served.wait_for("stopped")["exit_code"] == 3


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda value: math.nan, "output-invalid"),
        (lambda value: value + 1e-6, "golden-mismatch"),
        (lambda _: 2.0, "output-invalid"),
    ],
)
def test_a_model_that_changes_its_answers_fails_the_next_self_check(change: Any, reason: str) -> None:
    model = Switchable()
    with serving(loaded(model, CHECKED)) as served:
        model.change = change
        assert becomes(served, reason)["/readyz"] == (503, reason)
        assert served.post({"inputs": PATIENT})[0] == 503
        assert served.stop() == 3


def test_a_model_that_answers_otherwise_where_patients_are_answered_is_never_ready() -> None:
    model = Switchable()
    model.change = lambda value: value + 1e-6
    with serving(lambda _stage, on_contract: on_contract(loaded().contract) or loaded(model)) as served:
        assert becomes(served, "golden-mismatch")["/startupz"] == (503, "golden-mismatch")
        assert "ready" not in {event["event"] for event in served.events()}
        assert served.stop() == 3


def test_a_model_that_hangs_where_patients_are_answered_is_never_ready() -> None:
    model = Switchable()
    model.gate.clear()
    with serving(lambda _stage, on_contract: on_contract(loaded().contract) or loaded(model)) as served:
        try:
            assert becomes(served, "verifying")["/startupz"] == (503, "verifying")
            assert served.post({"inputs": PATIENT})[0] == 503
        finally:
            model.gate.set()
        assert becomes(served, "ready")["/startupz"] == (200, "started")


def test_a_process_that_is_told_to_stop_during_its_first_self_check_never_becomes_ready() -> None:
    model = Switchable()
    model.gate.clear()
    with serving(lambda _stage, on_contract: on_contract(loaded().contract) or loaded(model)) as served:
        becomes(served, "verifying")
        served.process.stop()
        served.wait_for("draining")
        model.gate.set()
        assert served.wait_for("stopped")["exit_code"] == 0
        assert {"ready", "load-failed", "failed"}.isdisjoint(event["event"] for event in served.events())


def test_a_self_check_that_breaks_inside_the_library_fails_the_process() -> None:
    model = Switchable()

    def broken(_value: float) -> float:
        raise ZeroDivisionError

    with serving(loaded(model, CHECKED)) as served:
        model.change = broken
        assert becomes(served, "load-failed")["/readyz"][0] == 503


def test_a_predict_loop_that_hangs_is_not_ready_and_still_live() -> None:
    model = Switchable()
    with serving(loaded(model, msgspec.structs.replace(QUICK, self_check_seconds=1.0))) as served:
        model.gate.clear()
        try:
            assert becomes(served, "predict-loop-stalled") == {
                "/livez": (200, "live"),
                "/startupz": (200, "started"),
                "/readyz": (503, "predict-loop-stalled"),
            }
        finally:
            model.gate.set()
        assert becomes(served, "ready")["/readyz"] == (200, "ready")


def test_draining_is_not_ready_and_goes_on_answering() -> None:
    with serving(loaded(settings=type(QUICK)(drain_seconds=1.5, shutdown_seconds=2.0))) as served:
        with served.draining():
            assert probes(served)["/readyz"] == (503, "draining")
            assert served.post({"inputs": PATIENT})[0] == 200
        assert served.wait_for("stopped")["exit_code"] == 0


def test_a_request_with_an_impossible_answer_is_a_fixed_problem_and_nothing_else() -> None:
    model = Switchable()
    with serving(loaded(model, type(QUICK)(self_check_seconds=30.0, drain_seconds=0.0))) as served:
        model.change = lambda _: math.nan
        status, problem = served.post({"inputs": PATIENT})
        assert (status, problem["code"]) == (500, "output-invalid")
        assert "NaN" not in served.stream.getvalue()

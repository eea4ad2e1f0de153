"""What an answer of a pod is taken for."""

import ssl
from dataclasses import replace
from typing import Any

import pytest

from bedside.errors import UsageError
from bedside.kube import asking
from bedside.kube.asking import NOBODY, Caller, Case, Expected, Reply
from bedside_runtime.contract import Band, Output

OUTPUT = Output(name="risk", type="probability", positive=1, bands=(Band(name="low", below=0.5), Band(name="high")))
CASE = Case("c1", {"age": 75}, 0.5)
DIGEST = f"sha256:{'a' * 64}"
EXPECTED = Expected(DIGEST, OUTPUT, 1e-9, (CASE, Case("c2", {"age": 7}, 0.1)))


def _said(value: Any = 0.5, band: Any = "high", digest: Any = DIGEST) -> dict[str, Any]:
    return {"release": {"digest": digest}, "predictions": [{"value": value, "band": band}]}


def test_the_same_value_in_the_same_band_by_the_same_release_is_a_proof() -> None:
    assert asking.judge(Reply(200, _said()), EXPECTED, CASE).proven
    assert asking.judge(Reply(200, _said(0.5 + 9e-10)), EXPECTED, CASE).proven


@pytest.mark.parametrize(
    ("status", "value", "why"),
    [
        (200, _said(0.5 + 2e-9), "away from the study"),
        (200, _said(0.5 - 9e-10, "low"), "in band low where the study has high"),
        (200, _said(digest=f"sha256:{'b' * 64}"), "answers as release sha256:bbb"),
        (200, _said(digest=None), "answers as release None"),
        (200, _said("high"), "away from the study"),
        (200, _said(True), "away from the study"),
        (200, _said(None), "without a value"),
        (200, _said([0.5]), "without a value"),
        (200, {"release": {"digest": DIGEST}, "predictions": []}, "no prediction"),
        (200, {"release": {"digest": DIGEST}, "predictions": [1]}, "no prediction"),
        (200, {"release": DIGEST}, "answers as release None"),
        (200, {}, "answers as release None"),
        (500, {}, "status 500"),
        (404, _said(), "status 404"),
    ],
)
def test_anything_else_is_none_and_says_what_without_an_input(status: int, value: dict[str, Any], why: str) -> None:
    verdict = asking.judge(Reply(status, value), EXPECTED, CASE)
    assert not verdict.proven
    assert why in verdict.why
    assert "75" not in verdict.why


def test_cases_take_turns() -> None:
    assert [EXPECTED.case(turn).id for turn in range(3)] == ["c1", "c2", "c1"]


def test_pods_that_speak_tls_are_not_asked_without_knowing_whom_to_believe() -> None:
    speaks = replace(EXPECTED, name="icu.icu.svc")
    asking.check(EXPECTED, NOBODY)
    asking.check(speaks, Caller(tls=ssl.create_default_context()))
    with pytest.raises(UsageError, match="speak TLS") as refused:
        asking.check(speaks, NOBODY)
    assert "--pod-ca" in refused.value.remedy


def test_a_caller_s_credential_is_not_in_its_representation() -> None:
    assert "canary" not in repr(Caller((("Authorization", "Bearer canary"),)))

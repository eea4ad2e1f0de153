"""Everybody is asked about the same patients, and everybody's answer is compared with the study."""

import json

import pytest
from benchmarks.contenders import Contender
from benchmarks.environments import PEERS
from benchmarks.field import FIELD, QUICK
from benchmarks.workloads import workloads

from benchmarks import rounds

ANSWERS = {
    "guide": {"probability": 0.25},
    "mlserver": {"outputs": [{"data": [0.75, 0.25]}]},
    "bentoml": [0.25],
    "litserve": {"probability": 0.25},
    "mlflow": {"predictions": [[0.75, 0.25]]},
    "rayserve": {"probability": 0.25},
    "bedside": {"predictions": [{"value": 0.25}]},
}


@pytest.mark.parametrize("contender", FIELD, ids=lambda one: one.name)
def test_every_value_of_a_patient_is_in_the_question(contender: Contender) -> None:
    for workload in workloads():
        if contender.only in (None, workload.name):
            asked = json.dumps(contender.body(workload.patients[0]))
            for value in workload.patients[0].inputs.values():
                assert json.dumps(value) in asked


@pytest.mark.parametrize("contender", [one for one in FIELD if one.answered], ids=lambda one: one.name)
def test_the_probability_is_found_and_compared_with_the_study(contender: Contender) -> None:
    workload = workloads()[0]
    patient = workload.patients[0]
    answer = ANSWERS[contender.name.split("-")[0]]
    assert contender.answered is not None
    assert contender.answered(answer) == 0.25
    assert "differs" in rounds._wrong(contender, workload, patient, answer)
    assert "another form" in rounds._wrong(contender, workload, patient, {"outputs": []})


def test_an_echo_must_be_the_question() -> None:
    (echo,) = [one for one in FIELD if one.name == "echo"]
    workload = workloads()[0]
    patient = workload.patients[0]
    assert rounds._wrong(echo, workload, patient, echo.body(patient)) == ""
    assert rounds._wrong(echo, workload, patient, {}) == "the echo is another"


def test_names_are_unique_and_the_short_form_knows_them() -> None:
    names = [one.name for one in FIELD]
    assert len(set(names)) == len(names)
    assert set(QUICK) <= set(names)


@pytest.mark.parametrize("file", sorted(PEERS.glob("*/requirements.txt")), ids=lambda file: file.parent.name)
def test_every_environment_is_pinned_and_hashed_and_names_no_address(file: object) -> None:
    text = file.read_text()  # type: ignore[attr-defined]
    pins = [line for line in text.splitlines() if line and not line.startswith(" ")]
    assert pins
    assert all("==" in pin for pin in pins)
    assert text.count("--hash=sha256:") >= len(pins)
    assert "://" not in text

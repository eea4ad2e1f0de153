import json
from collections.abc import Sequence

import pytest

from bedside_runtime import golden
from bedside_runtime.contract import Band, Output, Row, Scalar
from bedside_runtime.errors import GoldenMismatch, OutputInvalid
from contracts import INPUTS, OUTPUT, Logistic

PATIENT = {"age": 63, "temperature": 37.2, "lactate": 1.1, "admission": "Emergency", "ventilated": False}
ROW = (63, 37.2, 1.1, "Emergency", False)
EXPECTED = float(Logistic().predict([ROW])[0])


def file(*cases: dict[str, object]) -> bytes:
    return b"\n".join(json.dumps(case).encode() for case in cases)


def case(**changes: object) -> dict[str, object]:
    return {"id": "one", "inputs": PATIENT, "expected": EXPECTED} | changes


def problems(data: bytes) -> str:
    with pytest.raises(golden.GoldenInvalid) as refused:
        golden.parse(data, INPUTS, OUTPUT)
    return str(refused.value)


class Constant:
    def __init__(self, *values: Scalar) -> None:
        self.values = values

    def predict(self, rows: Sequence[Row]) -> Sequence[Scalar]:
        return self.values[: len(rows)]


def test_a_correct_model_passes_with_no_difference() -> None:
    cases = golden.parse(file(case(), case(id="two")), INPUTS, OUTPUT)
    assert golden.replay(cases, OUTPUT, 0.0, Logistic()) == golden.Report(2, 0.0, 0.0)


def test_a_difference_above_the_tolerance_names_case_expected_and_got() -> None:
    cases = golden.parse(file(case(expected=EXPECTED + 1e-6)), INPUTS, OUTPUT)
    with pytest.raises(GoldenMismatch) as refused:
        golden.replay(cases, OUTPUT, 1e-9, Logistic())
    assert "one: expected" in str(refused.value)
    assert repr(EXPECTED) in str(refused.value)
    assert golden.replay(cases, OUTPUT, 1e-5, Logistic()).largest_difference == pytest.approx(1e-6)


def test_the_band_must_be_the_same_even_within_the_tolerance() -> None:
    cases = golden.parse(file(case(expected=0.1)), INPUTS, OUTPUT)
    with pytest.raises(GoldenMismatch, match=r"band elevated.*band low"):
        golden.replay(cases, OUTPUT, 0.01, Constant(0.0999))


def test_a_batch_that_answers_otherwise_is_a_mismatch() -> None:
    class Swapped:
        def predict(self, rows: Sequence[Row]) -> Sequence[Scalar]:
            return list(reversed(Logistic().predict(rows)))

    other = {**PATIENT, "age": 20}
    expected = float(Logistic().predict([(20, *ROW[1:])])[0])
    cases = golden.parse(file(case(), case(id="two", inputs=other, expected=expected)), INPUTS, OUTPUT)
    with pytest.raises(GoldenMismatch, match="in a batch"):
        golden.replay(cases, OUTPUT, 1e-9, Swapped())


@pytest.mark.parametrize("bad", [float("nan"), 1.5, -0.1, "high"])
def test_an_output_that_cannot_be_is_told_apart_from_a_mismatch(bad: Scalar) -> None:
    cases = golden.parse(file(case()), INPUTS, OUTPUT)
    with pytest.raises(OutputInvalid, match="golden case one"):
        golden.replay(cases, OUTPUT, 1.0, Constant(bad))


def test_labels_must_be_equal_and_of_the_same_type() -> None:
    output = Output(name="kind", type="class")
    cases = golden.parse(file(case(expected="benign")), INPUTS, output)
    assert golden.replay(cases, output, 0.0, Constant("benign")).cases == 1
    with pytest.raises(GoldenMismatch):
        golden.replay(cases, output, 1e9, Constant("malignant"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{", "not JSON"),
        (b"[]", "must be an object"),
        (b'{"id": ""}', "non-empty string id"),
        (json.dumps({"id": "a", "inputs": PATIENT}).encode(), "expected is missing"),
        (json.dumps(case(expected=None)).encode(), "expected is missing"),
        (json.dumps(case(expected=1.2)).encode(), "no probability"),
        (json.dumps(case(expected=[1])).encode(), "number or a class label"),
        (json.dumps(case(extra=1)).encode(), "unknown key 'extra'"),
        (json.dumps(case(inputs={**PATIENT, "pulse": 80})).encode(), "does not declare"),
        (json.dumps(case(inputs={**PATIENT, "age": 300})).encode(), "age must be from 0 to 130"),
        (json.dumps({"id": "a", "expected": 0.5}).encode(), "must be an object from input name"),
        (b"", "no golden case"),
    ],
)
def test_a_line_that_is_no_case_is_named(line: bytes, said: str) -> None:
    assert said in problems(line)


def test_every_bad_line_is_reported_with_its_number() -> None:
    said = problems(b"{\n\n" + file(case()) + b"\n" + file(case()))
    assert "line 1:" in said
    assert "line 4: the id 'one' stands on an earlier line already" in said


def test_a_value_output_is_compared_as_a_number() -> None:
    output = Output(name="days", type="value", bands=(Band(name="short", below=3), Band(name="long")))
    cases = golden.parse(file(case(expected=2)), INPUTS, output)
    assert golden.replay(cases, output, 0.0, Constant(2.0)).largest_difference == 0

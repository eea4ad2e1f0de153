import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside_runtime.contract import Conversion, Input
from bedside_runtime.inputs import Flag, InvalidInputs, ValidRow, compile_inputs
from contracts import INPUTS

PATIENT = {"age": 63, "temperature": 37.2, "lactate": 1.1, "admission": "Emergency", "ventilated": False}
DECODER = compile_inputs(INPUTS)


def codes(patient: object) -> list[tuple[str | None, str]]:
    with pytest.raises(InvalidInputs) as refused:
        DECODER.rows([patient])
    return [(item.input, item.code) for item in refused.value.violations]


def test_cells_stand_in_declared_order_whatever_the_order_of_keys() -> None:
    shuffled = dict(sorted(PATIENT.items(), reverse=True))
    assert DECODER.rows([shuffled]) == (ValidRow((63, 37.2, 1.1, "Emergency", False)),)


@pytest.mark.parametrize("missing", [{}, {"lactate": None}])
def test_a_value_that_may_be_missing_is_none_and_flagged(missing: dict[str, None]) -> None:
    patient = {key: value for key, value in PATIENT.items() if key != "lactate"} | missing
    (row,) = DECODER.rows([patient])
    assert row.cells[2] is None
    assert row.flags == (Flag("missing", "lactate"),)


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("age", None, "missing"),
        ("age", 63.5, "wrong-type"),
        ("age", "63", "wrong-type"),
        ("age", True, "wrong-type"),
        ("age", -1, "out-of-range"),
        ("age", 131, "out-of-range"),
        ("age", 2**53 + 2, "wrong-type"),
        ("temperature", math.nan, "not-finite"),
        ("temperature", math.inf, "not-finite"),
        ("temperature", 10**400, "not-finite"),
        ("temperature", [37.0], "wrong-type"),
        ("temperature", 98.6, "out-of-range"),
        ("temperature", {"value": 98.6}, "wrong-type"),
        ("temperature", {"value": 98.6, "unit": "[degF]", "note": 1}, "wrong-type"),
        ("temperature", {"value": None, "unit": "[degF]"}, "wrong-type"),
        ("temperature", {"value": 37.0, "unit": "mm[Hg]"}, "unit-not-accepted"),
        ("temperature", {"value": 37.0, "unit": ["Cel"]}, "wrong-type"),
        ("temperature", {"value": 700.0, "unit": "[degF]"}, "out-of-range"),
        ("lactate", {"value": 10.0, "unit": "mg/dL"}, "unit-not-accepted"),
        ("admission", "emergency", "not-a-category"),
        ("admission", 1, "wrong-type"),
        ("ventilated", 0, "wrong-type"),
        ("ventilated", "false", "wrong-type"),
    ],
)
def test_a_wrong_value_is_refused_with_its_code(name: str, value: object, code: str) -> None:
    assert codes(PATIENT | {name: value}) == [(name, code)]


def test_all_violations_of_all_instances_come_at_once() -> None:
    with pytest.raises(InvalidInputs) as refused:
        DECODER.rows([PATIENT | {"age": -1, "ventilated": 1}, 7, {}])
    found = [(item.instance, item.code) for item in refused.value.violations]
    assert found == [(0, "out-of-range"), (0, "wrong-type"), (1, "not-an-object")] + [(2, "missing")] * 4


def test_an_unknown_key_is_refused_with_the_nearest_declared_one_and_never_echoed() -> None:
    with pytest.raises(InvalidInputs) as refused:
        DECODER.rows([PATIENT | {"temprature": 1, "Doe, Jane 1950": 2}])
    messages = " ".join(item.message for item in refused.value.violations)
    assert [item.code for item in refused.value.violations] == ["unknown-input"] * 2
    assert "did you mean 'temperature'?" in messages
    assert "temprature" not in messages
    assert "Doe" not in messages


@given(
    st.one_of(st.text(min_size=6), st.floats(), st.lists(st.text(min_size=6), min_size=1)),
    st.sampled_from(list(PATIENT)),
)
def test_no_violation_holds_the_value(value: object, name: str) -> None:
    try:
        DECODER.rows([PATIENT | {name: value}])
    except InvalidInputs as refused:
        said = " ".join(item.message for item in refused.violations)
        assert not isinstance(value, str) or value not in said or value in ("Emergency", "Elective")


def test_a_value_outside_expected_is_answered_and_flagged() -> None:
    (row,) = DECODER.rows([PATIENT | {"age": 101}])
    assert row.flags == (Flag("outside-expected", "age"),)


@pytest.mark.parametrize(
    ("value", "unit", "celsius"),
    [(98.6, "[degF]", 37.0), (310.15, "K", 37.0), (37.2, "Cel", 37.2), (104, "[degF]", 40.0)],
)
def test_a_compatible_unit_is_converted_to_the_nearest_double(value: float, unit: str, celsius: float) -> None:
    (row,) = DECODER.rows([PATIENT | {"temperature": {"value": value, "unit": unit}}])
    assert row.cells[1] == celsius


@given(st.floats(-1e9, 1e9))
def test_conversion_is_exact_until_the_last_rounding(value: float) -> None:
    exact = Fraction(repr(value)) * Fraction(5, 9) - Fraction(160, 9)
    assert Conversion(scale="5/9", offset="-160/9").apply(value) == float(exact)


def test_an_integer_in_another_unit_must_come_out_integral() -> None:
    decoder = compile_inputs(
        [Input(name="stay", type="integer", unit="min", conversions={"h": Conversion(scale="60")})]
    )
    assert decoder.rows([{"stay": {"value": 1.5, "unit": "h"}}])[0].cells == (90,)
    with pytest.raises(InvalidInputs):
        decoder.rows([{"stay": {"value": 0.01, "unit": "h"}}])


def test_a_value_that_overflows_in_the_declared_unit_is_refused() -> None:
    decoder = compile_inputs(
        [Input(name="weight", type="number", unit="g", conversions={"kg": Conversion(scale="1000")})]
    )
    with pytest.raises(InvalidInputs) as refused:
        decoder.rows([{"weight": {"value": 1e308, "unit": "kg"}}])
    assert [item.code for item in refused.value.violations] == ["not-finite"]


def test_an_integral_float_is_an_integer_as_json_schema_has_it() -> None:
    (row,) = DECODER.rows([PATIENT | {"age": 63.0}])
    assert row.cells[0] == 63
    assert isinstance(row.cells[0], int)

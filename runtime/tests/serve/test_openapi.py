"""The OpenAPI document says the same as the decoder that refuses."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside_runtime.contract import Conversion, Input
from bedside_runtime.inputs import InvalidInputs, compile_inputs
from bedside_runtime.serve import openapi
from contracts import contract


def forms(item: Input) -> dict[str, dict[str, Any]]:
    """The value's schema for each unit that may be sent with it."""
    described = openapi.document(contract(inputs=(item,)))["components"]["schemas"]["Instance"]["properties"]
    objects = [form["properties"] for form in described[item.name]["oneOf"] if form.get("type") == "object"]
    return {form["unit"]["const"]: form["value"] for form in objects}


def taken(item: Input, value: float, unit: str) -> bool:
    try:
        compile_inputs([item]).rows([{item.name: {"value": value, "unit": unit}}])
    except InvalidInputs:
        return False
    return True


def test_every_unit_is_documented_with_its_own_range() -> None:
    temperature = next(item for item in contract().inputs if item.name == "temperature")
    ranges = {unit: (value["minimum"], value["maximum"]) for unit, value in forms(temperature).items()}
    assert ranges == {"Cel": (25, 45), "[degF]": (77, 113), "K": (298.15, 318.15)}


@given(
    st.tuples(st.floats(-1e6, 1e6), st.floats(1, 1e6)),
    st.fractions(max_denominator=1000).filter(lambda scale: abs(scale) > 1e-3),
    st.fractions(-1000, 1000, max_denominator=1000),
)
def test_the_ends_of_a_documented_range_are_taken(span: tuple[float, float], scale: object, offset: object) -> None:
    valid = span[0], span[0] + span[1]
    conversions = {"u": Conversion(scale=str(scale), offset=str(offset))}
    item = Input(name="x", type="number", unit="g", valid=valid, conversions=conversions)
    value = forms(item)["u"]
    assert taken(item, value["minimum"], "u")
    assert taken(item, value["maximum"], "u")


@pytest.mark.parametrize(("end", "outward"), [("minimum", -math.inf), ("maximum", math.inf)])
def test_what_lies_beyond_a_documented_range_is_refused(end: str, outward: float) -> None:
    temperature = next(item for item in contract().inputs if item.name == "temperature")
    value = forms(temperature)["[degF]"][end]
    assert not taken(temperature, math.nextafter(value, outward), "[degF]")

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside_runtime.contract import Band, Output
from bedside_runtime.errors import OutputInvalid
from bedside_runtime.outputs import Answer, answer
from contracts import OUTPUT


@pytest.mark.parametrize(
    ("raw", "band"),
    [(0.0, "low"), (0.0999, "low"), (0.1, "elevated"), (0.35, "high"), (1.0, "high"), (1, "high")],
)
def test_a_band_holds_all_below_its_bound_and_not_the_bound(raw: float, band: str) -> None:
    assert answer(OUTPUT, raw) == Answer(raw, band)


@pytest.mark.parametrize("raw", [math.nan, math.inf, -math.inf, -1e-12, 1.0000001, "high", True])
def test_what_is_no_probability_is_refused(raw: float | str) -> None:
    with pytest.raises(OutputInvalid):
        answer(OUTPUT, raw)


def test_a_value_may_be_any_finite_number() -> None:
    days = Output(name="days", type="value", unit="d")
    assert answer(days, -3.5) == Answer(-3.5, None)
    with pytest.raises(OutputInvalid):
        answer(days, math.nan)


@pytest.mark.parametrize("label", ["benign", 2, True])
def test_a_class_label_is_handed_through(label: str | int) -> None:
    assert answer(Output(name="kind", type="class"), label) == Answer(label, None)


def test_a_class_label_is_never_nan() -> None:
    with pytest.raises(OutputInvalid):
        answer(Output(name="kind", type="class"), math.nan)


edges = st.lists(st.floats(-10, 10), min_size=0, max_size=5, unique=True).map(sorted)


@given(edges, st.data())
def test_the_quick_way_to_a_band_finds_what_the_contract_says(below: list[float], data: st.DataObject) -> None:
    named = [Band(name=f"b{number}", below=edge) for number, edge in enumerate(below)]
    output = Output(name="days", type="value", bands=(*named, Band(name="last")))
    raw = data.draw(st.floats(-11, 11) | st.sampled_from([*below, 0.0, -0.0]))
    assert answer(output, raw).band == output.band(raw)

import math

import pytest

from bedside_runtime.contract import Output
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

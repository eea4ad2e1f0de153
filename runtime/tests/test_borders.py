"""Borders: inputs as close to another band or label as doubles can be."""

import math
from collections.abc import Sequence

import pytest

from bedside_runtime import borders, equivalence
from bedside_runtime.contract import Band, Input, Output, Row, Scalar
from contracts import INPUTS, OUTPUT, Logistic

NUMBER = (Input(name="x", type="number", valid=(-10, 10)), Input(name="group", type="category", categories=("a", "b")))
VALUE = Output(name="y", type="value")


class Line:
    """Answers its first input."""

    def predict(self, rows: Sequence[Row]) -> Sequence[Scalar]:
        return [float(row[0] or 0.0) for row in rows]


def found(model: object, inputs: Sequence[Input], output: Output, seed: int = 1) -> list[Row]:
    rows = equivalence.sample(inputs, [], 200)
    return borders.find(model, inputs, output, rows, model.predict(rows), seed)  # type: ignore[arg-type, attr-defined]


@pytest.mark.parametrize("edge", [0.3, 0.0, -7.25])
def test_both_sides_of_an_edge_are_found_with_no_double_between_them(edge: float) -> None:
    output = Output(name="y", type="value", bands=(Band(name="low", below=edge), Band(name="high")))
    rows = found(Line(), NUMBER, output)
    assert len(rows) >= 2 * borders.WALKS // 2
    for before, after in zip(rows[::2], rows[1::2], strict=True):
        low, high = sorted([float(before[0] or 0.0), float(after[0] or 0.0)])
        assert low < edge <= high
        assert high - low <= max(math.ulp(edge), 20.0 / 2**borders.HALVINGS)


def test_without_bands_the_median_is_the_border() -> None:
    rows = found(Line(), NUMBER, VALUE)
    assert rows
    assert len({before[0] < after[0] for before, after in zip(rows[::2], rows[1::2], strict=True)}) == 2  # type: ignore[operator]


def test_every_band_of_a_model_is_walked_to_and_always_the_same_way() -> None:
    rows = found(Logistic(), INPUTS, OUTPUT)
    assert rows == found(Logistic(), INPUTS, OUTPUT)
    assert rows != found(Logistic(), INPUTS, OUTPUT, seed=2)
    bands = {OUTPUT.band(value) for value in Logistic().predict(rows)}
    assert bands == {"low", "elevated", "high"}


def test_the_border_between_labels_is_found() -> None:
    class Label:
        def predict(self, rows: Sequence[Row]) -> Sequence[Scalar]:
            return ["high" if float(row[0] or 0.0) > 1 / 3 else "low" for row in rows]

    rows = found(Label(), NUMBER, Output(name="y", type="class"))
    assert {row[0] for row in rows} == {1 / 3, math.nextafter(1 / 3, 1)}


def test_a_model_with_one_answer_has_no_border() -> None:
    class Constant:
        def predict(self, rows: Sequence[Row]) -> Sequence[Scalar]:
            return [0.5] * len(rows)

    assert found(Constant(), NUMBER, VALUE) == []


def test_a_border_that_only_a_category_crosses_is_left_out() -> None:
    class Group:
        def predict(self, rows: Sequence[Row]) -> Sequence[Scalar]:
            return [float(row[1] == "a") for row in rows]

    assert found(Group(), NUMBER, VALUE) == []

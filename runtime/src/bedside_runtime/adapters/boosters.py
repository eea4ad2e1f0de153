"""What the native XGBoost and LightGBM boosters have in common: an objective decides what they answer."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, assert_never

from bedside_runtime.adapters import columns
from bedside_runtime.adapters.columns import Columns, Layout
from bedside_runtime.adapters.estimators import positive_column
from bedside_runtime.adapters.opened import Ask
from bedside_runtime.contract import Input, Output
from bedside_runtime.errors import ModelMismatch

Kind: TypeAlias = Literal["binary", "multiclass", "value"]
"""What a booster's raw answer is: the probability of class 1, one probability a class, or a value."""


def numeric_columns(layout: Layout, features: Sequence[str], inputs: Sequence[Input]) -> Columns:
    """Return the columns of a booster, which takes numbers alone.

    Raises:
        ModelMismatch: A category is declared.
    """
    named = [item.name for item in inputs if item.type == "category"]
    if named:
        raise ModelMismatch(
            f"the model takes numbers; declared as categories are: {', '.join(named)}",
            remedy="Encode them in transform(rows) of a module under [model] code, or save a whole pipeline.",
        )
    return columns.compile_columns(layout, features, inputs)


def ask(kind: Kind, classes: int, raw: Ask, output: Output, objective: str) -> Ask:
    """Return what asks a booster for ``output``.

    Args:
        kind: What ``raw`` answers.
        classes: How many classes it knows; they are numbered from 0.
        raw: The model's input in, its raw answer out: shape (rows,) or, for several classes, (rows, classes).
        output: What is declared.
        objective: The objective's name, for messages.

    Raises:
        ModelMismatch: The objective does not give the declared output.
    """
    match output.type:
        case "probability" if kind == "binary":
            if positive_column([0, 1], output.positive) == 1:
                return raw
            raise ModelMismatch(
                "the booster answers the probability of class 1; positive is 0",
                remedy="Declare positive = 1 under [output], and bands for that probability.",
            )
        case "probability" if kind == "multiclass":
            column = positive_column(list(range(classes)), output.positive)
            return lambda values: raw(values)[:, column]
        case "class" if kind == "binary":
            return lambda values: (raw(values) > 0.5).astype("int64")
        case "class" if kind == "multiclass":
            return lambda values: raw(values).argmax(axis=1)
        case "value" if kind == "value":
            return raw
        case "probability" | "class" | "value":
            can = "a value" if kind == "value" else "a probability or a class"
            raise ModelMismatch(
                f"a booster with the objective {objective} cannot answer a {output.type}",
                remedy=f"Declare {can} under [output], or train with another objective.",
            )
        case _:
            assert_never(output.type)


def array(value: Any) -> Any:  # noqa: ANN401 - a NumPy array
    """Return ``value`` with a last axis of length one taken off."""
    return value[:, 0] if value.ndim == 2 and value.shape[1] == 1 else value

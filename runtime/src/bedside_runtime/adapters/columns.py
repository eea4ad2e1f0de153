"""From validated rows to what a model is handed: a named frame, one array, or the author's transform.

Compiled once per model; the order of the inputs in a request never matters, columns are placed by name.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, assert_never

from bedside_runtime.adapters.code import Transform
from bedside_runtime.contract import Input, Row
from bedside_runtime.errors import LibraryMissing, ModelMismatch

Layout: TypeAlias = Literal["frame", "array", "tensors", "code"]

Memory: TypeAlias = Literal["C", "F"]

Columns: TypeAlias = Callable[[Sequence[Row]], Any]
"""Rows in, the model's own input out; its type is the model library's business."""


def match(features: Sequence[str] | None, count: int | None, inputs: Sequence[Input]) -> tuple[str, ...]:
    """Return the model's features in the model's order, checked against the declared inputs.

    Args:
        features: The names that the model carries; ``None`` where it has none of its own.
        count: How many features the model takes, where it says so.
        inputs: The declared inputs; none where nothing is declared yet.

    Raises:
        ModelMismatch: Naming what is missing and what is not expected, or the two counts.
    """
    declared = tuple(item.name for item in inputs)
    if features is None:
        if inputs and count is not None and count != len(inputs):
            raise ModelMismatch(f"the model takes {count} features without names; {len(inputs)} inputs are declared")
        return declared or tuple(f"feature_{index}" for index in range(count or 0))
    if not inputs or set(features) == set(declared):
        return tuple(features)
    missing = [name for name in features if name not in declared]
    unexpected = [name for name in declared if name not in features]
    parts = [f"declared are not: {', '.join(missing)}"] if missing else []
    parts += [f"the model does not know: {', '.join(unexpected)}"] if unexpected else []
    raise ModelMismatch("the model's features and the declared inputs differ; " + "; ".join(parts))


def compile_columns(
    layout: Layout,
    features: Sequence[str],
    inputs: Sequence[Input],
    *,
    memory: Memory = "C",
    absent: float | None = None,
) -> Columns:
    """Return what turns rows into the model's input.

    Args:
        layout: A frame or an array.
        features: The model's features in the model's order.
        inputs: The declared inputs in the order of a row.
        memory: How an array lies in memory. A matrix library may sum in another order for another one, so an
            array that stands for a frame lies as pandas would lay it: by columns, ``F``.
        absent: What stands for a missing word or truth value: NaN or ``None``, as the model was fitted.

    Raises:
        LibraryMissing: The layout is a frame and pandas is not installed.
    """
    if layout == "frame":
        return _frame(features, inputs, absent)
    if layout == "array":
        return _array(features, inputs, memory, absent)
    raise ValueError(f"no columns are made for the layout {layout}")


def transformed(transform: Transform, inputs: Sequence[Input]) -> Columns:
    """Return what hands rows to the author's ``transform`` as one dict a row, input name to value."""
    names = tuple(item.name for item in inputs)
    return lambda rows: transform([dict(zip(names, row, strict=True)) for row in rows])


def _frame(features: Sequence[str], inputs: Sequence[Input], absent: float | None) -> Columns:
    try:
        import pandas as pd
    except ImportError:
        raise LibraryMissing(
            "this model takes a table with named columns, and pandas is not installed",
            remedy="Add pandas to requirements.in.",
        ) from None
    import numpy as np

    # pandas 3 makes words of a column of its own accord, but not of one without any: alone, a patient whose word is
    # missing would be handed over otherwise than beside others. So a type is said wherever something may be missing.
    words = "str" if absent is not None and int(pd.__version__.split(".")[0]) >= 3 else "object"
    kinds = {item.name: words if _may_lack_words(item) else _dtype(item) for item in inputs}
    said = frozenset(item.name for item in inputs if item.missing == "allow" and _dtype(item) == "object")
    places = _places(features, inputs)
    plan = tuple((name, places[name], kinds[name]) for name in features)

    def frame(rows: Sequence[Row]) -> Any:  # noqa: ANN401 - a pandas frame
        columns = {}
        for name, place, kind in plan:
            values = [row[place] for row in rows]
            if name in said:
                columns[name] = pd.Series([absent if cell is None else cell for cell in values], dtype=kind)
                continue
            if kind == "object":
                column = np.empty(len(values), dtype=object)
                column[:] = values
            else:
                column = np.array(values, dtype=kind)
            columns[name] = column
        return pd.DataFrame(columns, copy=False)

    return frame


def _array(features: Sequence[str], inputs: Sequence[Input], memory: Memory, absent: float | None) -> Columns:
    import numpy as np

    places = _places(features, inputs)
    order = tuple(places[name] for name in features)
    kind = "object" if any(item.type == "category" for item in inputs) else "float64"
    if kind == "object" and absent is not None:
        return lambda rows: np.array(
            [[absent if row[place] is None else row[place] for place in order] for row in rows],
            dtype=kind,
            order=memory,
        )
    if order == tuple(range(len(inputs))):
        return lambda rows: np.array(rows, dtype=kind, order=memory)
    return lambda rows: np.array([[row[place] for place in order] for row in rows], dtype=kind, order=memory)


def _places(features: Sequence[str], inputs: Sequence[Input]) -> dict[str, int]:
    places = {item.name: place for place, item in enumerate(inputs)}
    match(features, None, inputs)
    return places


def _may_lack_words(item: Input) -> bool:
    return item.type == "category" and item.missing == "allow"


def _dtype(item: Input) -> str:
    optional = item.missing == "allow"
    match item.type:
        case "number":
            return "float64"
        case "integer":
            return "float64" if optional else "int64"
        case "boolean":
            return "object" if optional else "bool"
        case "category":
            return "object"
        case _:
            assert_never(item.type)

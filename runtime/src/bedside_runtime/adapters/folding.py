"""Folding a linear pipeline into plain arithmetic: every step of it is a function of one input alone.

Imputers, scalers, encoders and column transformers are followed column by column; what reaches the linear model is,
for each column, a straight line over one number or a table over one closed set of values. A line stays a line under
scaling and a sum of lines over the same input is one line, so the whole pipeline becomes a handful of numbers. What
cannot be followed is said, never guessed; and what was folded is believed only once it is proven against the
pipeline itself (see `equivalence`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from bedside_runtime.contract import Cell, Input

UNKNOWN: Final = "refuses values that it was not fitted with, and the declared categories hold one"


class Unfoldable(Exception):
    """A step that cannot be followed; the message names it and holds nothing of a patient."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column on its way through the pipeline: a function of one input.

    Attributes:
        source: Place of the input in a row.
        slope: A number contributes ``slope * value + offset``.
        offset: See ``slope``.
        missing: What a missing value contributes; ``None`` where it is not a number (yet).
        table: For values out of a closed set: what each contributes; ``None`` for numbers. A value that is still
            a word maps to itself.
    """

    source: int
    slope: float = 1.0
    offset: float = 0.0
    missing: float | None = None
    table: Mapping[Cell, Cell] | None = None

    def scaled(self, slope: float, offset: float) -> "Column":
        """Return this column, each of its numbers times ``slope`` plus ``offset``."""
        missing = None if self.missing is None else self.missing * slope + offset
        if self.table is None:
            return replace(self, slope=self.slope * slope, offset=self.offset * slope + offset, missing=missing)
        table = {
            cell: None if (n := number(value)) is None else n * slope + offset for cell, value in self.table.items()
        }
        return replace(self, table=table, missing=missing)


Columns = tuple[Column, ...]


def number(value: Cell) -> float | None:
    """Return a table's value as a number, ``None`` for one that is missing.

    Raises:
        Unfoldable: It is a word.
    """
    if isinstance(value, str):
        raise Unfoldable("words reach a step that computes")
    return None if value is None else float(value)


def begin(inputs: Sequence[Input], features: Sequence[str]) -> Columns:
    """Return the columns as the model is handed them, in the model's order."""
    places = {item.name: place for place, item in enumerate(inputs)}
    return tuple(_column(places[name], inputs[places[name]]) for name in features)


def _column(place: int, item: Input) -> Column:
    values: tuple[Cell, ...]
    match item.type:
        case "number" | "integer":
            return Column(place)
        case "boolean":
            values = (False, True)
        case _:
            values = item.categories
    table: dict[Cell, Cell] = {value: value for value in values}
    if item.missing == "allow":
        table[None] = None
    return Column(place, table=MappingProxyType(table))


def follow(step: Any, columns: Columns, features: Sequence[str] = ()) -> Columns:  # noqa: ANN401 - any estimator
    """Return what ``step`` makes of ``columns``.

    Args:
        step: A fitted transformer, or scikit-learn's words ``passthrough`` and ``drop``.
        columns: What it is handed.
        features: Names of ``columns``, where they still are the model's own features.

    Raises:
        Unfoldable: It is none of those that can be followed.
    """
    if step is None or step == "passthrough":
        return columns
    if isinstance(step, str):
        return ()
    name = type(step).__name__
    if not type(step).__module__.startswith("sklearn."):
        raise Unfoldable(f"{name} is not scikit-learn's own")
    found = _STEPS.get(name)
    if found is None:
        raise Unfoldable(f"{name} is not among the steps that can be folded")
    return found(step, columns, features)


def _pipeline(step: Any, columns: Columns, features: Sequence[str]) -> Columns:  # noqa: ANN401
    for _, inner in step.steps:
        columns, features = follow(inner, columns, features), ()
    return columns


def _column_transformer(step: Any, columns: Columns, features: Sequence[str]) -> Columns:  # noqa: ANN401
    result: list[Column] = []
    for _, inner, chosen in step.transformers_:
        places = _places(chosen, len(columns), features)
        names = [features[place] for place in places] if features else ()
        result += follow(inner, tuple(columns[place] for place in places), names)
    return tuple(result)


def _places(chosen: Any, count: int, features: Sequence[str]) -> list[int]:  # noqa: ANN401
    """Return the places that a column transformer chose: names, places, a slice, a mask, or one of the first two."""
    if isinstance(chosen, (str, int)) and not isinstance(chosen, bool):
        raise Unfoldable("a column transformer hands a step one column without its second dimension")
    if isinstance(chosen, slice):
        if isinstance(chosen.start or chosen.stop, str):
            raise Unfoldable("a column transformer chooses by a slice of names")
        return list(range(count))[chosen]
    listed = list(chosen)
    if all(isinstance(item, str) for item in listed):
        if not set(listed) <= set(features):
            raise Unfoldable("a column transformer chooses by names that are no longer there")
        return [features.index(item) for item in listed]
    if listed and all(type(item).__name__ in ("bool", "bool_", "bool") for item in listed):
        return [place for place, item in enumerate(listed) if item]
    return [int(item) % count for item in listed]


def _function(step: Any, columns: Columns, _: Sequence[str]) -> Columns:  # noqa: ANN401
    if step.func is not None:
        raise Unfoldable("FunctionTransformer runs a function of the author")
    return columns  # what `passthrough` becomes when it is fitted


def _imputer(step: Any, columns: Columns, _: Sequence[str]) -> Columns:  # noqa: ANN401
    if step.add_indicator or len(step.statistics_) != len(columns):
        raise Unfoldable("SimpleImputer adds indicators")
    missing = step.missing_values
    is_nan = isinstance(missing, float) and math.isnan(missing)
    result = []
    for column, filled in zip(columns, step.statistics_, strict=True):
        if isinstance(filled, float) and math.isnan(filled):
            raise Unfoldable("SimpleImputer drops an input that was never measured")
        if column.table is None:
            if not is_nan:
                raise Unfoldable("SimpleImputer takes another number than NaN for a missing one")
            result.append(replace(column, missing=float(filled)))
        elif None in column.table.values():
            if missing is not None:
                raise Unfoldable("SimpleImputer does not see missing words")
            value: Cell = filled if isinstance(filled, str) else float(filled)
            table = {cell: value if was is None else was for cell, was in column.table.items()}
            result.append(replace(column, table=table))
        else:
            result.append(column)
    return tuple(result)


def _standard(step: Any, columns: Columns, _: Sequence[str]) -> Columns:  # noqa: ANN401
    return _shifted(columns, step.mean_ if step.with_mean else None, step.scale_ if step.with_std else None)


def _robust(step: Any, columns: Columns, _: Sequence[str]) -> Columns:  # noqa: ANN401
    return _shifted(columns, step.center_ if step.with_centering else None, step.scale_ if step.with_scaling else None)


def _max_abs(step: Any, columns: Columns, _: Sequence[str]) -> Columns:  # noqa: ANN401
    return _shifted(columns, None, step.scale_)


def _min_max(step: Any, columns: Columns, _: Sequence[str]) -> Columns:  # noqa: ANN401
    if step.clip:
        raise Unfoldable("MinMaxScaler clips, which is no straight line")
    rows = zip(columns, step.scale_, step.min_, strict=True)
    return tuple(column.scaled(float(slope), float(offset)) for column, slope, offset in rows)


def _shifted(columns: Columns, centers: Any, scales: Any) -> Columns:  # noqa: ANN401 - arrays or None
    centers = [0.0] * len(columns) if centers is None else centers.tolist()
    scales = [1.0] * len(columns) if scales is None else scales.tolist()
    rows = zip(columns, centers, scales, strict=True)
    return tuple(column.scaled(1.0 / scale, -center / scale) for column, center, scale in rows)


def _one_hot(step: Any, columns: Columns, _: Sequence[str]) -> Columns:  # noqa: ANN401
    if step.min_frequency is not None or step.max_categories is not None:
        raise Unfoldable("OneHotEncoder groups rare categories")
    result: list[Column] = []
    dropped = step.drop_idx_ if step.drop_idx_ is not None else [None] * len(columns)
    for column, categories, left_out in zip(columns, step.categories_, dropped, strict=True):
        seen = _seen(column, categories.tolist(), "OneHotEncoder", strict=step.handle_unknown == "error")
        for index in range(len(categories)):
            if left_out is None or index != left_out:
                table: dict[Cell, Cell] = {cell: float(place == index) for cell, place in seen.items()}
                result.append(Column(column.source, table=table))
    return tuple(result)


def _ordinal(step: Any, columns: Columns, _: Sequence[str]) -> Columns:  # noqa: ANN401
    if step.min_frequency is not None or step.max_categories is not None:
        raise Unfoldable("OrdinalEncoder groups rare categories")
    result = []
    strict = step.handle_unknown == "error"
    for column, categories in zip(columns, step.categories_, strict=True):
        seen = _seen(column, categories.tolist(), "OrdinalEncoder", strict=strict)
        other = None if strict else float(step.unknown_value)
        if None in categories.tolist() or (other is not None and math.isnan(other)):
            raise Unfoldable("OrdinalEncoder gives NaN")
        table: dict[Cell, Cell] = {cell: other if place is None else float(place) for cell, place in seen.items()}
        result.append(Column(column.source, table=table))
    return tuple(result)


def _seen(column: Column, categories: Sequence[Cell], name: str, *, strict: bool) -> dict[Cell, int | None]:
    """Return, for each value that the input can take, its place among the encoder's categories."""
    if column.table is None:
        raise Unfoldable(f"{name} is handed numbers, which are no closed set")
    places = {_key(category): place for place, category in enumerate(categories)}
    found = {cell: places.get(_key(value)) for cell, value in column.table.items()}
    if strict and None in found.values():
        raise Unfoldable(f"{name} {UNKNOWN}")
    return found


def _key(value: Cell) -> tuple[bool, Cell]:
    return isinstance(value, str), value


_STEPS: Final[Mapping[str, Callable[[Any, Columns, Sequence[str]], Columns]]] = MappingProxyType(
    {
        "Pipeline": _pipeline,
        "ColumnTransformer": _column_transformer,
        "FunctionTransformer": _function,
        "SimpleImputer": _imputer,
        "StandardScaler": _standard,
        "RobustScaler": _robust,
        "MaxAbsScaler": _max_abs,
        "MinMaxScaler": _min_max,
        "OneHotEncoder": _one_hot,
        "OrdinalEncoder": _ordinal,
    }
)

"""What each of scikit-learn's transformers of single columns makes of them: imputers, scalers, encoders.

Fitted attributes are read by name. What cannot be followed is said, never guessed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from bedside_runtime.adapters.features import Column, Columns, Unfoldable
from bedside_runtime.contract import Cell, Input

Step: TypeAlias = Any
"""A fitted transformer; the libraries have no types."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What the release declares, as far as a step has to know it."""

    inputs: Sequence[Input]

    def optional(self, column: Column) -> bool:
        """Say whether the input of ``column`` may be missing."""
        return self.inputs[column.source].missing == "allow"

    def table(self, column: Column, name: str) -> Mapping[Cell, Cell]:
        """Return what each value of the input becomes; see ``Column.closed``."""
        return column.closed(name, optional=self.optional(column))


def imputer(step: Step, columns: Columns, _: Declared) -> Columns:
    """SimpleImputer: fills, drops what was never measured, and adds indicators."""
    sees = _sees_missing(step.missing_values, numeric=step.strategy in ("mean", "median"))
    kept = [
        (column, filled)
        for column, filled in zip(columns, step.statistics_, strict=True)
        if not _never_measured(step, filled)
    ]
    result = [_filled(column, filled, sees, step) for column, filled in kept]
    return (*result, *(indicators(step.indicator_, columns, _) if step.add_indicator else ()))


def _never_measured(step: Step, filled: object) -> bool:
    empty = isinstance(filled, float) and math.isnan(filled)
    return empty and step.strategy != "constant" and not getattr(step, "keep_empty_features", False)


def _filled(column: Column, filled: object, sees: Callable[[Cell], bool], step: Step) -> Column:
    if column.table is None and not _is_nan(step.missing_values):
        raise Unfoldable("SimpleImputer takes another number than NaN for a missing one")
    if isinstance(filled, str):
        return column.filled(filled, sees)
    if column.table is not None and any(was is None and not sees(was) for was in column.table.values()):
        raise Unfoldable("SimpleImputer does not see missing words")
    return column.filled(float(filled), sees)  # type: ignore[arg-type] # a NumPy number


def indicators(step: Step, columns: Columns, _: Declared) -> Columns:
    """MissingIndicator: 1 where a value is missing."""
    if any(column.table is None for column in columns) and not _is_nan(step.missing_values):
        raise Unfoldable("MissingIndicator takes another number than NaN for a missing one")
    sees = _sees_missing(step.missing_values, numeric=True)
    return tuple(columns[place].indicated(sees) for place in step.features_.tolist())


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _sees_missing(marker: object, *, numeric: bool) -> Callable[[Cell], bool]:
    """Return which values of a table an imputer takes for missing."""
    if _is_nan(marker):
        return lambda was: _is_nan(was) or (numeric and was is None)
    if marker is None:
        return lambda was: was is None
    return lambda was: was == marker


def standard(step: Step, columns: Columns, _: Declared) -> Columns:
    """StandardScaler: subtracts means, divides by deviations."""
    centred = _each(columns, "subtract", step.mean_ if step.with_mean else None)
    return _each(centred, "divide", step.scale_ if step.with_std else None)


def robust(step: Step, columns: Columns, _: Declared) -> Columns:
    """RobustScaler: subtracts medians, divides by ranges."""
    centred = _each(columns, "subtract", step.center_ if step.with_centering else None)
    return _each(centred, "divide", step.scale_ if step.with_scaling else None)


def max_abs(step: Step, columns: Columns, _: Declared) -> Columns:
    """MaxAbsScaler: divides by the largest absolute value; newer ones can clip."""
    return _clipped(_each(columns, "divide", step.scale_), getattr(step, "clip", False), (-1.0, 1.0))


def min_max(step: Step, columns: Columns, _: Declared) -> Columns:
    """MinMaxScaler: multiplies, adds, and clips where it is told to."""
    scaled = _each(_each(columns, "multiply", step.scale_), "add", step.min_)
    return _clipped(scaled, step.clip, step.feature_range)


def _each(columns: Columns, operation: Any, constants: Any) -> Columns:  # noqa: ANN401 - an array or None
    if constants is None:
        return columns
    pairs = zip(columns, constants.tolist(), strict=True)
    return tuple(column.then(operation, float(constant)) for column, constant in pairs)


def _clipped(columns: Columns, clips: object, between: Sequence[float]) -> Columns:
    if not clips:
        return columns
    low, high = map(float, between)
    return tuple(column.then("at-least", low).then("at-most", high) for column in columns)


def one_hot(step: Step, columns: Columns, declared: Declared) -> Columns:
    """OneHotEncoder: one column a category that is kept, the rare ones together in the last."""
    result: list[Column] = []
    for index, column in enumerate(columns):
        groups = _Groups(step, index)
        dropped = groups.of(int(step.drop_idx_[index])) if _drops(step, index) else None
        found = _placed(column, groups, "OneHotEncoder", declared)
        for group in range(groups.count):
            if group != dropped:
                table: dict[Cell, Cell] = {cell: float(place == group) for cell, place in found.items()}
                result.append(Column(column.source, table=table))
    return tuple(result)


def _drops(step: Step, index: int) -> bool:
    return step.drop_idx_ is not None and step.drop_idx_[index] is not None


def ordinal(step: Step, columns: Columns, declared: Declared) -> Columns:
    """OrdinalEncoder: the place of a category among those it was fitted with."""
    result = []
    for index, column in enumerate(columns):
        groups = _Groups(step, index)
        found = _placed(column, groups, "OrdinalEncoder", declared)
        other = math.nan if step.unknown_value is None else float(step.unknown_value)
        absent = groups.of(groups.missing) if groups.missing is not None else None
        codes = {absent: float(step.encoded_missing_value)} if absent is not None else {}
        table: dict[Cell, Cell] = {
            cell: other if place is None else codes.get(place, float(place)) for cell, place in found.items()
        }
        result.append(Column(column.source, table=table))
    return tuple(result)


def target(step: Step, columns: Columns, declared: Declared) -> Columns:
    """TargetEncoder: the mean of the target where a category was seen, else that of all."""
    if step.target_type_ not in ("binary", "continuous"):
        raise Unfoldable("TargetEncoder was fitted on several classes")
    result = []
    for column, categories, means in zip(columns, step.categories_, step.encodings_, strict=True):
        places = {_key(category): place for place, category in enumerate(categories.tolist())}
        table: dict[Cell, Cell] = {}
        for cell, was in declared.table(column, "TargetEncoder").items():
            place = places.get(_key(was))
            table[cell] = float(step.target_mean_ if place is None else means[place])
        result.append(Column(column.source, table=table))
    return tuple(result)


class _Groups:
    """The categories of one column of an encoder, the rare ones grouped into the last."""

    def __init__(self, step: Step, index: int) -> None:
        categories = step.categories_[index].tolist()
        grouped = step.min_frequency is not None or step.max_categories is not None
        rare = step.infrequent_categories_[index] if grouped else None
        keys = set() if rare is None else {_key(category) for category in rare.tolist()}
        kept = [place for place, category in enumerate(categories) if _key(category) not in keys]
        self._group = {place: group for group, place in enumerate(kept)}
        self._places = {_key(category): place for place, category in enumerate(categories)}
        self.rare = len(kept) if keys else None
        self.count = len(kept) + bool(keys)
        self.strict = step.handle_unknown == "error"
        self.joins = step.handle_unknown in ("infrequent_if_exist", "warn")
        self.missing = self._places.get(_NAN)

    def of(self, place: int) -> int | None:
        """Return the group of a category by its place."""
        return self._group.get(place, self.rare)

    def find(self, was: Cell) -> int | None:
        """Return the group of a value, ``None`` for one that the encoder was not fitted with."""
        place = self._places.get(_key(was))
        if place is None:
            return self.rare if self.joins else None
        return self.of(place)


def _placed(column: Column, groups: _Groups, name: str, declared: Declared) -> dict[Cell, int | None]:
    """Return, for each value that the input can take, its group."""
    found = {cell: groups.find(was) for cell, was in declared.table(column, name).items()}
    if groups.strict and None in found.values():
        raise Unfoldable(f"{name} refuses values that it was not fitted with, and the declared inputs can hold one")
    return found


_NAN: Final = ("nan", None)


def _key(value: Cell) -> tuple[str, Cell]:
    if _is_nan(value):
        return _NAN
    return ("word" if isinstance(value, str) else "none" if value is None else "number"), value


def chosen(step: Step, columns: Columns, _: Declared) -> Columns:
    """Return the columns that a step of feature selection keeps."""
    return tuple(column for column, kept in zip(columns, step.get_support().tolist(), strict=True) if kept)


def function(step: Step, columns: Columns, _: Declared) -> Columns:
    """FunctionTransformer without a function: what ``passthrough`` becomes when it is fitted."""
    if step.func is not None:
        raise Unfoldable("FunctionTransformer runs a function of the author")
    return columns


Follow: TypeAlias = Callable[[Step, Columns, Declared], Columns]

STEPS: Final[Mapping[str, Follow]] = MappingProxyType(
    {
        "FunctionTransformer": function,
        "GenericUnivariateSelect": chosen,
        "MaxAbsScaler": max_abs,
        "MinMaxScaler": min_max,
        "MissingIndicator": indicators,
        "OneHotEncoder": one_hot,
        "OrdinalEncoder": ordinal,
        "RFE": chosen,
        "RFECV": chosen,
        "RobustScaler": robust,
        "SelectFdr": chosen,
        "SelectFpr": chosen,
        "SelectFromModel": chosen,
        "SelectFwe": chosen,
        "SelectKBest": chosen,
        "SelectPercentile": chosen,
        "SequentialFeatureSelector": chosen,
        "SimpleImputer": imputer,
        "StandardScaler": standard,
        "TargetEncoder": target,
        "VarianceThreshold": chosen,
    }
)
"""By the name of scikit-learn's class."""

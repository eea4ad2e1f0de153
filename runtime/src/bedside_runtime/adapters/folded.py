"""The folded engine: a linear pipeline as sums of lines and tables, in double precision, one row like the other.

A row is always computed by the same operations in the same order, so no batch changes a bit.
"""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from bedside_runtime.adapters import features, folding, links
from bedside_runtime.adapters.features import Column, Columns, Line, Unfoldable
from bedside_runtime.adapters.folding import Followed
from bedside_runtime.contract import Cell, Input, Output, Row, Scalar

Sum: TypeAlias = Callable[[Row], float]


@dataclass
class Terms:
    """One linear function of a row: what always counts, lines, lines that may be missing or end, tables.

    Lines without more and tables are added up by the interpreter's own loops, in a third of the time of ours.
    """

    constant: float
    lines: Sequence[tuple[int, float]]
    optional: Sequence[tuple[int, float, float, float]]
    bounded: Sequence[tuple[int, float, float, float, float, float]]
    tables: Sequence[tuple[int, Mapping[Cell, float]]]

    def __post_init__(self) -> None:
        """Take apart what is asked for every row."""
        self._slopes = [slope for _, slope in self.lines]
        self._numbers = _picked([place for place, _ in self.lines])
        self._tables = [table for _, table in self.tables]
        self._words = _picked([place for place, _ in self.tables])

    def __call__(self, row: Row) -> float:
        """Return the sum for ``row``, always added up in the same order."""
        total = sum(map(operator.mul, self._slopes, self._numbers(row)), self.constant)
        for place, slope, offset, missing in self.optional:
            value = row[place]
            total += missing if value is None else slope * value + offset  # type: ignore[operator] # a number
        for place, slope, offset, missing, low, high in self.bounded:
            value = row[place]
            total += missing if value is None else slope * min(max(value, low), high) + offset  # type: ignore[operator]
        return sum(map(operator.getitem, self._tables, self._words(row)), total)


def _picked(places: Sequence[int]) -> Callable[[Row], Sequence[Any]]:
    """Return what takes the cells at ``places`` out of a row."""
    match places:
        case []:
            return lambda _: ()
        case [place]:
            return lambda row: (row[place],)
        case _:
            return operator.itemgetter(*places)


Answer: TypeAlias = Callable[[Row], Scalar | None]
"""One row in, its answer out; ``None`` where the model itself has to be asked, see ``links.Link``."""


def fold(estimator: Any, names: Sequence[str], inputs: Sequence[Input], output: Output) -> Answer:  # noqa: ANN401
    """Fold ``estimator``.

    Args:
        estimator: A fitted linear model, or a pipeline that ends in one.
        names: Its features, in its order.
        inputs: The declared inputs, in the order of a row.
        output: What it is declared to answer.

    Raises:
        Unfoldable: It cannot be followed; the message says where.
    """
    followed = folding.pipeline(estimator, names, inputs)
    return _answer(followed, inputs, output)


def _answer(followed: Followed, inputs: Sequence[Input], output: Output) -> Answer:
    model = followed.model
    name = type(model).__name__
    if not folding.is_sklearn(model):
        raise Unfoldable(f"{name} is not scikit-learn's own")
    if name == "CalibratedClassifierCV":
        return _calibrated(followed, inputs, output)
    link = links.of(model, output)
    sums = _sums(model, followed.columns, inputs)
    if len(sums) == 1:
        (only,) = sums
        return lambda row: link((only(row),))
    return lambda row: link([each(row) for each in sums])


def _calibrated(followed: Followed, inputs: Sequence[Input], output: Output) -> Answer:
    """CalibratedClassifierCV of linear models: each one's sum through its own curve, then the mean."""
    parts: list[tuple[Sum, Callable[[float], float]]] = []
    for part in followed.model.calibrated_classifiers_:
        ends = folding.pipeline(part.estimator, followed.names, inputs, followed.columns)
        links.require_decision(ends.model)
        (total,) = _sums(ends.model, ends.columns, inputs)
        parts.append((total, links.curve(part)))
    finish = links.mean_of_calibrated(followed.model, output)
    return lambda row: finish([curve(total(row)) for total, curve in parts])


def _sums(model: Any, columns: Columns, inputs: Sequence[Input]) -> list[Terms]:  # noqa: ANN401
    """Return the linear functions of a model: one, or one a class."""
    coefficients, constants = links.coefficients(model)
    return [_terms(row, constant, columns, inputs) for row, constant in zip(coefficients, constants, strict=True)]


class _Gathered:
    """What all columns of a model contribute, gathered by input."""

    def __init__(self) -> None:
        self.lines: dict[tuple[int, float, float], list[float]] = {}  # to slope, offset, what a missing value adds
        self.tables: dict[int, dict[Cell, float]] = {}

    def line(self, place: int, line: Line, weight: float, missing: float) -> None:
        found = self.lines.setdefault((place, line.low, line.high), [0.0, 0.0, 0.0])
        found[0] += weight * line.slope
        found[1] += weight * line.offset
        found[2] += weight * missing

    def table(self, place: int, values: Mapping[Cell, Cell], weight: float) -> None:
        table = self.tables.setdefault(place, dict.fromkeys(values, 0.0))
        for cell, value in values.items():
            table[cell] += weight * features.number(value)


def _terms(coefficients: Sequence[float], constant: float, columns: Columns, inputs: Sequence[Input]) -> Terms:
    """Add up what all columns of one input contribute.

    Raises:
        Unfoldable: The model has another number of coefficients than columns, or a missing value reaches it.
    """
    if len(coefficients) != len(columns):
        raise Unfoldable(f"the model takes {len(coefficients)} columns; {len(columns)} reach it")
    gathered = _Gathered()
    for weight, column in zip(coefficients, columns, strict=True):
        optional = inputs[column.source].missing == "allow"
        if _lets_missing_through(column, optional=optional):
            raise Unfoldable("a missing value reaches the model")
        if column.table is not None:
            gathered.table(column.source, column.table, weight)
        else:
            gathered.line(column.source, column.line(), weight, column.missing or 0.0)
    return _arranged(constant, gathered, inputs)


def _lets_missing_through(column: Column, *, optional: bool) -> bool:
    if column.table is not None:
        return any(math.isnan(features.number(value)) for value in column.table.values())
    return optional and (column.missing is None or math.isnan(column.missing))


def _arranged(constant: float, gathered: _Gathered, inputs: Sequence[Input]) -> Terms:
    lines, optional, bounded = [], [], []
    for (place, low, high), (slope, offset, missing) in gathered.lines.items():
        if low > -math.inf or high < math.inf:
            bounded.append((place, slope, offset, missing, low, high))
        elif inputs[place].missing == "allow":
            optional.append((place, slope, offset, missing))
        else:
            lines.append((place, slope))
            constant += offset
    return Terms(constant, lines, optional, bounded, list(gathered.tables.items()))

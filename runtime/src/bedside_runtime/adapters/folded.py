"""The folded engine: a linear pipeline as sums of lines and tables, in double precision, one row like the other.

A row is always computed by the same operations in the same order, so no batch changes a bit.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from bedside_runtime.adapters import folding
from bedside_runtime.adapters.estimators import positive_column
from bedside_runtime.adapters.folding import Column, Unfoldable
from bedside_runtime.contract import Cell, Input, Output, Row, Scalar

_PROBABILITIES: Final = frozenset({"LogisticRegression", "LogisticRegressionCV"})
_VALUES: Final = frozenset(
    {"LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV", "BayesianRidge"}
)

Sum: TypeAlias = Callable[[Row], float]


@dataclass(frozen=True, slots=True)
class _Terms:
    """One linear function of a row: what always counts, lines, lines that may be missing, tables."""

    constant: float
    lines: tuple[tuple[int, float], ...]
    optional: tuple[tuple[int, float, float, float], ...]
    tables: tuple[tuple[int, Mapping[Cell, float]], ...]

    def __call__(self, row: Row) -> float:
        """Return the sum for ``row``, always added up in the same order."""
        total = self.constant
        for place, slope in self.lines:
            total += slope * row[place]  # type: ignore[operator] # a number, by the contract
        for place, slope, offset, missing in self.optional:
            value = row[place]
            total += missing if value is None else slope * value + offset  # type: ignore[operator]
        for place, table in self.tables:
            total += table[row[place]]
        return total


class Folded:
    """Answers rows by `_Terms`; see ``Predictor``."""

    def __init__(self, answer: Callable[[Row], Scalar]) -> None:
        self._answer = answer

    def predict(self, rows: Sequence[Row]) -> Sequence[Scalar]:
        """See ``Predictor``."""
        return [self._answer(row) for row in rows]


def fold(estimator: Any, features: Sequence[str], inputs: Sequence[Input], output: Output) -> Folded:  # noqa: ANN401
    """Fold ``estimator``.

    Args:
        estimator: A fitted linear model, or a pipeline that ends in one.
        features: Its features, in its order.
        inputs: The declared inputs, in the order of a row.
        output: What it is declared to answer.

    Raises:
        Unfoldable: It cannot be followed; the message says where.
    """
    columns = folding.begin(inputs, features)
    names: Sequence[str] = features
    while type(estimator).__name__ == "Pipeline":
        for _, step in estimator.steps[:-1]:
            columns, names = folding.follow(step, columns, names), ()
        estimator = estimator.steps[-1][1]
    name = type(estimator).__name__
    if not type(estimator).__module__.startswith("sklearn.") or name not in _PROBABILITIES | _VALUES:
        raise Unfoldable(f"{name} is not among the models that can be folded")
    if name in _VALUES:
        return _value(estimator, columns, inputs, output)
    return _probability(estimator, columns, inputs, output)


def _value(estimator: Any, columns: Sequence[Column], inputs: Sequence[Input], output: Output) -> Folded:  # noqa: ANN401
    if output.type != "value" or estimator.coef_.ndim != 1:
        raise Unfoldable("the model answers several values")
    return Folded(_terms(estimator.coef_.tolist(), float(estimator.intercept_), columns, inputs))


def _probability(estimator: Any, columns: Sequence[Column], inputs: Sequence[Input], output: Output) -> Folded:  # noqa: ANN401
    classes = estimator.classes_.tolist()
    sums = [
        _terms(row, float(constant), columns, inputs)
        for row, constant in zip(estimator.coef_.tolist(), estimator.intercept_.tolist(), strict=True)
    ]
    if output.type == "class":
        return Folded(_label(sums, classes))
    place = positive_column(classes, output.positive)
    if len(sums) == 1:
        (only,) = sums
        sign = 1.0 if place == 1 else -1.0
        return Folded(lambda row: logistic(sign * only(row)))
    if estimator.solver == "liblinear":
        raise Unfoldable("one-versus-rest probabilities of several classes are not folded")
    return Folded(_softmax(sums, place))


def logistic(value: float) -> float:
    """Return ``1 / (1 + exp(-value))`` without overflow."""
    if value >= 0.0:
        return 1.0 / (1.0 + math.exp(-value))
    grown = math.exp(value)
    return grown / (1.0 + grown)


def _softmax(sums: Sequence[Sum], place: int) -> Callable[[Row], float]:
    def answer(row: Row) -> float:
        values = [one(row) for one in sums]
        largest = max(values)
        grown = [math.exp(value - largest) for value in values]
        return grown[place] / sum(grown)

    return answer


def _label(sums: Sequence[Sum], classes: Sequence[Scalar]) -> Callable[[Row], Scalar]:
    if len(sums) == 1:
        (only,) = sums
        return lambda row: classes[int(only(row) > 0.0)]

    def answer(row: Row) -> Scalar:
        values = [one(row) for one in sums]
        return classes[values.index(max(values))]

    return answer


def _terms(
    coefficients: Sequence[float], constant: float, columns: Sequence[Column], inputs: Sequence[Input]
) -> _Terms:
    """Add up what all columns of one input contribute.

    Raises:
        Unfoldable: The model has another number of coefficients than columns, or a missing value reaches it.
    """
    if len(coefficients) != len(columns):
        raise Unfoldable(f"the model takes {len(coefficients)} columns; {len(columns)} reach it")
    lines: dict[int, list[float]] = {}  # place to slope, offset, what a missing value contributes
    tables: dict[int, dict[Cell, float]] = {}
    for weight, column in zip(coefficients, columns, strict=True):
        scaled = column.scaled(weight, 0.0)
        optional = inputs[column.source].missing == "allow"
        if scaled.table is not None:
            table = tables.setdefault(column.source, dict.fromkeys(scaled.table, 0.0))
            for cell, value in scaled.table.items():
                found = folding.number(value)
                if found is None:
                    raise Unfoldable("a missing value reaches the model")
                table[cell] += found
            continue
        if optional and scaled.missing is None:
            raise Unfoldable("a missing value reaches the model")
        line = lines.setdefault(column.source, [0.0, 0.0, 0.0])
        line[0] += scaled.slope
        line[1] += scaled.offset
        line[2] += scaled.missing or 0.0
    required = {place: line for place, line in lines.items() if inputs[place].missing == "reject"}
    return _Terms(
        constant + sum(offset for _, offset, _ in required.values()),
        tuple((place, line[0]) for place, line in required.items()),
        tuple((place, *line) for place, line in lines.items() if place not in required),  # type: ignore[misc]
        tuple(tables.items()),
    )

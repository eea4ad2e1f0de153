"""One column on its way through a fitted pipeline: a function of one input, kept as the operations that make it.

Operations stand in the order in which the pipeline does them. Done again in that order, in double precision, they
give the pipeline's own bits; added up, they are one straight line.
"""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from bedside_runtime.contract import Cell, Input

Operation: TypeAlias = Literal["add", "subtract", "multiply", "divide", "at-least", "at-most"]

CALCULATE: Final[Mapping[Operation, Callable[[float, float], float]]] = MappingProxyType(
    {
        "add": operator.add,
        "subtract": operator.sub,
        "multiply": operator.mul,
        "divide": operator.truediv,
        "at-least": lambda value, bound: value if value != value or value > bound else bound,
        "at-most": lambda value, bound: value if value != value or value < bound else bound,
    }
)
"""What each operation does to a number; NaN stays NaN."""

_LARGEST_SET: Final = 1_000
"""Most integers of a declared range that are taken for a closed set."""


class Unfoldable(Exception):
    """A step that cannot be followed; the message names it and holds nothing of a patient."""


@dataclass(frozen=True, slots=True)
class Line:
    """``slope * value + offset`` of a value that is first brought between ``low`` and ``high``."""

    slope: float = 1.0
    offset: float = 0.0
    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True, slots=True)
class Column:
    """One column: a function of one input.

    Attributes:
        source: Place of the input in a row.
        operations: What is done to a number, in this order.
        missing: What a missing value has become; ``None`` where it still is missing.
        table: For values out of a closed set: what each has become; ``None`` for numbers. A word that is still
            one maps to itself, a missing word to ``None``, a missing number to NaN.
        whole: All values of an integer with a declared range, if they are few; it may become a table.
    """

    source: int
    operations: tuple[tuple[Operation, float], ...] = ()
    missing: float | None = None
    table: Mapping[Cell, Cell] | None = None
    whole: range | None = None

    def then(self, operation: Operation, constant: float) -> "Column":
        """Return this column with one operation more.

        Raises:
            Unfoldable: It holds words.
        """
        calculate = CALCULATE[operation]
        if self.table is not None:
            return replace(self, table={cell: calculate(number(was), constant) for cell, was in self.table.items()})
        missing = None if self.missing is None else calculate(self.missing, constant)
        return replace(self, operations=(*self.operations, (operation, constant)), missing=missing)

    def filled(self, value: Cell, is_missing: Callable[[Cell], bool]) -> "Column":
        """Return this column with ``value`` in the place of what is missing."""
        if self.table is not None:
            return replace(self, table={cell: value if is_missing(was) else was for cell, was in self.table.items()})
        return self if self.missing is not None else replace(self, missing=float(value or 0.0))

    def indicated(self, is_missing: Callable[[Cell], bool]) -> "Column":
        """Return the column that is 1 where this one is missing, else 0."""
        if self.table is not None:
            return replace(self, table={cell: float(is_missing(was)) for cell, was in self.table.items()})
        known = 0.0 if self.missing is not None else 1.0
        return Column(self.source, (("multiply", 0.0),), missing=known)

    def closed(self, name: str, *, optional: bool) -> Mapping[Cell, Cell]:
        """Return what each value of this column's input becomes.

        Raises:
            Unfoldable: The input is a number of any size, which is no closed set; ``name`` is who asked.
        """
        if self.table is not None:
            return self.table
        if self.whole is None:
            raise Unfoldable(f"{name} is handed numbers, which are no closed set")
        table: dict[Cell, Cell] = {value: self.of(float(value)) for value in self.whole}
        if optional:
            table[None] = math.nan if self.missing is None else self.missing
        return table

    def of(self, value: float) -> float:
        """Return what a number becomes."""
        for operation, constant in self.operations:
            value = CALCULATE[operation](value, constant)
        return value

    def line(self) -> Line:
        """Return all operations as one line.

        Raises:
            Unfoldable: A bound after a falling line; no step of scikit-learn makes one.
        """
        line = Line()
        for operation, constant in self.operations:
            line = _LINES[operation](line, constant)
        return line


Columns: TypeAlias = tuple[Column, ...]


def number(value: Cell) -> float:
    """Return a table's value as a number, NaN for one that is missing.

    Raises:
        Unfoldable: It is a word.
    """
    if isinstance(value, str):
        raise Unfoldable("words reach a step that computes")
    return math.nan if value is None else float(value)


def begin(inputs: Sequence[Input], names: Sequence[str], absent: float | None) -> Columns:
    """Return the columns as the model is handed them, in the model's order; ``absent`` as `columns` has it."""
    places = {item.name: place for place, item in enumerate(inputs)}
    return tuple(_column(places[name], inputs[places[name]], absent) for name in names)


def _column(place: int, item: Input, absent: float | None) -> Column:
    values: tuple[Cell, ...]
    match item.type:
        case "number":
            return Column(place)
        case "integer":
            return Column(place, whole=_whole(item))
        case "boolean":
            values = (False, True)
        case _:
            values = item.categories
    table: dict[Cell, Cell] = {value: value for value in values}
    if item.missing == "allow":
        table[None] = absent
    return Column(place, table=MappingProxyType(table))


def _whole(item: Input) -> range | None:
    if item.valid is None:
        return None
    found = range(math.ceil(item.valid[0]), math.floor(item.valid[1]) + 1)
    return found if len(found) <= _LARGEST_SET else None


def _at_least(line: Line, bound: float) -> Line:
    if line.slope == 0.0:
        return replace(line, offset=max(line.offset, bound))
    place = _reached(line, bound)
    return replace(line, low=max(line.low, place), high=max(line.high, place))


def _at_most(line: Line, bound: float) -> Line:
    if line.slope == 0.0:
        return replace(line, offset=min(line.offset, bound))
    place = _reached(line, bound)
    return replace(line, low=min(line.low, place), high=min(line.high, place))


def _reached(line: Line, bound: float) -> float:
    if line.slope < 0.0:
        raise Unfoldable("a bound is set on a line that falls")
    return (bound - line.offset) / line.slope


_LINES: Final[Mapping[Operation, Callable[[Line, float], Line]]] = MappingProxyType(
    {
        "add": lambda line, by: replace(line, offset=line.offset + by),
        "subtract": lambda line, by: replace(line, offset=line.offset - by),
        "multiply": lambda line, by: replace(line, slope=line.slope * by, offset=line.offset * by),
        "divide": lambda line, by: replace(line, slope=line.slope / by, offset=line.offset / by),
        "at-least": _at_least,
        "at-most": _at_most,
    }
)

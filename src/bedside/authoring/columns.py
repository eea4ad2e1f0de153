"""What the columns of a cohort hold: types, observed ranges, categories, missing values. Pure."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from bedside.errors import UsageError

MISSING: Final = frozenset({"", "NA", "N/A", "n/a", "na", "nan", "NaN", "NAN", "null", "NULL", "."})
"""Cells that stand for no value, as statistical software writes them."""

MOST_CATEGORIES = 50
"""More different texts in one column are no category but an identifier, free text, or a mistake."""

_INTEGER = re.compile(r"[+-]?\d{1,15}")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([ T].*)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}([,' ]\d{3})+(\.\d+)?")

Value = float | int | str | bool | None
"""A cell as it is sent."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a cohort.

    Attributes:
        name: Its heading.
        type: What all present values are.
        values: One a row, typed; ``None`` where missing.
        categories: All values of a category, sorted.
        observed: Smallest and largest value of a number.
    """

    name: str
    type: Literal["number", "integer", "category", "boolean"]
    values: tuple[Value, ...]
    categories: tuple[str, ...] = ()
    observed: tuple[float, float] | None = None

    @property
    def missing(self) -> bool:
        """Whether any value is missing."""
        return None in self.values


def read(data: bytes, name: str) -> dict[str, list[str]]:
    """Return the cells of a CSV by heading.

    Raises:
        UsageError: Not UTF-8, no rows, a heading twice, or a line of another length.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{name} is not UTF-8", remedy="Save the CSV as UTF-8.") from None
    try:
        lines = [line for line in csv.reader(io.StringIO(text), strict=True) if line]
    except csv.Error as error:
        raise UsageError(f"{name} is no CSV: {error}", remedy="Save it with commas and quoted texts.") from None
    if len(lines) < 2:
        raise UsageError(f"{name} has no rows below its headings")
    heading, *rows = lines
    if len(set(heading)) != len(heading):
        raise UsageError(f"{name} has a heading twice", remedy="Give every column a name of its own.")
    for number, row in enumerate(rows, 2):
        if len(row) != len(heading):
            raise UsageError(f"{name} row {number} has {len(row)} cells; the heading has {len(heading)}")
    return {title: [row[index].strip() for row in rows] for index, title in enumerate(heading)}


def infer(name: str, cells: Sequence[str]) -> Column:
    """Return what a column holds.

    Raises:
        UsageError: It holds nothing, dates, numbers with separators, or too many different texts.
    """
    present = [cell for cell in cells if cell not in MISSING]
    if not present:
        raise UsageError(f"column {name!r} holds no value at all", remedy="Use a cohort in which it was measured.")
    if all(cell.lower() in ("true", "false") for cell in present):
        return Column(name, "boolean", _typed(cells, lambda cell: cell.lower() == "true"))
    if all(map(_INTEGER.fullmatch, present)):
        return _measured(name, "integer", _typed(cells, int))
    if all(map(_NUMBER.fullmatch, present)):
        return _measured(name, "number", _typed(cells, float))
    return _category(name, cells, present)


def _category(name: str, cells: Sequence[str], present: Sequence[str]) -> Column:
    if any(map(_DATE.fullmatch, present)):
        raise UsageError(
            f"column {name!r} holds dates", remedy="A model takes numbers: give it the interval that it was trained on."
        )
    if any(map(_THOUSANDS.fullmatch, present)):
        raise UsageError(f"column {name!r} holds numbers with separators", remedy="Write 1234.5, not 1,234.5.")
    categories = tuple(sorted(set(present)))
    if len(categories) > MOST_CATEGORIES:
        raise UsageError(
            f"column {name!r} holds {len(categories)} different texts",
            remedy=f"A category has at most {MOST_CATEGORIES}; is this an identifier or free text?",
        )
    return Column(name, "category", _typed(cells, str), categories)


def _measured(name: str, kind: Literal["number", "integer"], values: tuple[Value, ...]) -> Column:
    present = [float(value) for value in values if isinstance(value, (int, float))]
    return Column(name, kind, values, observed=(min(present), max(present)))


def _typed(cells: Sequence[str], convert: Callable[[str], Value]) -> tuple[Value, ...]:
    return tuple(None if cell in MISSING else convert(cell) for cell in cells)

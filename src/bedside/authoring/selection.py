"""Which rows of a cohort become golden cases: few, and every corner among them. Pure and deterministic."""

from collections.abc import Iterator, Sequence

from bedside.authoring.columns import Column

MOST = 25
"""Rows that are taken."""


def select(columns: Sequence[Column], rows: int, most: int = MOST) -> tuple[int, ...]:
    """Return the indexes of the chosen rows, ascending.

    Every category, both extremes of every number, both values of every boolean and a missing value of every
    column that has one come first, as far as ``most`` reaches; rows spread evenly over the cohort fill up.

    Args:
        columns: The model's inputs.
        rows: How many rows the cohort has.
        most: How many to take.
    """
    chosen: dict[int, None] = {}
    covered: set[tuple[str, object]] = set()
    for corner, holders in _corners(columns):
        if len(chosen) == most:
            break
        if corner not in covered:
            index = next((holder for holder in holders if holder in chosen), holders[0])
            chosen[index] = None
            covered |= {other for other, held in _corners(columns) if index in held}
    step = max(1, rows // most)
    for index in range(0, rows, step):
        if len(chosen) >= most:
            break
        chosen[index] = None
    return tuple(sorted(chosen))


def _corners(columns: Sequence[Column]) -> Iterator[tuple[tuple[str, object], list[int]]]:
    """Yield everything worth covering, with the rows that hold it."""
    for column in columns:
        wanted: list[object] = list(column.categories)
        wanted += list(column.observed or ())
        wanted += [True, False] if column.type == "boolean" else []
        wanted += [None] if column.missing else []
        for value in wanted:
            holders = [index for index, held in enumerate(column.values) if held == value]
            if holders:
                yield (column.name, value), holders

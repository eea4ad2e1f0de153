"""What a model at the end of a pipeline is handed, made again by the pipeline's own operations in their own order.

A tree asks whether a number lies below a threshold, so that its last bit can decide: here nothing is added up ahead.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from bedside_runtime.adapters.features import CALCULATE, Column, Unfoldable, number
from bedside_runtime.contract import Row

_Cell: TypeAlias = Callable[[Row], float]


def array(columns: Sequence[Column], *, zero_is_missing: bool) -> Callable[[Sequence[Row]], Any]:
    """Return what turns rows into an array of doubles, shape (rows, columns), NaN where a value is missing.

    Args:
        columns: What each is made of.
        zero_is_missing: Whether a zero is handed over as missing: XGBoost takes the zeros that a sparse matrix
            leaves out for that.
    """
    import numpy as np

    cells = [_sparse(_cell(column)) if zero_is_missing else _cell(column) for column in columns]
    return lambda rows: np.array([[cell(row) for cell in cells] for row in rows], dtype=np.float64)


def require_numbers(columns: Sequence[Column]) -> None:
    """Refuse words where numbers are asked.

    Raises:
        Unfoldable: There are some.
    """
    if any(isinstance(value, str) for column in columns for value in (column.table or {}).values()):
        raise Unfoldable("words reach the booster")


def _cell(column: Column) -> _Cell:
    place = column.source
    if column.table is not None:
        table = {cell: number(value) for cell, value in column.table.items()}
        return lambda row: table[row[place]]
    missing = math.nan if column.missing is None else column.missing
    operations = [(CALCULATE[operation], constant) for operation, constant in column.operations]

    def cell(row: Row) -> float:
        value = row[place]
        if value is None:
            return missing
        result = float(value)
        for calculate, constant in operations:
            result = calculate(result, constant)
        return result

    return cell


def _sparse(cell: _Cell) -> _Cell:
    return lambda row: cell(row) or math.nan

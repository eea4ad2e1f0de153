"""A forest of boosted trees as data: what the readers of each library's own model make, and `leaves` computes.

Every split asks one question of a double: does it lie below a cut? A library that compares in single precision, or
with "at most", has its thresholds moved to the cut at which its own comparison changes sides; so nothing has to be
rounded, and no value falls on another side than in the library.
"""

import ctypes
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from bedside_runtime.adapters.features import Unfoldable

Taken: TypeAlias = tuple[float, float, float]
"""Values from the first on and below the second are taken for the third; NaN is a missing value."""

Finish: TypeAlias = Callable[[Any], Any]
"""Sums, shape (rows, groups), to what the library answers: shape (rows,), or (rows, classes)."""


@dataclass(frozen=True, slots=True)
class Split:
    """One question of a tree.

    Attributes:
        column: Which column is asked, in the model's order.
        cut: A value below it goes left.
        missing_left: Where a missing value goes.
        left: The split on the left, by its place in the tree; a leaf as the complement of its place.
        right: The same on the right.
    """

    column: int
    cut: float
    missing_left: bool
    left: int
    right: int


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree; the first split is its root, a tree without splits has one leaf.

    Attributes:
        splits: Each before those below it.
        leaves: What each leaf adds, from left to right or in any other order.
        group: The sum that it adds to.
    """

    splits: tuple[Split, ...]
    leaves: tuple[float, ...]
    group: int = 0


@dataclass(frozen=True, slots=True)
class Forest:
    """All trees that count, and what becomes of their sums.

    Attributes:
        trees: In the order in which the library adds them up.
        begins: What each group's sum begins with.
        width: The precision of the sums.
        finish: What makes answers of sums.
        taken: For some columns: values that the library takes for another one.
    """

    trees: tuple[Tree, ...]
    begins: tuple[float, ...]
    width: Literal["float32", "float64"]
    finish: Finish
    taken: Mapping[int, tuple[Taken, ...]] = field(default_factory=dict)


def single(thresholds: Sequence[float]) -> list[float]:
    """Return, for thresholds in single precision, the least doubles that are rounded to them or above.

    Raises:
        Unfoldable: One is not finite.
    """
    import numpy as np

    above = np.asarray(thresholds, dtype=np.float32)
    middle = (np.nextafter(above, np.float32(-np.inf)).astype(np.float64) + above.astype(np.float64)) / 2.0
    if not np.isfinite(middle).all():
        raise Unfoldable("a threshold is not finite")
    cuts: list[float] = np.where(middle.astype(np.float32) < above, np.nextafter(middle, np.inf), middle).tolist()
    return cuts


def at_most(threshold: float) -> float:
    """Return the cut of a split that sends values up to and with ``threshold`` left."""
    return math.nextafter(threshold, math.inf)


def c_function(name: Literal["expf", "logf"]) -> Callable[[float], float]:
    """Return a function of the C library that XGBoost calls too, so that both round alike.

    Raises:
        Unfoldable: This process has none of that name.
    """
    try:
        found = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):
        raise Unfoldable(f"the C library of this system has no {name}") from None
    found.restype, found.argtypes = ctypes.c_float, [ctypes.c_float]
    function: Callable[[float], float] = found
    return function

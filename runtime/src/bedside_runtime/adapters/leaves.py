"""Which leaf of each tree a row falls into, without walking any tree; then the sum in the library's own order.

Every leaf of the forest is one bit. What a column says rules leaves out: all those on the side that its splits do
not take. That depends only on where the value lies among the column's cuts, so it is one number of many bits, made
ahead for every such place; a row's leaves are what remains when those of all columns are met, one a tree. (Lucchese et
al., QuickScorer, SIGIR 2015, with both sides ruled out, so that a missing value is a place like any other.)

A row is computed by the same operations in any batch.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from operator import and_
from typing import Any, Final, TypeAlias

from bedside_runtime.adapters.features import CALCULATE, Column, Columns, Unfoldable, number
from bedside_runtime.adapters.trees import Forest, Split, Taken, Tree
from bedside_runtime.contract import Cell, Row

Exits: TypeAlias = Callable[[Row], bytes]
"""A row in, one bit a tree out."""

_Operations: TypeAlias = tuple[tuple[Callable[[float, float], float], float], ...]

_WORDS: Final = (8, 16, 32, 64)
"""Leaves of a tree lie in words of as many bits; a tree with more leaves than the last has several."""

_LARGEST: Final = 8 * 2**20
"""Bytes that all bits together may take, about. A forest of n splits and m leaves takes n times m bits; in two parts,
each with half of both, it takes half of that, and so on."""

_MOST_PARTS: Final = 8
"""Each part asks for the place of every value anew."""

_POWER_OF_ONE: Final = 127
"""How single precision writes the power of two in 1.0 (IEEE 754), above its 23 bits of fraction."""
_FRACTION: Final = 23

_NO_ZERO: Final[Taken] = (0.0, math.nextafter(0.0, 1.0), math.nan)


def exits(forest: Forest, columns: Columns, *, zero_is_missing: bool) -> Exits:
    """Return what finds the leaves of a row.

    Args:
        forest: The trees.
        columns: What each column of the model is made of.
        zero_is_missing: Whether a zero is handed over as missing, see ``exact.array``.

    Raises:
        Unfoldable: The forest is too large for this.
    """
    if zero_is_missing:
        taken = {place: (*forest.taken.get(place, ()), _NO_ZERO) for place in range(len(columns))}
        forest = replace(forest, taken=taken)
    parts = [_part(part, columns, forest) for part in _parts(forest)]
    if len(parts) == 1:
        return parts[0]
    return lambda row: b"".join([part(row) for part in parts])


def sums(forest: Forest) -> Callable[[Sequence[bytes]], Any]:
    """Return what adds up the leaves of rows: shape (rows, groups), in the forest's precision and order."""
    import numpy as np

    bits = _bits(forest.trees)
    dtype = np.dtype(f"<u{bits // 8}")
    trees = _in_groups(forest)
    values, ends = [], []
    for group, begin in enumerate(forest.begins):
        own = [word for tree in trees if tree.group == group for word in _words(tree, bits)]
        table = np.array(own, dtype=forest.width)
        table[0] += np.array(begin, dtype=forest.width)  # the first addition of the sum, made ahead
        values.append(table)
        ends.append(sum(len(one) for one in values))
    leaves = np.concatenate(values).ravel()
    offsets = np.arange(0, len(leaves), bits + 1, dtype=np.int32) - np.int32(_POWER_OF_ONE - 1)
    spans = list(zip([0, *ends], ends, strict=False))

    def add(rows: Sequence[bytes]) -> Any:  # noqa: ANN401 - a NumPy array
        words = np.frombuffer(b"".join(rows), dtype).reshape(len(rows), -1)
        places = words.astype(np.float32).view(np.int32) >> _FRACTION  # of the one bit in a word; 0 where none is
        places = np.maximum(places, _POWER_OF_ONE - 1)
        places += offsets  # now 0 for a word without a bit, else one more than the place of the bit
        taken = leaves.take(places)
        if len(spans) == 1:
            return np.add.accumulate(taken, axis=1)[:, -1:]
        return np.stack([np.add.accumulate(taken[:, start:end], axis=1)[:, -1] for start, end in spans], axis=1)

    return add


def _words(tree: Tree, bits: int) -> list[list[float]]:
    """Return the leaves in words of ``bits``, before each a zero for the word that does not hold the leaf."""
    padded = [*tree.leaves, *[0.0] * (-len(tree.leaves) % bits)]
    return [[0.0, *padded[start : start + bits]] for start in range(0, len(padded), bits)]


def _bits(trees: Sequence[Tree]) -> int:
    most = max(len(tree.leaves) for tree in trees)
    return next((bits for bits in _WORDS if most <= bits), _WORDS[-1])


def _in_groups(forest: Forest) -> list[Tree]:
    """Return the trees of each group together, in their order."""
    return sorted(forest.trees, key=lambda tree: tree.group)


def _parts(forest: Forest) -> list[list[Tree]]:
    """Return the trees in as few parts as keep the bits small.

    Raises:
        Unfoldable: That would be too many parts.
    """
    splits = sum(len(tree.splits) for tree in forest.trees)
    words = sum(-(-len(tree.leaves) // _bits(forest.trees)) for tree in forest.trees)
    count = -(-splits * words * _bits(forest.trees) // 8 // _LARGEST) or 1
    if count > _MOST_PARTS:
        raise Unfoldable(f"{len(forest.trees)} trees with {splits} splits are too many to be held as bits")
    trees = _in_groups(forest)
    size = -(-len(trees) // count)
    return [trees[start : start + size] for start in range(0, len(trees), size)]


class _Ruled:
    """What the splits of one column leave of the leaves, for every place among its cuts."""

    def __init__(self, every: int, taken: Sequence[Taken]) -> None:
        self._every, self._taken = every, taken
        self._left: dict[float, int] = {}
        self._right: dict[float, int] = {}
        self.missing = every

    @property
    def decides(self) -> bool:
        """Whether there is any split."""
        return bool(self._left)

    def add(self, split: Split, lefts: int, rights: int) -> None:
        """Take one split into account; ``lefts`` and ``rights`` are the leaves on its sides."""
        self._left[split.cut] = self._left.get(split.cut, self._every) & ~rights
        self._right[split.cut] = self._right.get(split.cut, self._every) & ~lefts
        self.missing &= ~rights if split.missing_left else ~lefts

    def places(self) -> tuple[list[float], list[int]]:
        """Return the cuts in their order, and what is left below the first, between each two, and from the last on."""
        cuts = sorted({end for low, high, _ in self._taken for end in (low, high)} | set(self._left))
        every = self._every
        right = list(accumulate((self._right.get(cut, every) for cut in cuts), and_, initial=every))
        left = list(accumulate((self._left.get(cut, every) for cut in reversed(cuts)), and_, initial=every))
        left.reverse()
        found = [a & b for a, b in zip(left, right, strict=True)]
        return cuts, self._with_taken(cuts, found)

    def _with_taken(self, cuts: list[float], found: list[int]) -> list[int]:
        """Return ``found`` with that of another value where one is taken for another."""
        changed = list(found)
        for low, high, value in self._taken:
            other = self.missing if math.isnan(value) else found[bisect_right(cuts, value)]
            for place in range(bisect_right(cuts, low), bisect_left(cuts, high) + 1):
                changed[place] = other
        return changed


@dataclass(frozen=True, slots=True)
class _Numbers:
    """A column of numbers: where a value lies among ``cuts`` says which leaves are left."""

    place: int
    cuts: list[float]
    left: list[int]
    missing: int
    operations: _Operations

    def of(self, value: float) -> int:
        """Return what is left for a value that came through all operations."""
        return self.missing if math.isnan(value) else self.left[bisect_right(self.cuts, value)]


def _part(trees: Sequence[Tree], columns: Columns, forest: Forest) -> Exits:
    """Return what finds the leaves of some trees."""
    bits = _bits(forest.trees)
    size = sum(len(_words(tree, bits)) for tree in trees) * bits // 8
    every, ruled = _ruled(trees, bits, len(columns), forest)
    tables: dict[int, dict[Cell, int]] = {}
    plain, worked = [], []
    for column, rule in zip(columns, ruled, strict=True):
        if not rule.decides:
            continue
        numbers = _numbers(column, rule)
        if column.table is not None:
            _table(tables.setdefault(column.source, {}), column.table, numbers, every)
        elif column.operations:
            worked.append((numbers.place, numbers.operations, numbers.cuts, numbers.left, numbers.missing))
        else:
            plain.append((numbers.place, numbers.cuts, numbers.left, numbers.missing))
    closed = tuple(tables.items())

    def find(row: Row) -> bytes:
        left = every
        for place, cuts, among, missing in plain:
            value = row[place]
            left &= missing if value is None else among[bisect_right(cuts, value)]
        for place, operations, cuts, among, missing in worked:
            value = row[place]
            left &= missing if value is None else among[bisect_right(cuts, _through(operations, float(value)))]
        for place, table in closed:
            left &= table[row[place]]
        return left.to_bytes(size, "little")

    return find


def _through(operations: _Operations, value: float) -> float:
    for calculate, constant in operations:
        value = calculate(value, constant)
    return value


def _ruled(trees: Sequence[Tree], bits: int, count: int, forest: Forest) -> tuple[int, list[_Ruled]]:
    """Return all leaves' bits, and for each column what its splits leave of them."""
    starts = [0, *accumulate(len(_words(tree, bits)) * bits for tree in trees)]
    every = sum(((1 << len(tree.leaves)) - 1) << start for tree, start in zip(trees, starts, strict=False))
    ruled = [_Ruled(every, forest.taken.get(column, ())) for column in range(count)]
    for tree, start in zip(trees, starts, strict=False):
        below = _below(tree)
        for place, split in enumerate(tree.splits):
            if split.column >= count:
                raise Unfoldable(f"the model asks column {split.column + 1}; {count} reach it")
            lefts, rights = below[place]
            ruled[split.column].add(split, lefts << start, rights << start)
    return every, ruled


def _below(tree: Tree) -> list[tuple[int, int]]:
    """Return the leaves on both sides of each split, as bits."""
    known: list[tuple[int, int]] = [(0, 0)] * len(tree.splits)

    def leaves(child: int) -> int:
        return 1 << ~child if child < 0 else known[child][0] | known[child][1]

    for place in reversed(range(len(tree.splits))):
        split = tree.splits[place]
        known[place] = leaves(split.left), leaves(split.right)
    return known


def _numbers(column: Column, ruled: _Ruled) -> _Numbers:
    cuts, left = ruled.places()
    operations = tuple((CALCULATE[operation], constant) for operation, constant in column.operations)
    numbers = _Numbers(column.source, cuts, left, ruled.missing, operations)
    return numbers if column.missing is None else replace(numbers, missing=numbers.of(column.missing))


def _table(known: dict[Cell, int], table: Mapping[Cell, Cell], numbers: _Numbers, every: int) -> None:
    """Meet what a closed set's values leave with what other columns of the same input do."""
    for cell, value in table.items():
        known[cell] = known.get(cell, every) & numbers.of(number(value))

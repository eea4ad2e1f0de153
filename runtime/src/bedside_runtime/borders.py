"""Inputs that lie on the border between two bands or two labels, as close as doubles can be: where rounding shows.

A draw across the declared ranges hardly ever meets a border. Here it is walked to: from an input of one band to one
of another, cell by cell, until the answer changes; then that cell is halved between the two until nothing is left
between them. Where a model has steps, as trees have, this ends at the threshold of one.
"""

import random
import statistics
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final, TypeAlias

from msgspec import Struct

from bedside_runtime.adapters.predictor import Predictor
from bedside_runtime.contract import Input, Output, Row, Scalar

WALKS: Final = 64
"""How many walks are begun. One whose answer changes with a category or a missing value ends nowhere."""

HALVINGS: Final = 64
"""After so many, what was a range is its rounding; next to zero doubles would go on for a thousand."""

Label: TypeAlias = Scalar | None
Labels: TypeAlias = Callable[[Scalar], Label]


class _Walk(Struct):
    """Two inputs that differ in one number and in their label; ``label`` is that of ``before``."""

    place: int
    before: Row
    after: Row
    label: Label

    def middle(self) -> Row | None:
        """Return the input halfway between, ``None`` where no double is left."""
        low, high = self.before[self.place], self.after[self.place]
        middle = low / 2.0 + high / 2.0  # type: ignore[operator] # two numbers
        if middle in (low, high):
            return None
        return (*self.before[: self.place], middle, *self.before[self.place + 1 :])


def find(
    model: Predictor, inputs: Sequence[Input], output: Output, rows: Sequence[Row], values: Sequence[Scalar], seed: int
) -> list[Row]:
    """Return inputs on both sides of borders, two for each walk that found one.

    Args:
        model: Whose borders are looked for.
        inputs: The declared inputs.
        output: What it answers. Without bands, the median of ``values`` is the border.
        rows: Inputs to start from and to go to, at least one.
        values: What ``model`` answers them.
        seed: Of the draw of pairs.
    """
    label = _labels(output, values)
    pairs = _pairs(rows, [label(value) for value in values], random.Random(seed))  # noqa: S311 - must be the same again
    walks = [walk for start, end in pairs if (walk := _crossing(model, inputs, label, start, end)) is not None]
    _halve(model, label, walks)
    return [row for walk in walks for row in (walk.before, walk.after)]


def _labels(output: Output, values: Sequence[Scalar]) -> Labels:
    if output.type == "class":
        return lambda value: value
    if output.bands:
        return output.band
    median = statistics.median(float(value) for value in values)
    return lambda value: float(value) >= median


def _pairs(rows: Sequence[Row], labels: Sequence[Label], draw: random.Random) -> list[tuple[Row, Row]]:
    """Return pairs of rows with different labels, each label as often as the other."""
    by_label: dict[Label, list[Row]] = {}
    for row, label in zip(rows, labels, strict=True):
        by_label.setdefault(label, []).append(row)
    if len(by_label) < 2:
        return []
    groups = list(by_label.values())
    drawn = [draw.sample(groups, 2) for _ in range(WALKS)]
    return [(draw.choice(start), draw.choice(end)) for start, end in drawn]


def _crossing(model: Predictor, inputs: Sequence[Input], label: Labels, start: Row, end: Row) -> _Walk | None:
    """Go from ``start`` to ``end`` one cell at a time, and return the first step over a border, if it is a number's."""
    steps = [(*end[:place], *start[place:]) for place in range(len(start) + 1)]
    labels = [label(value) for value in model.predict(steps)]
    for place, (before, after) in enumerate(pairwise(labels)):
        if before != after:
            cells = steps[place][place], steps[place + 1][place]
            if inputs[place].type == "number" and None not in cells:
                return _Walk(place, steps[place], steps[place + 1], before)
            return None
    return None


def _halve(model: Predictor, label: Labels, walks: Sequence[_Walk]) -> None:
    """Bring both ends of every walk together until no double lies between them."""
    going = list(walks)
    for _ in range(HALVINGS):
        asked = [(walk, middle) for walk in going if (middle := walk.middle()) is not None]
        if not asked:
            return
        values = model.predict([middle for _, middle in asked])
        for (walk, middle), value in zip(asked, values, strict=True):
            if label(value) == walk.label:
                walk.before = middle
            else:
                walk.after = middle
        going = [walk for walk, _ in asked]

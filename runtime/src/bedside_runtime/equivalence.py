"""The proof that an engine answers as the model itself: golden cases, and thousands of inputs across what is declared.

Inputs are drawn from the declared ranges, their ends, the categories and missing values, with a fixed seed; each is
answered by the engine alone and in batches, and by the model. Then inputs on the very border between two bands or two
labels are looked for (see `borders`), where the rounding of another arithmetic would show. One difference beyond the
tolerance, or one other band, and there is no proof.
"""

import math
import random
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from bedside_runtime import borders, golden
from bedside_runtime.adapters.edges import Drawn
from bedside_runtime.adapters.predictor import Predictor
from bedside_runtime.contract import Cell, Input, Output, Proof, Row, Scalar
from bedside_runtime.errors import EquivalenceFailed
from bedside_runtime.inputs import LARGEST_EXACT_INTEGER
from bedside_runtime.outputs import answer

INPUTS: Final = 10_000
SEED: Final = 1
_BATCHES: Final = (1, 2, 3, 7, 16, 64, 256)
ALONE: Final = 64
"""How many inputs the model itself is asked one at a time; it is the slow side."""

_MISSING: Final = 0.2
"""Share of missing values where they are allowed."""

_EDGE: Final = 0.1
"""Share of numbers that are an end of the declared range or of the expected one."""


class _Widest(Struct):
    """The largest difference so far, and the first case that is beyond what passes."""

    difference: float = 0.0
    failed: int = 0
    first: str = ""


def prove(
    native: Predictor,
    engine: Predictor,
    inputs: Sequence[Input],
    output: Output,
    cases: Sequence[golden.Case],
    tolerance: float,
    on_progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Proof:
    """Prove that ``engine`` answers as ``native``.

    Args:
        native: The model itself.
        engine: What shall serve in its place.
        inputs: The declared inputs.
        output: The declared output.
        cases: The golden cases.
        tolerance: Largest absolute difference that passes; labels must be equal.
        on_progress: Told how many inputs are done, and of how many.

    Raises:
        EquivalenceFailed: With how many inputs differ and by how much the worst does.
        OutputInvalid: One of the two answers what the declared output cannot be.
        GoldenMismatch: The engine does not answer the golden cases as the study recorded them.
    """
    golden.replay(cases, output, tolerance, engine)
    rows = [case.row.cells for case in cases] + sample(inputs, cases, INPUTS)
    widest = _Widest()
    values = _in_batches(native, engine, output, tolerance, rows, widest, on_progress)
    some = range(0, len(rows), max(1, len(rows) // ALONE))
    _one_by_one(native, engine, output, tolerance, [rows[index] for index in some], widest, "draw")
    close = borders.find(native, inputs, output, rows, values, SEED)
    _one_by_one(native, engine, output, tolerance, close, widest, "borders")
    if widest.failed:
        raise EquivalenceFailed(
            f"the engine answers {widest.failed} of {len(rows) + len(close)} inputs otherwise than the model itself;"
            f" the largest difference is {widest.difference:g} (tolerance {tolerance:g}), first: {widest.first}"
        )
    return Proof(
        inputs=len(rows),
        borders=len(close),
        seed=SEED,
        tolerance=tolerance,
        largest_difference=widest.difference,
    )


def _in_batches(
    native: Predictor,
    engine: Predictor,
    output: Output,
    tolerance: float,
    rows: Sequence[Row],
    widest: _Widest,
    on_progress: Callable[[int, int], None],
) -> list[Scalar]:
    """Compare in batches of several sizes, the engine alone too; return what the model answers."""
    values: list[Scalar] = []
    sizes = random.Random(SEED)  # noqa: S311 - a draw that must be the same again
    while len(values) < len(rows):
        start = len(values)
        part = rows[start : start + sizes.choice(_BATCHES)]
        expected, together = native.predict(part), engine.predict(part)
        alone = [engine.predict([row])[0] for row in part]
        for index, three in enumerate(zip(expected, together, alone, strict=True), start):
            _compare(widest, f"input {index} of the draw", output, tolerance, *three)
        values += expected
        on_progress(len(values), len(rows))
    return values


def _one_by_one(
    native: Predictor,
    engine: Predictor,
    output: Output,
    tolerance: float,
    rows: Sequence[Row],
    widest: _Widest,
    where: str,
) -> None:
    """Compare what both answer each row alone, as a lone patient is answered; and the engine for all together."""
    together = engine.predict(rows) if rows else ()
    for index, (row, other) in enumerate(zip(rows, together, strict=True)):
        expected, value = native.predict([row])[0], engine.predict([row])[0]
        _compare(widest, f"input {index} of the {where}", output, tolerance, expected, other, value)


def require_alike(predictor: Predictor, output: Output, tolerance: float, rows: Sequence[Row]) -> None:
    """Refuse what answers a case in a batch otherwise than alone, by more than the tolerance or in another band.

    Raises:
        EquivalenceFailed: It does.
    """
    alone = [answer(output, predictor.predict([row])[0]) for row in rows]
    beside = [answer(output, raw) for raw in predictor.predict(rows)]
    differences = [golden.difference(one.value, other.value) for one, other in zip(alone, beside, strict=True)]
    if max(differences) > tolerance or [one.band for one in alone] != [other.band for other in beside]:
        raise EquivalenceFailed(
            f"the model answers a case in a batch otherwise than alone: {max(differences):g} apart (tolerance"
            f" {tolerance:g}); a patient's answer would depend on who else asks",
            remedy="Find the step that looks at several rows, or guesses a column's type; mend it, validate again.",
        )


def batch_invariant(predictor: Predictor, rows: Sequence[Row]) -> bool:
    """Return whether ``predictor`` gives each row the same bits alone and in batches of several sizes."""
    alone = [predictor.predict([row])[0] for row in rows]
    for size in _BATCHES[1:]:
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            if list(predictor.predict(part)) != alone[start : start + size]:
                return False
    return True


def sample(inputs: Sequence[Input], cases: Sequence[golden.Case], count: int) -> list[Row]:
    """Return ``count`` rows across the declared inputs; the same for the same inputs and cases."""
    draw = random.Random(SEED)  # noqa: S311 - a draw that must be the same again
    ranges = [_range(item, [case.row.cells[place] for case in cases]) for place, item in enumerate(inputs)]
    return [tuple(_cell(item, span, draw) for item, span in zip(inputs, ranges, strict=True)) for _ in range(count)]


def drawn(inputs: Sequence[Input], cases: Sequence[golden.Case]) -> tuple[Drawn, ...]:
    """Return between which ends `sample` draws each number of no declared range."""
    return tuple(
        (place, *_range(item, [case.row.cells[place] for case in cases]))
        for place, item in enumerate(inputs)
        if item.type in ("number", "integer") and item.valid is None
    )


def _range(item: Input, seen: Sequence[Cell]) -> tuple[float, float]:
    """Return the declared range; where none is, the one of the golden cases, three times as wide."""
    if item.valid is not None:
        return item.valid
    numbers = [float(cell) for cell in seen if isinstance(cell, (int, float))] or [0.0, 1.0]
    low, high = min(numbers), max(numbers)
    width = (high - low) or max(1.0, abs(high))
    return low - width, high + width


def _cell(item: Input, span: tuple[float, float], draw: random.Random) -> Cell:
    if item.missing == "allow" and draw.random() < _MISSING:
        return None
    match item.type:
        case "category":
            return draw.choice(item.categories)
        case "boolean":
            return draw.random() < 0.5
        case _:
            return _number(item, span, draw)


def _number(item: Input, span: tuple[float, float], draw: random.Random) -> float | int:
    low, high = span
    if draw.random() < _EDGE:
        ends = [low, high, *(item.expected or ())]
        value = float(draw.choice(ends))
    else:
        value = draw.uniform(low, high)
    if item.type == "number":
        return value
    bounded = max(-LARGEST_EXACT_INTEGER, min(LARGEST_EXACT_INTEGER, round(value)))
    return int(max(math.ceil(low), min(math.floor(high), bounded)))


def _compare(
    widest: _Widest, which: str, output: Output, tolerance: float, expected: Scalar, together: Scalar, alone: Scalar
) -> None:
    """Take both answers of the engine into account; names the place of an input, never its values."""
    model = answer(output, expected)
    given = [answer(output, raw) for raw in (together, alone)]
    difference = max(golden.difference(model.value, one.value) for one in given)
    widest.difference = max(widest.difference, difference)
    if difference > tolerance or any(one.band != model.band for one in given):
        widest.failed += 1
        widest.first = widest.first or f"{which}, {difference:g} apart"

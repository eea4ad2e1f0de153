"""From a model's raw value to a checked answer."""

import math
from bisect import bisect_right
from collections.abc import Callable
from typing import TypeAlias

from msgspec import Struct

from bedside_runtime.contract import Output, Scalar
from bedside_runtime.errors import OutputInvalid


class Answer(Struct, frozen=True):
    """One checked output value, and the band it falls in."""

    value: Scalar
    band: str | None


BandOf: TypeAlias = Callable[[Scalar], str | None]
"""Checks a raw value and names the band it falls in, ``None`` where there are no bands. Raises as `answer`."""


def answer(output: Output, raw: Scalar) -> Answer:
    """Check ``raw`` against what ``output`` declares.

    Raises:
        OutputInvalid: NaN or infinite; a probability outside [0, 1]; a label where a number is declared.
    """
    return Answer(raw, band_of(output)(raw))


def band_of(output: Output) -> BandOf:
    """Return `answer` for this one output, without what it finds out anew every time."""
    if output.type == "class":
        return _label
    low, high = (0.0, 1.0) if output.type == "probability" else (-math.inf, math.inf)
    bands = _bands(output)

    def number(raw: Scalar) -> str | None:
        if isinstance(raw, float) and low <= raw <= high and raw - raw == 0.0:  # finite
            return bands(raw)
        if isinstance(raw, (str, bool)):
            raise OutputInvalid(f"the model answers {output.name} with a label where a number is declared")
        if not math.isfinite(raw):
            raise OutputInvalid(f"the model answers {output.name} with NaN or infinity")
        if not low <= raw <= high:
            raise OutputInvalid(f"the model answers {output.name} with a probability outside [0, 1]")
        return bands(raw)

    return number


def _bands(output: Output) -> Callable[[float], str | None]:
    """Return `Output.band` for numbers, by bisection: edges ascend, and each belongs to the band above it."""
    edges = [band.below for band in output.bands if band.below is not None]
    names: list[str | None] = [band.name for band in output.bands] or [None]
    if len(edges) + 1 != len(names) or edges != sorted(edges):
        return output.band
    return lambda raw: names[bisect_right(edges, raw)]


def _label(raw: Scalar) -> None:
    if isinstance(raw, float) and not math.isfinite(raw):
        raise OutputInvalid("the model answers NaN or infinity where a class label is declared")

"""An engine's answer where it is close to another one is the model's own.

An engine may differ from its model by the rounding that its proof allows. Within that distance of a band's edge, or
between two labels that are as good as equal, rounding alone would decide what a clinician reads; there the model
itself is asked, each row alone. The same holds for a number of no declared range that lies beyond what the proof drew:
there rounding may be of any size. So an engine never answers another band than the model does.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeAlias

from bedside_runtime.adapters.predictor import Predictor
from bedside_runtime.contract import Output, Row, Scalar

_MARGIN: Final = 2.0
"""In tolerances; the distance itself is rounded too."""


Drawn: TypeAlias = tuple[int, float, float]
"""Place of a number of no declared range in a row, and the ends between which the proof drew it."""


class Computes(Protocol):
    """An engine by itself: one answer a row, ``None`` for one that it cannot tell."""

    def __call__(self, rows: Sequence[Row]) -> Sequence[Scalar | None]:
        """Answer ``rows`` in their order."""
        ...


class AtEdges:
    """Answers with an engine, and with the model itself where the engine could answer another band."""

    def __init__(
        self,
        computes: Computes,
        model: Callable[[], Predictor],
        output: Output,
        tolerance: float,
        drawn: Sequence[Drawn] = (),
    ) -> None:
        """``model`` opens the model itself; it is called when it is needed first. Beyond ``drawn`` it is asked."""
        self._computes = computes
        self._drawn = tuple(drawn)
        self._open = model
        self._model: Predictor | None = None
        margin = _MARGIN * tolerance
        edges = [band.below for band in output.bands if band.below is not None]
        self._cuts = _cuts([(edge - margin, edge + margin) for edge in edges])

    def predict(self, rows: Sequence[Row]) -> Sequence[Scalar]:
        """See ``Predictor``."""
        told = self.at_once(rows)
        return [self._asked(row) if value is None else value for row, value in zip(rows, told, strict=True)]

    def at_once(self, rows: Sequence[Row]) -> Sequence[Scalar | None]:
        """See ``Quick``: ``None`` where the model itself has to be asked."""
        told, cuts = self._computes(rows), self._cuts
        if cuts:  # of bands, and so of numbers
            told = [None if value is None or bisect_right(cuts, value) % 2 else value for value in told]
        if not self._drawn:
            return told
        return [None if self._is_beyond(row) else value for row, value in zip(rows, told, strict=True)]

    def _is_beyond(self, row: Row) -> bool:
        for place, low, high in self._drawn:
            cell = row[place]
            if cell is not None and not low <= cell <= high:  # type: ignore[operator] # a number, by the contract
                return True
        return False

    def _asked(self, row: Row) -> Scalar:
        if self._model is None:
            self._model = self._open()
        return self._model.predict([row])[0]


def _cuts(close: Sequence[tuple[float, float]]) -> list[float]:
    """Return where ascending intervals, ends included, begin and are over; those that touch become one.

    What lies in one of them, and nothing else, has an odd number of these at or below it.
    """
    cuts: list[float] = []
    for low, high in close:
        if cuts and low <= cuts[-1]:
            cuts[-1] = max(cuts[-1], math.nextafter(high, math.inf))
        else:
            cuts += (low, math.nextafter(high, math.inf))
    return cuts

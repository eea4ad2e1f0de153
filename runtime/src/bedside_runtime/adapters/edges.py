"""An engine's answer where it is close to another one is the model's own.

An engine may differ from its model by the rounding that its proof allows. Within that distance of a band's edge, or
between two labels that are as good as equal, rounding alone would decide what a clinician reads; there the model
itself is asked, each row alone. The same holds for a number of no declared range that lies beyond what the proof drew:
there rounding may be of any size. So an engine never answers another band than the model does.
"""

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
        self._close = tuple((edge - margin, edge + margin) for edge in edges)

    def predict(self, rows: Sequence[Row]) -> Sequence[Scalar]:
        """See ``Predictor``."""
        return [
            self._asked(row) if value is None or self._is_close(value) or self._is_beyond(row) else value
            for row, value in zip(rows, self._computes(rows), strict=True)
        ]

    def at_once(self, rows: Sequence[Row]) -> Sequence[Scalar] | None:
        """See ``Quick``: ``None`` where the model itself has to be asked."""
        values: list[Scalar] = []
        for row, value in zip(rows, self._computes(rows), strict=True):
            if value is None or self._is_close(value) or self._is_beyond(row):
                return None
            values.append(value)
        return values

    def _is_beyond(self, row: Row) -> bool:
        for place, low, high in self._drawn:
            cell = row[place]
            if cell is not None and not low <= cell <= high:  # type: ignore[operator] # a number, by the contract
                return True
        return False

    def _is_close(self, value: Scalar) -> bool:
        if not isinstance(value, str):
            for low, high in self._close:
                if low <= value <= high:
                    return True
        return False

    def _asked(self, row: Row) -> Scalar:
        if self._model is None:
            self._model = self._open()
        return self._model.predict([row])[0]

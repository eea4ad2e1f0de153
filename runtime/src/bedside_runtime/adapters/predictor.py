"""The one protocol that everything which predicts follows: adapters, engines, batching, recording."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from bedside_runtime.contract import Row, Scalar


class Predictor(Protocol):
    """Answers validated rows. Adapters, engines and wrappers around them all look like this."""

    def predict(self, rows: Sequence[Row]) -> Sequence[Scalar]:
        """Return one raw output value a row, in the order of ``rows``.

        Args:
            rows: At least one row; each holds one cell an input, in the order of ``Contract.inputs``.

        Returns:
            As many values as rows: the probability of the positive class, the class label, or the value.
            They are unchecked: ``outputs.answer`` refuses what the declared output cannot be.
        """
        ...


@runtime_checkable
class Quick(Predictor, Protocol):
    """Answers most rows in microseconds, and knows which it does not."""

    def at_once(self, rows: Sequence[Row]) -> Sequence[Scalar | None]:
        """Return what ``predict`` returns, ``None`` for a row where that would take its time."""
        ...

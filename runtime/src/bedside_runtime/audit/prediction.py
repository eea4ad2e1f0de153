"""The body of a prediction's record, and the canonical bytes of inputs. Pure.

This is the path of every answer, so it does not go through the general encoder: msgspec writes the strings, and
numbers are written as RFC 8785 has them. A property test holds it byte for byte to `canonical.encode`.
"""

from collections.abc import Callable, Sequence
from operator import itemgetter
from types import NoneType
from typing import Any, Final, Protocol

import msgspec
from msgspec import Raw, Struct

from bedside_runtime import canonical
from bedside_runtime.contract import Cell, Row, Scalar
from bedside_runtime.inputs import Flag

_EXACT: Final = 2**53
_AS_THEY_ARE: Final = frozenset({NoneType, bool, str})
"""Types that msgspec writes as RFC 8785 has them."""

_SMALLEST, _LARGEST = 1e-4, 1e15
"""Fractions between these have no exponent, neither with msgspec nor in ECMAScript's shortest form."""


class Answered(Struct, frozen=True):
    """One answered row. Fields stand in canonical order."""

    band: str | None
    flags: tuple[Flag, ...]
    value: Cell | Raw


class _Prediction(Struct, frozen=True):
    """Fields stand in canonical order."""

    batch: int
    caller: str | None
    duration_us: int
    image: str | None
    inputs: Raw
    kind: str
    outputs: Sequence[Answered]
    release: str
    request: str


class Output(Protocol):
    """One answered row."""

    @property
    def value(self) -> Scalar:
        """What was answered."""
        ...

    @property
    def band(self) -> str | None:
        """Its band, where the output has bands."""
        ...

    @property
    def flags(self) -> tuple[Flag, ...]:
        """What was noticed about the inputs."""
        ...


class Asked(Struct, frozen=True):
    """Of one request, all but its inputs.

    Attributes:
        request: Request id.
        caller: Authenticated caller; ``None`` where nobody authenticates.
        duration_us: Microseconds that the model's call took.
        batch: Rows that this call answered, those of other requests included.
        outputs: One a row.
    """

    request: str
    caller: str | None
    duration_us: int
    batch: int
    outputs: Sequence[Output]


def body(asked: Asked, inputs: bytes, release: str, image: str | None) -> bytes:
    """Return the canonical bytes of one prediction's body.

    Args:
        asked: Who asked, what was answered.
        inputs: Canonical JSON: what is kept of the inputs, or ``null``.
        release: Release digest.
        image: Image digest.
    """
    outputs = [Answered(item.band, item.flags, scalar(item.value)) for item in asked.outputs]
    return msgspec.json.encode(
        _Prediction(
            asked.batch,
            asked.caller,
            asked.duration_us,
            image,
            Raw(inputs),
            "prediction",
            outputs,
            release,
            asked.request,
        )
    )


def scalar(value: Cell) -> Cell | Raw:
    """Return what msgspec writes as RFC 8785 has ``value``."""
    return value if value is None or isinstance(value, (bool, str)) else number(value)


class CanonicalInputs:
    """Writes rows as canonical objects, input name to value in the declared unit."""

    def __init__(self, names: Sequence[str]) -> None:
        order = sorted(range(len(names)), key=lambda index: names[index].encode("utf-16-be"))
        self._ordered: Callable[[Row], Row] = itemgetter(*order) if len(order) > 1 else tuple
        self._names = [names[index] for index in order]

    def row(self, cells: Row) -> bytes:
        """Return the canonical object of one row."""
        written = [cell if type(cell) in _AS_THEY_ARE else number(cell) for cell in self._ordered(cells)]
        return msgspec.json.encode(dict(zip(self._names, written, strict=True)))

    def rows(self, rows: Sequence[Row]) -> bytes:
        """Return the canonical array of all rows."""
        return b"[%b]" % b",".join(map(self.row, rows))


def number(value: Any) -> float | Raw:  # noqa: ANN401 - a cell, if it is no other type
    """Return what msgspec writes as RFC 8785 has ``value``."""
    if isinstance(value, float):
        if value.is_integer() and abs(value) < _LARGEST:
            return int(value)
        return value if _SMALLEST < abs(value) < _LARGEST else Raw(canonical.encode(value))
    return value if -_EXACT < value < _EXACT else Raw(canonical.encode(float(value)))

"""The body of a prediction's record, and the canonical bytes of inputs. Pure.

This is the path of every answer, so it does not go through the general encoder: msgspec writes the strings, and
numbers are written as RFC 8785 has them. A property test holds it byte for byte to `canonical.encode`.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from types import MappingProxyType, NoneType
from typing import Final, Protocol

import msgspec
from msgspec import Raw, Struct

from bedside_runtime import canonical
from bedside_runtime.contract import Cell, Row, Scalar
from bedside_runtime.inputs import Flag

_EXACT: Final = 2**53
_E, _N = b"en"
"""What an exponent and ``null`` are known by."""


class Answered(Struct, frozen=True):
    """One answered row. Fields stand in canonical order."""

    band: str | None
    flags: tuple[Flag, ...]
    value: Raw


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
    outputs = [Answered(item.band, item.flags, Raw(cell(item.value))) for item in asked.outputs]
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


class CanonicalInputs:
    """Writes rows as canonical objects, input name to value in the declared unit."""

    def __init__(self, names: Sequence[str]) -> None:
        order = sorted(range(len(names)), key=lambda index: names[index].encode("utf-16-be"))
        self._ordered: Callable[[Row], Row] = itemgetter(*order) if len(order) > 1 else tuple
        keys = [msgspec.json.encode(names[index]).replace(b"%", b"%%") for index in order]
        self._template = b"{%b}" % b",".join([key + b":%b" for key in keys])

    def row(self, cells: Row) -> bytes:
        """Return the canonical object of one row."""
        return self._template % tuple([_WRITE[type(value)](value) for value in self._ordered(cells)])

    def rows(self, rows: Sequence[Row]) -> bytes:
        """Return the canonical array of all rows."""
        return b"[%b]" % b",".join(map(self.row, rows))


def cell(value: Cell) -> bytes:
    """Return the canonical bytes of one value."""
    return _WRITE[type(value)](value)


def _float(value: float) -> bytes:
    """ECMAScript's shortest form. msgspec's agrees with it but for whole numbers, exponents and what is no number."""
    if value.is_integer():
        return b"%d" % value if -_EXACT < value < _EXACT else canonical.encode(value)
    text = msgspec.json.encode(value)
    return canonical.encode(value) if _E in text or _N in text else text


def _integer(value: int) -> bytes:
    return b"%d" % value if -_EXACT < value < _EXACT else canonical.encode(float(value))


_WRITE: Final[Mapping[type, Callable[..., bytes]]] = MappingProxyType(
    {
        NoneType: lambda _: b"null",
        bool: lambda value: b"true" if value else b"false",
        int: _integer,
        float: _float,
        str: msgspec.json.encode,
    }
)

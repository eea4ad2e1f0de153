"""The body of a prediction's record, and the canonical bytes of inputs. Pure.

This is the path of every answer, so it does not go through the general encoder: msgspec writes the strings, and
numbers are written as RFC 8785 has them. A property test holds it byte for byte to `canonical.encode`.
"""

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from operator import itemgetter
from types import NoneType
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Raw, Struct

from bedside_runtime import canonical
from bedside_runtime.contract import Cell, Row
from bedside_runtime.inputs import Flag
from bedside_runtime.service import Entry, Prediction

_EXACT: Final = 2**53
_AS_THEY_ARE: Final = frozenset({NoneType, bool, str})
"""Types that msgspec writes as RFC 8785 has them."""

_ENCODER: Final = msgspec.json.Encoder()

_SMALLEST, _LARGEST = 1e-4, 1e15
"""Fractions between these have no exponent, neither with msgspec nor in ECMAScript's shortest form."""

_DIGITS: Final = bytes.maketrans(b"123456789", b"000000000")
_EXPONENT, _LONG = b"0e", b"0" * 16
"""What stands in every number that msgspec writes otherwise than RFC 8785, all digits taken for 0; but for -0.0."""


Kept: TypeAlias = Sequence[str] | str | None
"""What is kept of the inputs: nothing, one text for all rows, or one a row."""


class Answered(Struct, frozen=True, gc=False):
    """One answered row. Fields stand in canonical order."""

    band: str | None
    flags: tuple[Flag, ...]
    value: Cell | Raw


class _Prediction(Struct, frozen=True, gc=False):
    """Fields stand in canonical order."""

    batch: int
    caller: str | None
    duration_us: int
    image: str | None
    inputs: Kept
    kind: str
    outputs: Sequence[Answered]
    release: str
    request: str


def bodies(answered: Sequence[Entry], inputs: Iterable[Kept], release: str, image: str | None) -> list[bytes]:
    """Return the canonical bytes of the bodies of predictions.

    Args:
        answered: Who asked, what was answered.
        inputs: What is kept of the inputs of each.
        release: Release digest.
        image: Image digest.
    """
    made = [
        _Prediction(
            one.batch,
            one.caller.identity,
            round(one.seconds * 1e6),
            image,
            kept,
            "prediction",
            _outputs(one.predictions),
            release,
            one.caller.request,
        )
        for one, kept in zip(answered, inputs, strict=True)
    ]
    return _lines(made)


def _outputs(predictions: Sequence[Prediction]) -> Sequence[Answered]:
    if len(predictions) != 1:  # nearly all are: a comprehension of its own for each costs as much as its row
        return [Answered(one.band, one.flags, scalar(one.value)) for one in predictions]
    (one,) = predictions
    return (Answered(one.band, one.flags, scalar(one.value)),)


def _lines(values: Sequence[object]) -> list[bytes]:
    """Return each value as JSON. A line cannot break within a value: JSON escapes what would break it."""
    lines = _ENCODER.encode_lines(values).split(b"\n")
    lines.pop()
    return lines


def scalar(value: Cell) -> Cell | Raw:
    """Return what msgspec writes as RFC 8785 has ``value``."""
    if type(value) is float and _SMALLEST < value < 1.0:  # most are probabilities
        return value
    return value if value is None or isinstance(value, (bool, str)) else number(value)


class CanonicalInputs:
    """Writes rows as canonical objects, input name to value in the declared unit."""

    def __init__(self, names: Sequence[str], texts: Collection[str] | None = None) -> None:
        """Made once a release.

        Args:
            names: Of the inputs, in the order of a row.
            texts: All that a cell may say; ``None`` where it may say anything.
        """
        order = sorted(range(len(names)), key=lambda index: names[index].encode("utf-16-be"))
        self._ordered: Callable[[Row], Row] = itemgetter(*order) if len(order) > 1 else tuple
        self._names = [names[index] for index in order]
        self._object = _object(self._names)
        empty = msgspec.json.encode(dict.fromkeys(names))
        self._nulls = empty.count(b"null") - len(names)
        self._commas, self._braces = empty.count(b","), empty.count(b"}")
        self._may_mislead = texts is None or any({",", "}"} & set(text) for text in texts)
        self._plain = not {b".0,", b".0}"} & {empty[at : at + 3] for at in range(len(empty))}

    def each(self, rows: Sequence[Row]) -> list[bytes]:
        """Return the canonical object of each row."""
        ordered = [self._ordered(cells) for cells in rows]
        make = self._object if self._plain else None
        if make is None:
            return [self._slowly(cells) for cells in ordered]
        written = self._quickly(make, ordered)
        if written is not None:
            return written
        return [(self._quickly(make, [cells]) or [self._slowly(cells)])[0] for cells in ordered]

    def _quickly(self, make: Callable[..., object], rows: Sequence[Row]) -> list[bytes] | None:
        """Return the canonical object of each row; ``None`` where msgspec might write one in another way."""
        count = len(rows)
        written = _ENCODER.encode_lines([make(*cells) for cells in rows])
        shape = written.translate(_DIGITS)
        if (
            _EXPONENT in shape
            or _LONG in shape
            or b"-0.0" in written
            or (self._may_mislead and self._misleads(written, count))
        ):
            return None
        nulls = written.count(b"null") - count * self._nulls
        if nulls and nulls != sum([cells.count(None) for cells in rows]):  # what is no number is written as null
            return None
        plain = written.replace(b".0,", b",").replace(b".0}", b"}")  # no text has a comma or a brace in it
        return plain.split(b"\n")[:-1]

    def _misleads(self, written: bytes, count: int) -> bool:
        """Say whether a text holds what ends a number outside of one."""
        return written.count(b",") != count * self._commas or written.count(b"}") != count * self._braces

    def _slowly(self, ordered: Row) -> bytes:
        written = [cell if type(cell) in _AS_THEY_ARE else number(cell) for cell in ordered]
        return msgspec.json.encode(dict(zip(self._names, written, strict=True)))

    def rows(self, rows: Sequence[Row]) -> bytes:
        """Return the canonical array of all rows."""
        return b"[%b]" % b",".join(self.each(rows))


def _object(names: Sequence[str]) -> Callable[..., object] | None:
    """Return what makes an object of cells in the order of ``names``; ``None`` where msgspec takes a name otherwise."""
    if any(json.dumps(name, ensure_ascii=False) != f'"{name}"' for name in names):
        return None
    fields = {f"f{index}": name for index, name in enumerate(names)}
    return msgspec.defstruct("Inputs", [(field, Any) for field in fields], rename=fields, gc=False)


def number(value: Any) -> float | Raw:  # noqa: ANN401 - a cell, if it is no other type
    """Return what msgspec writes as RFC 8785 has ``value``."""
    if isinstance(value, float):
        if value.is_integer() and abs(value) < _LARGEST:
            return int(value)
        return value if _SMALLEST < abs(value) < _LARGEST else Raw(canonical.encode(value))
    return value if -_EXACT < value < _EXACT else Raw(canonical.encode(float(value)))

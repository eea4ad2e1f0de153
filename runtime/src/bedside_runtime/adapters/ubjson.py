"""Reading UBJSON as XGBoost writes it (common/json_ubj of XGBoost 3; ubjson.org, draft 12), in bounds.

A length is believed only as far as there are bytes for it: what is read is at most in proportion to the file.
"""

import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

_DEEPEST: Final = 64
"""How deep objects and arrays may lie in each other; a booster's lie eight deep."""

_CONSTANTS: Final[Mapping[bytes, bool | None]] = MappingProxyType({b"Z": None, b"T": True, b"F": False})
_NUMBERS: Final[Mapping[bytes, str]] = MappingProxyType(
    {b"i": "b", b"U": "B", b"I": "h", b"l": "i", b"L": "q", b"d": "f", b"D": "d"}
)
"""Markers, and the letters of `struct` for the big-endian numbers after them."""


def decode(data: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value that ``data`` holds; `ValueError` where it holds none, or more than one."""
    reader = _Reader(data)
    value = reader.value(reader.take(1), 0)
    if reader.left:
        raise ValueError("something follows the value")
    return value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, size: int) -> bytes:
        """Return the next ``size`` bytes."""
        if not 0 <= size <= self.left:
            raise ValueError("the value ends too early")
        self._at += size
        return self._data[self._at - size : self._at]

    def value(self, marker: bytes, depth: int) -> Any:  # noqa: ANN401 - any JSON value
        """Return the value that ``marker`` begins."""
        if depth > _DEEPEST:
            raise ValueError("it lies too deep")
        if marker in _CONSTANTS:
            return _CONSTANTS[marker]
        match marker:
            case b"S":
                return self._text(self.take(1))
            case b"C":
                return self.take(1).decode("ascii")
            case b"{":
                return self._object(depth + 1)
            case b"[":
                return self._array(depth + 1)
            case _:
                return self._numbers(marker, 1)[0]

    def _text(self, marker: bytes) -> str:
        return self.take(self._length(marker)).decode()

    def _length(self, marker: bytes) -> int:
        (length,) = self._numbers(marker, 1)
        if not isinstance(length, int):
            raise ValueError("a length is no whole number")  # noqa: TRY004 - the file is wrong, not the program
        return length

    def _numbers(self, marker: bytes, count: int) -> tuple[Any, ...]:
        kind = _NUMBERS.get(marker)
        if kind is None:
            raise ValueError("a value is of no known kind")
        taken = self.take(max(count, -1) * struct.calcsize(f">{kind}"))
        return struct.unpack(f">{count}{kind}", taken)

    def _object(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while (marker := self.take(1)) != b"}":
            key = self._text(marker)
            if key in found:
                raise ValueError(f"{key} stands there twice")
            found[key] = self.value(self.take(1), depth)
        return found

    def _array(self, depth: int) -> list[Any] | tuple[Any, ...]:
        marker = self.take(1)
        if marker == b"$":
            kind = self.take(1)
            if self.take(1) != b"#":
                raise ValueError("an array of one kind has no length")
            return self._numbers(kind, self._length(self.take(1)))
        if marker == b"#":
            return self._counted(self._length(self.take(1)), depth)
        found = []
        while marker != b"]":
            found.append(self.value(marker, depth))
            marker = self.take(1)
        return found

    def _counted(self, count: int, depth: int) -> list[Any]:
        if not 0 <= count <= self.left:
            raise ValueError("the value ends too early")
        return [self.value(self.take(1), depth) for _ in range(count)]

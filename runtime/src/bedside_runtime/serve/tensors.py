"""Tensors of the Open Inference Protocol v2: JSON data and the binary extension, to values and back. Pure."""

import math
import struct
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, Final, Literal

from bedside_runtime.contract import Input, Scalar

_PACKED: Final = MappingProxyType(
    {
        "FP64": "d",
        "FP32": "f",
        "FP16": "e",
        "INT64": "q",
        "INT32": "i",
        "INT16": "h",
        "INT8": "b",
        "UINT64": "Q",
        "UINT32": "I",
        "UINT16": "H",
        "UINT8": "B",
        "BOOL": "?",
    }
)
"""Little-endian struct format of each fixed-size datatype."""

_INTEGERS: Final = frozenset(name for name in _PACKED if "INT" in name)

ACCEPTED: Final = MappingProxyType(
    {
        "number": _INTEGERS | {"FP64", "FP32", "FP16"},
        "integer": _INTEGERS,
        "category": frozenset({"BYTES"}),
        "boolean": frozenset({"BOOL"}),
    }
)
"""Datatypes that are taken for each type of input."""

_BEST: Final = MappingProxyType({"number": "FP64", "integer": "INT64", "category": "BYTES", "boolean": "BOOL"})


class TensorInvalid(ValueError):
    """A tensor is malformed; the message is made from the contract and fixed words alone."""


def datatype(item: Input) -> str:
    """Return the datatype that metadata names for an input."""
    return _BEST[item.type]


def rows(shape: object, name: str) -> int:
    """Return how many rows a tensor of ``shape`` holds: ``[N]`` or ``[N, 1]``.

    Raises:
        TensorInvalid: Another shape; a matrix of several features has no names to find them by.
    """
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise TensorInvalid(f"{name}: shape must be a list of sizes")
    if len(shape) == 1 or (len(shape) == 2 and shape[1] == 1):
        return int(shape[0])
    raise TensorInvalid(f"{name}: shape must be [N] or [N, 1]; send one tensor for each input, by name")


def from_json(data: object, count: int, name: str) -> list[object]:
    """Return the ``count`` values of a tensor's JSON data: flat, or nested as rows of one value each.

    Raises:
        TensorInvalid: Not a list, of another size, or nested in another way.
    """
    if not isinstance(data, list):
        raise TensorInvalid(f"{name}: data must be a list")
    if len(data) != count:
        raise TensorInvalid(f"{name}: data has not as many rows as shape says")
    if not any(isinstance(row, list) for row in data):
        return data
    if not all(isinstance(row, list) and len(row) == 1 and not isinstance(row[0], list) for row in data):
        raise TensorInvalid(f"{name}: data must be one value a row, either flat or each in a list of its own")
    return [row[0] for row in data]


def from_binary(data: bytes, kind: str, count: int, name: str) -> list[object]:
    """Return the ``count`` values of a tensor's binary data.

    Raises:
        TensorInvalid: Of another size, not finite, a truth value beside 0 and 1, or BYTES that are not UTF-8.
    """
    if kind == "BYTES":
        return _strings(data, count, name)
    if len(data) != count * struct.calcsize(f"<{_PACKED[kind]}"):
        raise TensorInvalid(f"{name}: the binary data has not the size that shape and datatype say")
    if kind == "BOOL" and max(data, default=0) > 1:
        raise TensorInvalid(f"{name}: a BOOL must be 0 or 1")
    values = list(struct.unpack(f"<{count}{_PACKED[kind]}", data))
    if any(isinstance(value, float) and not math.isfinite(value) for value in values):
        raise TensorInvalid(f"{name}: NaN and infinity are refused; leave a missing value out")
    return values


def _strings(data: bytes, count: int, name: str) -> list[object]:
    values: list[object] = []
    place = 0
    while place < len(data) and len(values) < count:
        size = int.from_bytes(data[place : place + 4], "little")
        piece = data[place + 4 : place + 4 + size]
        if len(piece) != size or place + 4 > len(data):
            break
        try:
            values.append(piece.decode("utf-8"))
        except UnicodeDecodeError:
            raise TensorInvalid(f"{name}: a string is not UTF-8") from None
        place += 4 + size
    if len(values) != count or place != len(data):
        raise TensorInvalid(f"{name}: the binary data has not the size that shape and datatype say")
    return values


Kind = Literal["FP64", "INT64", "BOOL", "BYTES"]


def kind_of(values: Sequence[Scalar | None]) -> Kind:
    """Return the datatype of a column of answers: all of one type, by the output's declaration."""
    match values[0]:
        case bool():
            return "BOOL"
        case int() if all(isinstance(value, int) for value in values):
            return "INT64"
        case int() | float():
            return "FP64"
        case _:
            return "BYTES"


def to_binary(values: Sequence[Any], kind: Kind) -> bytes:
    """Return ``values`` in the binary extension's layout."""
    if kind == "BYTES":
        encoded = [str(value).encode() for value in values]
        return b"".join(len(item).to_bytes(4, "little") + item for item in encoded)
    return struct.pack(f"<{len(values)}{_PACKED[kind]}", *values)

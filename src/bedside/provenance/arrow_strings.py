"""Texts of Arrow arrays inside pickles: pandas 3 keeps the names of columns so, one behind the other without a mark.

A pickled array is its buffers (Apache Arrow columnar format, variable-size binary layout): the offsets, little-endian
integers of 32 or 64 bits that begin with 0 and never fall, then the bytes that they divide. Pure; nothing is unpickled.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final, Literal

_BUFFER: Final = rb"(?=(?:C(.)|\x96(.{8})|B(.{4})|X(.{4}))%s)"
"""Bytes behind their length: BINBYTES and its kin; BINUNICODE, as Latin-1, in protocol 2, which has no bytes."""

_OFFSETS: Final = re.compile(_BUFFER % rb"\0{4}", re.DOTALL)
_ANY: Final = re.compile(_BUFFER % rb"", re.DOTALL)

_BETWEEN: Final = 100
"""Bytes of opcodes between two buffers of an array, at most."""

_MOST: Final = 1 << 14
"""Bytes of offsets and of texts that are looked at: the first two thousand columns."""

_LONGEST: Final = 1 << 24
"""Bytes of a buffer: a length above it is none, but other bytes."""


def names(data: bytes) -> Iterator[str]:
    """Give the texts of every array of strings in ``data``, a pickle or a part of one."""
    for match in _OFFSETS.finditer(data):
        buffer, end = _bytes(data, match)
        for offsets in _read(buffer):
            following = (_bytes(data, one)[0] for one in _ANY.finditer(data, end, end + _BETWEEN))
            text = next((text for text in following if min(offsets[-1], _MOST) <= len(text)), b"")
            yield from (text[start:stop].decode("utf-8", "replace") for start, stop in pairwise(offsets) if text)


def _bytes(data: bytes, match: re.Match[bytes]) -> tuple[bytes, int]:
    """Return a buffer's beginning, and where all of it ends."""
    start, length = match.end(match.lastindex or 0), int.from_bytes(match[match.lastindex or 0], "little")
    if length > _LONGEST:
        return b"", start
    text = data[start : start + min(length, _MOST)]
    if match[4] is not None:
        text = text.decode("utf-8", "ignore").encode("latin-1", "ignore")
    return text, start + length


def _read(buffer: bytes) -> Iterator["memoryview[int]"]:
    """Give a buffer as offsets, in each width in which it can be that; most that are none are left at the second."""
    widths: tuple[tuple[Literal["q", "i"], int], ...] = (("q", 8), ("i", 4))
    for letter, width in widths:
        if len(buffer) >= 2 * width and len(buffer) % width == 0:
            offsets = memoryview(buffer).cast(letter)
            if 0 < offsets[-1] <= _LONGEST and all(start <= stop for start, stop in pairwise(offsets)):
                yield offsets

"""From chunks of bytes to records with their positions, and what a crash can leave at the end. Pure."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from bedside_runtime.audit.chain import MAX_GROUP, MAX_RECORD, NotARecord, Record, proved, read
from bedside_runtime.audit.usual import UsualRecord, take_apart

SECTOR: Final = 512
"""The unit that a disk writes whole or not at all, bytes."""

_BLOCK: Final = 16 * 1024
"""How many bytes of lines are looked at together, unless one line has more."""

_ZEROS: Final = re.compile(rb"\x00+")


class Lines:
    """Splits a stream at newlines, in the memory of one chunk and one record."""

    def __init__(self, chunks: Iterable[bytes], offset: int = 0) -> None:
        self._chunks = iter(chunks)
        self._data = b""
        self._base = offset
        self._at = 0
        self.reason = "the segment ends within a record"
        """Why there is no further record, where bytes are left."""

    @property
    def offset(self) -> int:
        """Where the line that came last begins; after the last line, where the bytes behind it begin."""
        return self._base + self._at

    def records(self) -> Iterator[Record | UsualRecord]:
        """Every record, each proved by itself, up to the first line that is none; ``reason`` says then why."""
        for block in self._blocks():
            lines = block.split(b"\n")[:-1]
            usual = take_apart(block)
            records: Iterator[Record | UsualRecord] = map(read, lines) if usual is None else map(proved, usual, lines)
            try:
                for line, record in zip(lines, records, strict=True):
                    yield record
                    self._at += len(line) + 1
            except NotARecord as error:
                self.reason = str(error)
                return

    def _blocks(self) -> Iterator[bytes]:
        """Whole lines, some at a time. Ends early at a line longer than any record, however it is cut into chunks."""
        for chunk in self._chunks:
            self._base += self._at
            self._data = data = self._data[self._at :] + chunk
            self._at = start = 0
            while (end := data.rfind(b"\n", start, start + _BLOCK) + 1 or data.find(b"\n", start) + 1) > 0:
                if end - start > MAX_RECORD:
                    break
                yield data[start:end]
                start = end
            if len(data) - start > MAX_RECORD:
                self.reason = "the line is longer than any record"
                return

    def rest(self) -> bytes:
        """Everything from ``offset`` on, but no more than a byte over what a crash can tear."""
        rest = self._data[self._at :]
        for chunk in self._chunks:
            if len(rest) > MAX_GROUP:
                break
            rest += chunk
        return rest[: MAX_GROUP + 1]


def is_tear(rest: bytes, offset: int) -> bool:
    """Whether ``rest``, from the first bad line of a segment to its end, can be what a crash left of a group.

    A crash cuts the last group short, and leaves zeros in place of sectors that never arrived; nothing
    else. Zeros never occur in a record. Zeros that begin or end inside a sector, more bytes than one
    group has, and a whole line that is wrong without a single zero are somebody's work.

    Args:
        rest: Not empty.
        offset: Position of its first byte in the segment.
    """
    if len(rest) > MAX_GROUP:
        return False
    if b"\x00" in rest:
        return all(_is_of_sectors(*hole.span(), len(rest), offset) for hole in _ZEROS.finditer(rest))
    return b"\n" not in rest and not _has_more_than_a_record(rest)


def _is_of_sectors(start: int, end: int, size: int, offset: int) -> bool:
    """Whether a hole begins and ends where a sector does, or where the bytes do."""
    return (start == 0 or (offset + start) % SECTOR == 0) and (end == size or (offset + end) % SECTOR == 0)


def _has_more_than_a_record(rest: bytes) -> bool:
    """Whether a whole record stands here with something other than its newline behind it."""
    whole = re.match(rb'.*"time":"[^"]{27}"\}(?=.)', rest, re.DOTALL)
    if whole is None:
        return False
    try:
        read(whole[0])
    except NotARecord:
        return False
    return True

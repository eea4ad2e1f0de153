"""Where a log stands when a process starts: the name of its last segment, its head, and what a crash tore."""

import hashlib
from typing import Final

from msgspec import Struct

from bedside_runtime.audit.chain import MAX_GROUP, MAX_RECORD, START, Head
from bedside_runtime.audit.disk import Disk
from bedside_runtime.audit.lines import Lines
from bedside_runtime.audit.record import Previous, Torn
from bedside_runtime.audit.segments import segment_number
from bedside_runtime.errors import AuditUnreadable

_WINDOW: Final = MAX_GROUP + 2 * MAX_RECORD
"""More than a crash can tear, and a whole record before that."""


class Found(Struct, frozen=True):
    """Where to go on: head of the log, number of the next segment, and what its genesis record quotes."""

    head: Head
    number: int
    previous: Previous | None


def recover(disk: Disk) -> Found:
    """Find the end of the log, reading no more than its last few megabytes, and change nothing of it.

    Raises:
        AuditUnreadable: The last segment holds no whole record near its end, or two files are the last one.
        AuditBusy: Another process writes it.
        OSError: The disk failed.
    """
    numbered = sorted((number, name) for name in disk.names() if (number := segment_number(name)) is not None)
    if not numbered:
        return Found(START, 0, None)
    number, name = numbered[-1]
    if len(numbered) > 1 and numbered[-2][0] == number:
        raise AuditUnreadable(f"two files are segment {number} of the audit log")
    offset, data = disk.tail(name, _WINDOW)
    head, at = _head(offset, data)
    if head is None:
        raise AuditUnreadable(f"{name} holds no whole record near its end")
    rest = data[at - offset :]
    torn = Torn(at, len(rest), hashlib.sha256(rest).hexdigest()) if rest else None
    previous = Previous(name, offset + len(data), head.records, head.hash, torn)
    return Found(head, number + 1, previous)


def _head(offset: int, data: bytes) -> tuple[Head | None, int]:
    """Return the last record that follows the ones before it, and where the bytes behind it begin."""
    start = data.find(b"\n") + 1 if offset else 0
    lines = Lines([data[start:]], offset + start)
    head = None
    for item in lines.records():
        if head is not None and Head(item.seq, item.prev) != head:
            break
        head = Head(item.seq + 1, item.hash)
    return head, lines.offset

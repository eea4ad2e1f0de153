"""One record of the audit log, and how it holds on to the record before it. Pure: bytes in, bytes out.

A line of the log is canonical JSON (RFC 8785) and a newline::

    {"body":{...},"hash":"H","mono":M,"prev":"P","seq":N,"time":"T"}

``H`` is the sha256 of the very line without its ``"hash":"H",`` and without the newline, so that anyone with
sha256 can recompute it. ``P`` is the ``H`` of the record before, 64 zeros for the first; ``N`` counts from 0
over all segments of one pod. ``T`` is UTC, ``M`` the monotonic clock in microseconds.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Annotated, Any, Final, Protocol, TypeVar

import msgspec
from msgspec import Struct

from bedside_runtime import canonical

FORMAT: Final = "bedside.audit/1"
"""Names this format in every genesis record."""

MAX_RECORD: Final = 4 * 1024 * 1024
"""Longest line, newline included, bytes."""

MAX_BODY: Final = MAX_RECORD // 2
"""Longest body that is taken, bytes; what is left is for base64, padding and the envelope."""

ENVELOPE: Final = 256
"""Most bytes that a line adds to its body."""

MAX_GROUP: Final = 4 * 1024 * 1024
"""Most bytes between two durable points of a writer: no more than this can be torn by a crash."""

_HASH_MEMBER: Final = len('"hash":"') + 64 + len('",')
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
_SHAPES: Final = bytes.maketrans(b"123456789,[-", b"000000000:::")
_LONG_NUMBER: Final = b":" + b"0" * 16


_Count = Annotated[int, msgspec.Meta(ge=0)]


class Head(Struct, frozen=True):
    """Where a log stands: how many records it holds, and the hash of the last one."""

    records: int
    hash: str


START: Final = Head(0, "0" * 64)
"""The head of a log without records."""


class Record(Struct, frozen=True, forbid_unknown_fields=True):
    """One line, taken apart. ``body`` is its decoded JSON object."""

    body: dict[str, Any]
    hash: str
    mono: _Count
    prev: str
    seq: _Count
    time: str

    @property
    def kind(self) -> object:
        """What is recorded."""
        return self.body.get("kind")

    @property
    def note(self) -> object:
        """The signed note of a checkpoint."""
        return self.body.get("note")

    @property
    def record(self) -> "Record":
        """Itself."""
        return self


class _Sealed(Protocol):
    """What a line says of itself, in whatever form it was taken apart."""

    @property
    def hash(self) -> str: ...

    @property
    def time(self) -> str: ...


_Line = TypeVar("_Line", bound=_Sealed)


class NotARecord(ValueError):
    """The line is no record as this format has them, or its hash is another. The message quotes no content."""


def link(head: Head, bodies: Sequence[bytes], time: str, mono: int) -> tuple[list[bytes], Head]:
    """Return the lines that follow ``head``, newlines included, and the new head.

    Args:
        head: Where the log stands.
        bodies: Canonical JSON of an object each; it is not checked here.
        time: UTC, ``2026-11-23T19:42:49.123456Z``.
        mono: Microseconds of the monotonic clock.
    """
    sha256 = hashlib.sha256
    lines, previous = [], head.hash
    begins, ends = f'"mono":{mono},"prev":"', f',"time":"{time}"}}'
    for number, body in enumerate(bodies, head.records):
        after = f'{begins}{previous}","seq":{number}{ends}'.encode()
        previous = sha256(b'{"body":%b,%b' % (body, after)).hexdigest()
        lines.append(b'{"body":%b,"hash":"%b",%b\n' % (body, previous.encode(), after))
    return lines, Head(head.records + len(lines), previous)


def read(line: bytes) -> Record:
    """Take apart one line, without its newline, and prove its form and its own hash.

    Whether it follows the record before is the caller's question.

    Raises:
        NotARecord: Not of this form, not canonical, or the hash is not that of the line.
    """
    return proved(_quickly(line) or _slowly(line), line)


def proved(record: _Line, line: bytes) -> _Line:
    """Return ``record``, which ``line`` says in canonical form, if its hash is that of the line.

    Raises:
        NotARecord: It is not, or the time has another form.
    """
    at = line.rfind(b',"hash":"') + 1
    if hashlib.sha256(line[:at] + line[at + _HASH_MEMBER :]).hexdigest() != record.hash:
        raise NotARecord("the hash is not that of the line")
    if _TIME.fullmatch(record.time) is None:
        raise NotARecord("the line has not the form of a record")
    return record


def _quickly(line: bytes) -> Record | None:
    """Take apart a line that is canonical for certain; of any other, ``None``: the slow way must say.

    Other alphabets sort otherwise, msgspec writes some numbers otherwise, and 16 digits may be beyond 2**53.
    """
    try:
        record = _TAKE_APART(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise NotARecord("the line has not the form of a record") from None
    except _UnusualNumber:
        return None
    if line.isascii() and _PUT_TOGETHER(record) == line and line.translate(_SHAPES).find(_LONG_NUMBER) < 0:
        return record
    return None


def _slowly(line: bytes) -> Record:
    if not _is_canonical(line):
        raise NotARecord("the line is not in canonical form")
    try:
        return msgspec.convert(canonical.decode(line), Record)
    except msgspec.ValidationError:
        raise NotARecord("the line has not the form of a record") from None


class _UnusualNumber(Exception):
    """A number that msgspec writes in another form than RFC 8785: with an exponent, or as 1.0."""


def _usual(token: str) -> float:
    if "e" in token or token.endswith(".0"):  # with an "E" it is not what msgspec writes
        raise _UnusualNumber
    return float(token)


_TAKE_APART: Final = msgspec.json.Decoder(Record, float_hook=_usual).decode
_PUT_TOGETHER: Final = msgspec.json.Encoder(order="deterministic").encode


def _is_canonical(data: bytes) -> bool:
    try:
        return canonical.encode(_as_doubles(canonical.decode(data))) == data
    except (canonical.NotStrictJSON, canonical.NotCanonical):
        return False


def _as_doubles(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Every number as JSON means it: a double. Integers from 2**53 on name the nearest one."""
    match value:
        case dict():
            return {key: _as_doubles(item) for key, item in value.items()}
        case list():
            return [_as_doubles(item) for item in value]
        case int() if abs(value) >= 2**53:
            return float(value)
        case _:
            return value

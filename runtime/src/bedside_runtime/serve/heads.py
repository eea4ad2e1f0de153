"""What a request's head must be before anybody looks at what it asks: sizes, hosts, codings. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from bedside_runtime.serve import bodies
from bedside_runtime.serve.problems import Problem

MAX_HEAD: Final = 32 * 1024
"""Bytes of a request's head, all header fields together."""

Head: TypeAlias = Mapping[bytes, bytes]
"""Names in lower case, and values; the first of fields that are repeated."""

Fields: TypeAlias = Sequence[tuple[bytes, bytes]]
"""Names in lower case, and values, as they came."""


def wrong(head: Head, fields: Fields, version: Callable[[], str], max_body: int) -> Problem | None:
    """Return what is wrong with a head that has arrived, ``None`` where nothing is.

    Args:
        head: The head.
        fields: All of its fields.
        version: Returns the version of HTTP; called only where it matters.
        max_body: Bytes that a body may have.
    """
    if len(head) != len(fields) or b"host" not in head:
        hosts = [name for name, _ in fields].count(b"host")
        if hosts > 1 or (not hosts and version() == "1.1"):
            return Problem("bad-request")  # RFC 9112, section 3.2
    if b"transfer-encoding" in head and head[b"transfer-encoding"].lower() != b"chunked":
        return Problem("bad-request")  # a coding that is not undone here, section 6.1
    return bodies.too_large(max_body) if int(head.get(b"content-length", b"0")) > max_body else None


def has_body(head: Head) -> bool:
    """Whether a body is announced."""
    return b"content-length" in head or b"transfer-encoding" in head


def size(url: bytes, fields: Fields) -> int:
    """Return how many bytes a head takes, without what stands between its parts."""
    return len(url) + sum(len(name) + len(value) for name, value in fields)

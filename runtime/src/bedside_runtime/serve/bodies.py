"""Of a request's body: its media type, its size, and reading it where the router has the request."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from email.message import Message
from typing import Final

from starlette.requests import Request

from bedside_runtime.serve.problems import Problem

LINGER_BYTES: Final = 16 * 2**20
LINGER_SECONDS: Final = 2.0
"""How much of a body that is too large is still read, and thrown away, before the connection is closed: a caller
that is still sending would otherwise see its connection reset instead of the answer."""


def media_type(head: Mapping[bytes, bytes]) -> str:
    """Return the media type in lower case, empty where the request names none.

    Raises:
        Problem: A charset other than UTF-8, or a compressed body.
    """
    sent = head.get(b"content-type", b"")
    if sent == b"application/json" and b"content-encoding" not in head:
        return "application/json"
    encoding = head.get(b"content-encoding", b"identity").decode("latin-1").strip().lower()
    if b"*" in sent:  # of parameters in parts (RFC 2231), which HTTP has not, email's reader is not always a match
        raise Problem("media-type")
    parsed = Message()
    parsed["content-type"] = sent.decode("latin-1")
    charset = str(parsed.get_param("charset", "utf-8")).lower()
    if encoding not in ("", "identity") or charset not in ("utf-8", "utf8"):
        raise Problem("media-type")
    return parsed.get_content_type() if sent else ""


def too_large(limit: int) -> Problem:
    """Return the problem of a body of more than ``limit`` bytes."""
    return Problem("body-too-large", f"at most {limit} bytes", headers={"connection": "close"})


async def read(request: Request, limit: int) -> bytes:
    """Return the body.

    Args:
        request: The request, its body unread.
        limit: Bytes; one more is refused.

    Raises:
        Problem: Larger than ``limit``.
    """
    data = bytearray()
    stream = request.stream()
    async for chunk in stream:
        data += chunk
        if len(data) > limit:
            await _discard(stream)
            raise too_large(limit)
    return bytes(data)


async def _discard(stream: AsyncIterator[bytes]) -> None:
    received = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            async for chunk in stream:
                received += len(chunk)
                if received > LINGER_BYTES:
                    return

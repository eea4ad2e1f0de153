"""Reading a request's body: media type, size, and nothing else."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from email.message import Message

from starlette.requests import Request

from bedside_runtime.serve.problems import Problem

_LINGER_BYTES, _LINGER_SECONDS = 16 * 2**20, 2.0
"""How much of a body that is too large is still read, and thrown away, before the connection is closed."""


def media_type(request: Request) -> str:
    """Return the media type in lower case, empty where the request names none.

    Raises:
        Problem: A charset other than UTF-8, or a compressed body.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    parsed = Message()
    parsed["content-type"] = request.headers.get("content-type", "")
    charset = str(parsed.get_param("charset", "utf-8")).lower()
    if encoding not in ("", "identity") or charset not in ("utf-8", "utf8"):
        raise Problem("media-type")
    return parsed.get_content_type() if request.headers.get("content-type") else ""


async def read(request: Request, limit: int) -> bytes:
    """Return the body.

    A body that is too large is read on for a while and thrown away: a caller that is still sending would
    otherwise see its connection reset instead of the answer.

    Args:
        request: The request, its body unread.
        limit: Bytes; one more is refused.

    Raises:
        Problem: Larger than ``limit``, or empty.
    """
    data = bytearray()
    stream = request.stream()
    async for chunk in stream:
        data += chunk
        if len(data) > limit:
            await _discard(stream)
            raise Problem("body-too-large", f"at most {limit} bytes", headers={"connection": "close"})
    if not data:
        raise Problem("empty-body")
    return bytes(data)


async def _discard(stream: AsyncIterator[bytes]) -> None:
    received = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_SECONDS):
            async for chunk in stream:
                received += len(chunk)
                if received > _LINGER_BYTES:
                    return

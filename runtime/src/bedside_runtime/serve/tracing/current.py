"""The trace of the request that is being answered, for whoever has something to add to it. Knows no library."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Final, Protocol


class Trace(Protocol):
    """What is noted about one request.

    Attributes:
        id: Trace id, 32 hexadecimal characters.
        response: What the answer says in ``traceresponse`` (W3C Trace Context, level 3); empty for nothing.
    """

    id: str
    response: str

    def lap(self, name: str, since: int, until: int, rows: int | None = None) -> None:
        """Note a part of the request.

        Args:
            name: A fixed word.
            since: When it began, nanoseconds since the epoch.
            until: When it ended.
            rows: How many rows were computed together.
        """
        ...

    def validated(self) -> None:
        """Note that body and inputs are found to be good now."""
        ...

    def end(self, route: str, status: int) -> None:
        """Note the answer, and hand over what was noted."""
        ...


class Tracing(Protocol):
    """Begins traces."""

    def begin(self, method: str, head: Mapping[bytes, bytes], received: float) -> Trace:
        """Begin the trace of a request, as the current one.

        Args:
            method: As it came.
            head: Header fields, names in lower case; may carry on a caller's trace.
            received: When the head had arrived, seconds of `time.monotonic`.
        """
        ...

    async def close(self) -> None:
        """Send what waits, for a moment."""
        ...


CURRENT: Final[ContextVar[Trace | None]] = ContextVar("trace", default=None)
"""Each request is answered in a context of its own."""


def trace_id() -> str | None:
    """Return the id of the current trace."""
    trace = CURRENT.get()
    return trace.id if trace is not None else None

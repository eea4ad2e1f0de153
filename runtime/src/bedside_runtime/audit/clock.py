"""The two clocks of a record."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """UTC for people, and a clock that is never set for distances."""

    def utc(self) -> str:
        """Return now as ``2026-11-23T19:42:49.123456Z``."""
        ...

    def mono(self) -> int:
        """Return microseconds since some moment before the process began; never less than before."""
        ...


class SystemClock:
    """The clocks of the machine. The text of a second is made once."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def utc(self) -> str:
        """See `Clock`."""
        second, nanos = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            self._text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            self._second = second
        return f"{self._text}.{nanos // 1000:06d}Z"

    def mono(self) -> int:
        """See `Clock`."""
        return time.monotonic_ns() // 1000

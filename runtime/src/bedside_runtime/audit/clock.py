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
    """The clocks of the machine."""

    def utc(self) -> str:
        """See `Clock`."""
        return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def mono(self) -> int:
        """See `Clock`."""
        return time.monotonic_ns() // 1000

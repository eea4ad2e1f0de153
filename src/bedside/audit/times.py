"""Moments as people write them, as records write them. Pure."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from bedside.errors import UsageError

_AGO: Final = re.compile(r"([0-9]+)([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def moment(text: str, now: datetime) -> str:
    """Return a moment in the form that records have.

    Args:
        text: ISO 8601, a date or a date with a time, UTC where it names no offset; or how long ago, such as ``90m``.
        now: The present.

    Raises:
        UsageError: It is neither.
    """
    ago = _AGO.fullmatch(text)
    try:
        when = now - timedelta(**{_UNITS[ago[2]]: int(ago[1])}) if ago else datetime.fromisoformat(text)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    except (ValueError, OverflowError):
        raise UsageError(
            f"{text!r} is no time",
            remedy="Write 2026-11-25, 2026-11-25T22:06:41+01:00, or how long ago: 90m, 24h, 7d.",
        ) from None

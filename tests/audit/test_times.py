from datetime import UTC, datetime

import pytest

from bedside.audit.times import moment
from bedside.errors import UsageError

NOW = datetime(2026, 11, 26, 12, 0, 0, 500, UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-25", "2026-11-25T00:00:00.000000Z"),
        ("2026-11-25T22:06", "2026-11-25T22:06:00.000000Z"),
        ("2026-11-25T22:06:41.5Z", "2026-11-25T22:06:41.500000Z"),
        ("2026-11-25T22:06:41+01:00", "2026-11-25T21:06:41.000000Z"),
        ("90m", "2026-11-26T10:30:00.000500Z"),
        ("7d", "2026-11-19T12:00:00.000500Z"),
        ("24h", "2026-11-25T12:00:00.000500Z"),
        ("1s", "2026-11-26T11:59:59.000500Z"),
    ],
)
def test_a_moment_is_written_as_records_write_it(text: str, expected: str) -> None:
    assert moment(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "5w", "-1h", "99999999999d"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no time"):
        moment(text, NOW)

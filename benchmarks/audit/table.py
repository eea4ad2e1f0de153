"""The page: from what was measured to docs/benchmarks-audit.md. Pure."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TypeVar

from msgspec import Struct

from benchmarks.audit.committing import Committed
from benchmarks.audit.serving import Verified

_Item = TypeVar("_Item")
_MB: Final = 1_000_000
_GOAL_MB: Final = 50
_GOAL_READY: Final = 5.0

_HEAD: Final = """# Benchmarks: the audit log

`make bench-audit` writes this page anew. Every figure is the median of all rounds, with the least and the most; rounds
are interleaved. What a whole request costs with the log on is the business of the benchmark of serving.
"""

_COMMITTING: Final = """
## Durable records a second

Callers wait until their record is durable, then hand in the next one. *Log*: ready-made bodies into the log's own
thread. *Recorder*: as the service does it, coroutines on one event loop, body and HMAC made for each answer. *Raw*: the
very same writes and fdatasyncs into a file reserved in the same way, with nothing else: no chain, no hand-over. The
ratio says how much of raw is reached.
"""

_READING: Final = """
## Verification

`python -m bedside_runtime audit-verify` as a process of its own, its start included; sha256 reads and hashes the same
files, without a start.
"""

_STARTING: Final = """
## Ready after a crash

From the start of the process to its event `ready`, with the ICU example: libraries, model, golden cases, log. The
server was killed with SIGKILL each time; the end of the log is torn.
"""


class Measured(Struct, frozen=True):
    """Everything that the page shows.

    Attributes:
        machine: Of what it was measured on, one line.
        record: Bytes of one line of the log.
        size: Bytes of the large log.
        committed: By way and callers, one a round.
        verified: By way, one a round.
        ready: Seconds by log, one a round.
    """

    machine: str
    record: int
    size: int
    committed: Mapping[tuple[str, int], Sequence[Committed]]
    verified: Mapping[str, Sequence[Verified]]
    ready: Mapping[str, Sequence[float]]


def page(measured: Measured) -> str:
    """Return the page, ending in a newline."""
    lines = [_HEAD, measured.machine, _COMMITTING, *_committing(measured), _READING, *_reading(measured)]
    return "\n".join([*lines, _STARTING, *_starting(measured)]) + "\n"


def _committing(measured: Measured) -> Iterator[str]:
    yield f"A record is a line of {measured.record} bytes.\n"
    yield "| callers | way | records/s | raw, records/s | ratio | records a sync |"
    yield "|---|---|---|---|---|---|"
    for (way, callers), rounds in measured.committed.items():
        rate = _range(rounds, lambda item: item.records / item.seconds, ",.0f")
        raw = _range(rounds, lambda item: item.records / item.raw, ",.0f")
        ratio = _range(rounds, lambda item: item.raw / item.seconds, ".2f")
        group = statistics.median(item.records / item.groups for item in rounds)
        yield f"| {callers} | {way} | {rate} | {raw} | {ratio} | {group:.1f} |"


def _reading(measured: Measured) -> Iterator[str]:
    size = measured.size
    yield f"A signed log of {size / _MB:,.0f} MB. The goal is {_GOAL_MB} MB/s.\n"
    yield "| way | MB/s | MB a processor second | of sha256 alone | peak memory | verdict | goal |"
    yield "|---|---|---|---|---|---|---|"
    for way, rounds in measured.verified.items():
        rate = _range(rounds, lambda item: size / _MB / item.seconds, ",.0f")
        worked = _range(rounds, lambda item: size / _MB / item.processor_seconds, ",.0f")
        share = _range(rounds, lambda item: item.sha256_seconds / item.seconds, ".2f")
        peak = max(item.peak for item in rounds) / _MB
        reached = statistics.median(size / _MB / item.seconds for item in rounds) >= _GOAL_MB
        yield f"| {way} | {rate} | {worked} | {share} | {peak:.0f} MB | {rounds[0].verdict} | {_said(reached)} |"


def _starting(measured: Measured) -> Iterator[str]:
    yield f"The goal is {_GOAL_READY:g} s behind {measured.size / _MB:,.0f} MB.\n"
    yield "| log | seconds | goal |"
    yield "|---|---|---|"
    for name, rounds in measured.ready.items():
        reached = statistics.median(rounds) <= _GOAL_READY
        yield f"| {name} | {_range(rounds, lambda seconds: seconds, '.2f')} | {_said(reached)} |"


def _range(rounds: Sequence[_Item], value: Callable[[_Item], float], form: str) -> str:
    found = sorted(map(value, rounds))
    return f"{statistics.median(found):{form}} ({found[0]:{form}} to {found[-1]:{form}})"


def _said(reached: bool) -> str:
    return "reached" if reached else "**missed**"

"""From slices to figures: medians with their quartiles, ratios to the pacer, quotients of two of them. Pure."""

import statistics
from collections.abc import Callable, Iterable
from typing import TypeAlias

from msgspec import Struct

from benchmarks.results import Judged, Results, Run, Slice

Measure: TypeAlias = Callable[[Slice], float]
"""Finds one number in one slice."""


class Figure(Struct, frozen=True):
    """A median, with the quartiles below and above it."""

    median: float
    low: float
    high: float


def figure(values: Iterable[float]) -> Figure | None:
    """Return the median of ``values`` and their quartiles; ``None`` where there are none."""
    found = list(values)
    if len(found) < 2:
        return Figure(found[0], found[0], found[0]) if found else None
    low, median, high = statistics.quantiles(found, n=4, method="inclusive")
    return Figure(median, low, high)


def quotient(above: Figure | None, below: Figure | None) -> Figure | None:
    """Return the quotient of two medians. Its quartiles are the widest that those of both allow."""
    if above is None or below is None:
        return None
    return Figure(above.median / below.median, above.low / below.high, above.high / below.low)


# -- what a slice says; none is without answers (`load.run`)


def answers(slice_: Slice) -> float:
    """Good answers a second."""
    return slice_.load.per_second


def p50(slice_: Slice) -> float:
    """Milliseconds."""
    return slice_.load.p50 / 1000


def p99(slice_: Slice) -> float:
    """Milliseconds."""
    return slice_.load.p99 / 1000


def processor(slice_: Slice) -> float:
    """Microseconds of the server's processes an answer, user and system."""
    return slice_.server_seconds / slice_.load.requests * 1e6


# -- what a contender says


def own(judged: Iterable[Judged], what: Measure) -> Figure | None:
    """Return ``what`` of a contender's slices, as it was measured."""
    return figure(what(one.own) for one in judged)


def paced(judged: Iterable[Judged], what: Measure) -> Figure | None:
    """Return ``what`` of a contender's slices, each over the mean of the pacer's before and after it."""
    return figure(2 * what(one.own) / (what(one.before) + what(one.after)) for one in judged)


def start(results: Results, workload: str, contender: str) -> Figure | None:
    """Return the seconds to the first right answer."""
    return figure(run.start_seconds for run in results.of(workload, contender))


def memory(results: Results, workload: str, contender: str) -> Figure | None:
    """Return the resident MiB after the load."""
    return figure(run.memory / 2**20 for run in results.of(workload, contender))


def errors(runs: Iterable[Run]) -> int:
    """Count refused answers and broken connections in all slices of a contender, the disturbed ones as well."""
    loads = [one.load for run in runs for each in run.alternations for one in each.contender]
    return sum(load.refused + load.broken for load in loads)

"""What the benchmark is held to, as data. A target that is missed stays in the report as missed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from benchmarks.figures import Figure, Measure, answers, memory, p50, paced, quotient, start
from benchmarks.results import Results

PIPELINE: Final = "icu-mortality"
BOOSTER: Final = "breast-cytology"


@dataclass(frozen=True, slots=True)
class Target:
    """One sentence, and the number that it is about.

    Attributes:
        text: What is compared with what.
        bound: What must be reached.
        side: Whether ``bound`` is the least or the most.
        measured: Finds the number; ``None`` where not all that it needs was measured.
    """

    text: str
    bound: float
    side: Literal["at least", "at most"]
    measured: Callable[[Results], Figure | None]

    def reached(self, found: Figure) -> bool:
        """Whether the median is on the right side."""
        return found.median >= self.bound if self.side == "at least" else found.median <= self.bound


@dataclass(frozen=True, slots=True)
class Held:
    """One figure that tests/load notes.

    Attributes:
        name: As it is noted.
        text: What it is.
        bound: What must be reached.
        side: Whether ``bound`` is the least or the most.
    """

    name: str
    text: str
    bound: float
    side: Literal["at least", "at most"]

    def reached(self, found: float) -> bool:
        """Whether ``found`` is on the right side."""
        return found >= self.bound if self.side == "at least" else found <= self.bound


def _over_echo(above: str, connections: int) -> Callable[[Results], Figure | None]:
    return lambda results: paced(results.judged(PIPELINE, above, connections), answers)


def _over_guide(above: str, connections: int, what: Measure) -> Callable[[Results], Figure | None]:
    """The quotient of both one's ratio to the pacer, and the guide's."""
    return lambda results: quotient(
        *(paced(results.judged(PIPELINE, contender, connections), what) for contender in (above, "guide"))
    )


def _over_best(workload: str, connections: int) -> Callable[[Results], Figure | None]:
    """Of the proven engine, over the peer that answers most for each answer of the pacer; the guide's way is one."""

    def measured(results: Results) -> Figure | None:
        found = (paced(results.judged(workload, name, connections), answers) for name in _peers(results))
        best = max(filter(None, found), key=lambda one: one.median, default=None)
        return quotient(paced(results.judged(workload, "bedside", connections), answers), best)

    return measured


def _of_least(what: Callable[[Results, str, str], Figure | None], workload: str) -> Callable[[Results], Figure | None]:
    """Of bedside with its audit log, over the peer that needs least; the guide's way is one."""

    def measured(results: Results) -> Figure | None:
        found = (what(results, workload, name) for name in _peers(results))
        least = min(filter(None, found), key=lambda one: one.median, default=None)
        return quotient(what(results, workload, "bedside-audited"), least)

    return measured


def _peers(results: Results) -> Sequence[str]:
    return [*results.names("peer"), *results.names("guide")]


TARGETS: Final[Sequence[Target]] = (
    *(
        Target(f"proven engine over the best-set peer, {title}, {connections} connections", bound, "at least", measured)
        for title, workload, bound in (("pipeline", PIPELINE, 20.0), ("XGBoost", BOOSTER, 8.0))
        for connections in (16, 64)
        for measured in [_over_best(workload, connections)]
    ),
    *(
        Target(
            f"proven engine over the bare uvicorn echo, pipeline, {connections} connections",
            1.0,
            "at least",
            _over_echo("bedside", connections),
        )
        for connections in (16, 64)
    ),
    Target(
        "proven engine with the audit log over the bare uvicorn echo, pipeline, 64 connections",
        1.0,
        "at least",
        _over_echo("bedside-audited", 64),
    ),
    Target(
        "proven engine with the audit log over the bare uvicorn echo, pipeline, 16 connections",
        0.5,
        "at least",
        _over_echo("bedside-audited", 16),
    ),
    Target(
        "proven engine over the guide's way, pipeline, 16 connections",
        60.0,
        "at least",
        _over_guide("bedside", 16, answers),
    ),
    Target(
        "native engine over the guide's way, pipeline, 16 connections",
        5.0,
        "at least",
        _over_guide("bedside-native", 16, answers),
    ),
    Target(
        "p50 of one connection, proven engine over the guide's way, pipeline",
        0.05,
        "at most",
        _over_guide("bedside", 1, p50),
    ),
    *(
        Target(
            f"{text} with the audit log over the least of all peers, {title}", 1.0, "at most", _of_least(what, workload)
        )
        for text, what in (("start to the first right answer", start), ("resident memory", memory))
        for title, workload in (("pipeline", PIPELINE), ("XGBoost", BOOSTER))
    ),
)
"""In the order of the report."""

_TENFOLD: Final = "ten times the sustainable load"
_RESTART: Final = "rolling restart of two processes, endpoints up to 10 s late"

UNDER_DURESS: Final[Sequence[Held]] = (
    Held("overload_goodput_over_peak", f"{_TENFOLD}: answers over those at the peak", 0.9, "at least"),
    Held("overload_p99_over_unloaded", f"{_TENFOLD}: p99 of the admitted over that of a lone caller", 2.0, "at most"),
    Held("overload_refused_otherwise", f"{_TENFOLD}: refused without 503 or 429 and Retry-After", 0, "at most"),
    Held("overload_probe_p99_ms", f"{_TENFOLD}: p99 of the probes, ms", 100, "at most"),
    Held("overload_growth_mib", f"{_TENFOLD}: growth of the process, MiB", 16, "at most"),
    *(
        Held(f"slow_{what}_clients_p99_over_unloaded", f"500 slow {title}: p99 of others over that alone", 2, "at most")
        for what, title in (("header", "heads"), ("body", "bodies"), ("reader", "readers"))
    ),
    Held("restart_requests", f"{_RESTART}: requests", 100_000, "at least"),
    Held("restart_failed", f"{_RESTART}: failed", 0, "at most"),
    Held("restart_without_lag_failed", "the same without waiting for the endpoints: failed", 1, "at least"),
)
"""In the order of the report."""

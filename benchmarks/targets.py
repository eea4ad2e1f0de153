"""What the benchmark is held to, as data. A target that is missed stays in the report as missed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from benchmarks.results import Figure, Results, Run, figure, p50, ratio, throughput

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
        """Whether the median of all rounds is on the right side."""
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


def _over(above: str, below: str, workload: str, what: Callable[[Run], float]) -> Callable[[Results], Figure | None]:
    return lambda results: ratio(results.of(workload, above), results.of(workload, below), what)


def _over_best(above: str, workload: str, connections: int) -> Callable[[Results], Figure | None]:
    """Over the peer that answered most in the same round."""
    what = throughput(connections)

    def measured(results: Results) -> Figure | None:
        best = _extreme(results, workload, what, max)
        return figure(what(run) / best[run.round] for run in results.of(workload, above) if run.round in best)

    return measured


def _of_least(what: Callable[[Run], float], workload: str) -> Callable[[Results], Figure | None]:
    """Of bedside with its audit log, over the peer that needs least in the same round; the guide's way is one."""

    def measured(results: Results) -> Figure | None:
        least = _extreme(results, workload, what, min)
        return figure(
            what(run) / least[run.round] for run in results.of(workload, "bedside-audited") if run.round in least
        )

    return measured


def _extreme(
    results: Results, workload: str, what: Callable[[Run], float], which: Callable[[list[float]], float]
) -> dict[int, float]:
    rounds: dict[int, list[float]] = {}
    for name in [*results.names("peer"), *results.names("guide")]:
        for run in results.of(workload, name):
            rounds.setdefault(run.round, []).append(what(run))
    return {round_: which(values) for round_, values in rounds.items() if which(values)}


def _start(run: Run) -> float:
    return run.start_seconds


def _memory(run: Run) -> float:
    return float(run.memory)


TARGETS: Final[Sequence[Target]] = (
    *(
        Target(f"proven engine over the best-set peer, {title}, {connections} connections", bound, "at least", measured)
        for title, workload, bound in (("pipeline", PIPELINE, 20.0), ("XGBoost", BOOSTER, 8.0))
        for connections in (16, 64)
        for measured in [_over_best("bedside", workload, connections)]
    ),
    *(
        Target(
            f"proven engine over the bare uvicorn echo, pipeline, {connections} connections",
            1.0,
            "at least",
            _over("bedside", "echo", PIPELINE, throughput(connections)),
        )
        for connections in (16, 64)
    ),
    Target(
        "proven engine with the audit log over the bare uvicorn echo, pipeline, 64 connections",
        1.0,
        "at least",
        _over("bedside-audited", "echo", PIPELINE, throughput(64)),
    ),
    Target(
        "proven engine with the audit log over the bare uvicorn echo, pipeline, 16 connections",
        0.5,
        "at least",
        _over("bedside-audited", "echo", PIPELINE, throughput(16)),
    ),
    Target(
        "proven engine over the guide's way, pipeline, 16 connections",
        60.0,
        "at least",
        _over("bedside", "guide", PIPELINE, throughput(16)),
    ),
    Target(
        "native engine over the guide's way, pipeline, 16 connections",
        5.0,
        "at least",
        _over("bedside-native", "guide", PIPELINE, throughput(16)),
    ),
    Target(
        "p50 of one connection, proven engine over the guide's way, pipeline",
        0.05,
        "at most",
        _over("bedside", "guide", PIPELINE, p50(1)),
    ),
    *(
        Target(
            f"{text} with the audit log over the least of all peers, {title}", 1.0, "at most", _of_least(what, workload)
        )
        for text, what in (("start to the first right answer", _start), ("resident memory", _memory))
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

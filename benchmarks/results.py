"""What was measured, as values; written as JSON and read back."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from benchmarks.load import Load
from benchmarks.machine import Machine, Spent

CONNECTIONS: Final = (1, 16, 64)


class Point(Struct, frozen=True):
    """One load on one server.

    Attributes:
        connections: Requests that were always on their way.
        load: What the load tool says.
        server_seconds: Processor time of the server's processes meanwhile.
        machine: Who else used the machine.
    """

    connections: int
    load: Load
    server_seconds: float
    machine: Spent


class Run(Struct, frozen=True):
    """One start of one contender.

    Attributes:
        workload: What it served.
        contender: Its name.
        round: Which round of the whole field, from 0.
        start_seconds: From its start to its first right answer.
        memory: Resident bytes after the load, of all of its processes.
        points: One a number of connections.
    """

    workload: str
    contender: str
    round: int
    start_seconds: float
    memory: int
    points: tuple[Point, ...]


class Failure(Struct, frozen=True):
    """A contender that did not start, or answered wrongly; ``reason`` is a fixed sentence and the error's class."""

    workload: str
    contender: str
    reason: str


class Entry(Struct, frozen=True):
    """How a contender is named and set."""

    name: str
    title: str
    kind: str
    setting: str


class Results(Struct, frozen=True):
    """All that one call of the benchmark found out.

    Attributes:
        date: Day, ISO 8601.
        seconds: How long each load ran.
        quiet: Whether the machine was left alone.
        machine: What it is.
        workloads: Names and titles.
        field: Who took part.
        runs: Every start.
        failures: Who could not take part.
    """

    date: str
    seconds: float
    quiet: bool
    machine: Machine
    workloads: Mapping[str, str]
    field: tuple[Entry, ...]
    runs: tuple[Run, ...]
    failures: tuple[Failure, ...]

    def of(self, workload: str, contender: str) -> Sequence[Run]:
        """Return every start of ``contender``, in the order of the rounds."""
        return [run for run in self.runs if (run.workload, run.contender) == (workload, contender)]

    def names(self, kind: str) -> Sequence[str]:
        """Return who takes part as ``kind``."""
        return [entry.name for entry in self.field if entry.kind == kind]


class Figure(Struct, frozen=True):
    """The median of all rounds, with the least and the most."""

    median: float
    least: float
    most: float


def figure(values: Iterable[float]) -> Figure | None:
    """Return the median of ``values``; ``None`` where there are none."""
    found = sorted(values)
    return Figure(statistics.median(found), found[0], found[-1]) if found else None


def at(connections: int, what: Callable[[Point], float]) -> Callable[[Run], float]:
    """Return what finds ``what`` of the load with so many connections."""
    return lambda run: next(what(point) for point in run.points if point.connections == connections)


def throughput(connections: int) -> Callable[[Run], float]:
    """Good answers a second."""
    return at(connections, lambda point: point.load.per_second)


def p50(connections: int) -> Callable[[Run], float]:
    """Microseconds."""
    return at(connections, lambda point: point.load.p50)


def p99(connections: int) -> Callable[[Run], float]:
    """Microseconds."""
    return at(connections, lambda point: point.load.p99)


def ratio(above: Sequence[Run], below: Sequence[Run], what: Callable[[Run], float]) -> Figure | None:
    """Return ``what`` of one contender over that of another, round by round."""
    others = {run.round: run for run in below}
    return figure(
        what(run) / what(others[run.round]) for run in above if run.round in others and what(others[run.round])
    )


def write(results: Results, file: Path) -> None:
    """Write ``results`` as JSON that a review can read."""
    file.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")


def read(file: Path) -> Results:
    """Read what `write` wrote."""
    return msgspec.json.decode(file.read_bytes(), type=Results)

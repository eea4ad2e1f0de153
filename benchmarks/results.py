"""What was measured, as values; written as JSON and read back."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from benchmarks.load import Load
from benchmarks.machine import Machine, Spent

CONNECTIONS: Final = (1, 16, 64)

DISTURBED: Final = 0.10
"""Share of the processors that others, this machine's or the hypervisor's, may take while a slice is measured."""


class Slice(Struct, frozen=True):
    """One load on one server, a part of a second up to two.

    Attributes:
        load: What the load tool says.
        server_seconds: Processor time of the server's processes meanwhile.
        machine: Who else used the machine.
    """

    load: Load
    server_seconds: float
    machine: Spent

    def disturbed(self) -> bool:
        """Whether others took more of the machine than a figure bears."""
        return self.machine.others + self.machine.stolen > DISTURBED


class Judged(Struct, frozen=True):
    """A slice of a contender, and the pacer's before and after it."""

    own: Slice
    before: Slice
    after: Slice

    def disturbed(self) -> bool:
        """Whether one of the three was."""
        return self.own.disturbed() or self.before.disturbed() or self.after.disturbed()


class Alternation(Struct, frozen=True):
    """A contender beside the pacer at one number of connections: pacer, contender, pacer, contender, ..., pacer.

    Attributes:
        connections: Requests that were always on their way.
        pacer: The pacer's slices, one more than the contender's.
        contender: The contender's.
    """

    connections: int
    pacer: tuple[Slice, ...]
    contender: tuple[Slice, ...]

    def judged(self) -> list[Judged]:
        """Return every slice of the contender between its two of the pacer."""
        return [Judged(*three) for three in zip(self.contender, self.pacer[:-1], self.pacer[1:], strict=True)]


class Run(Struct, frozen=True):
    """One start of one contender.

    Attributes:
        workload: What it served.
        contender: Its name.
        round: Which round of the whole field, from 0.
        start_seconds: From its start to its first right answer.
        memory: Resident bytes after the load, of all of its processes.
        alternations: One a number of connections.
    """

    workload: str
    contender: str
    round: int
    start_seconds: float
    memory: int
    alternations: tuple[Alternation, ...]


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
        seconds: How long each contender was loaded at each number of connections, the slices together.
        quiet: Whether the machine was left alone at the start. Where it was not, disturbed slices count as well.
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

    def judged(self, workload: str, contender: str, connections: int) -> Sequence[Judged]:
        """Return the slices that count: all, but for the disturbed ones of a machine that was left alone."""
        alternations = [each for run in self.of(workload, contender) for each in run.alternations]
        slices = [one for each in alternations if each.connections == connections for one in each.judged()]
        return [one for one in slices if not (self.quiet and one.disturbed())]

    def names(self, kind: str) -> Sequence[str]:
        """Return who takes part as ``kind``."""
        return [entry.name for entry in self.field if entry.kind == kind]


def write(results: Results, file: Path) -> None:
    """Write ``results`` as JSON that a review can read."""
    file.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")


def read(file: Path) -> Results:
    """Read what `write` wrote."""
    return msgspec.json.decode(file.read_bytes(), type=Results)

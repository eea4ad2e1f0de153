"""The measuring: each contender started anew, proven right, and loaded in turn with the pacer, slice by slice."""

import contextlib
import http.client
import itertools
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import load, processes
from benchmarks.contenders import Contender, Place
from benchmarks.machine import Stopwatch
from benchmarks.processes import DidNotStart, Server
from benchmarks.results import Alternation, Failure, Run, Slice
from benchmarks.workloads import Patient, Workload, prepare

CHECKED: Final = 20
"""Patients whose answers are compared with the study before and after the load."""

_START_SECONDS: Final = 300.0
_POLL: Final = 0.01
_SLICE: Final = 0.25
"""Seconds of a slice: the speed of a shared machine hardly changes in so short a time."""

_LONGEST: Final = 2.0
"""Seconds of the slices of a slow contender."""

_TIMES: Final = 20
"""So many times its p50 a slice lasts, so that what is cut off at its end hardly counts, up to `_LONGEST`."""

_ANSWERS: Final = 100
"""And so long that about so many answers come, up to `_LONGEST`."""

_FEWEST: Final = 3
"""Slices of a contender at each number of connections, however long they are."""


class WrongAnswer(Exception):
    """A contender answers another probability than the study; it is not worth timing."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured.

    Attributes:
        pacer: Runs beside everybody.
        rounds: How often the whole field takes its turn.
        seconds: How long each contender is loaded at each number of connections, its slices together.
        warm_seconds: How long a load runs before, unmeasured.
        connections: Loads.
        tries: So many times the planned slices are taken at the most while others use the machine.
        cache: Where environments and releases are kept.
        scratch: Emptied and used.
    """

    pacer: Contender
    rounds: int
    seconds: float
    warm_seconds: float
    connections: tuple[int, ...]
    tries: int
    cache: Path
    scratch: Path


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the two that take turns: who it is, where it runs, what it is asked, how long its start took."""

    contender: Contender
    workload: Workload
    server: Server
    bodies: Path
    start_seconds: float


def measured(
    plan: Plan, field: Sequence[Contender], workloads: Sequence[Workload], on_turn: Callable[[str], None]
) -> Iterator[Run | Failure]:
    """Yield every run as it ends. Each round begins with another contender, so that none always follows the same.

    Args:
        plan: What is measured.
        field: Who takes part.
        workloads: What they serve.
        on_turn: Told whose turn it is.
    """
    out: set[tuple[str, str]] = set()
    models = {workload.name: _model(plan, workload) for workload in workloads}
    for round_, workload in itertools.product(range(plan.rounds), workloads):
        turn = round_ * len(field) // max(plan.rounds, 1)
        for contender in [*field[turn:], *field[:turn]]:
            who = workload.name, contender.name
            if who in out or contender.only not in (None, workload.name):
                continue
            on_turn(f"round {round_ + 1} of {plan.rounds}: {contender.name}, {workload.name}")
            try:
                yield _run(plan, contender, workload, models[workload.name], round_)
            except (DidNotStart, WrongAnswer, load.LoadFailed) as error:
                out.add(who)
                _keep(plan, *who)
                yield Failure(*who, f"{type(error).__name__}: {error}")


def prepared(plan: Plan, field: Sequence[Contender], workloads: Sequence[Workload]) -> Iterator[str]:
    """Make what each contender needs; yields who comes next."""
    for workload in workloads:
        model = _model(plan, workload)
        for contender in field:
            if contender.only in (None, workload.name):
                yield f"{contender.name}, {workload.name}"
                contender.command(_place(plan, "contender", workload, model))


def _model(plan: Plan, workload: Workload) -> Path:
    folder = plan.scratch / "models" / workload.name
    shutil.rmtree(folder, ignore_errors=True)
    prepare(workload, folder)
    return folder


def _run(plan: Plan, contender: Contender, workload: Workload, model: Path, round_: int) -> Run:
    # 1. Start the pacer, then the contender; ask each until its answer is right.
    # 2. Every answer is right.
    # 3. Warm; at each number of connections slices in turn.
    # 4. Weigh; every answer is still right.
    shutil.rmtree(plan.scratch / "turn", ignore_errors=True)
    with (
        _started(plan, "pacer", plan.pacer, workload, model) as pacer,  # 1
        _started(plan, "contender", contender, workload, model) as own,
    ):
        _check(own)  # 2
        _loaded(pacer, max(plan.connections), plan.warm_seconds)
        alternations = tuple(_alternated(plan, pacer, own, connections) for connections in plan.connections)  # 3
        memory = own.server.memory()  # 4
        _check(own)
    return Run(workload.name, contender.name, round_, own.start_seconds, memory, alternations)


@contextlib.contextmanager
def _started(plan: Plan, folder: str, contender: Contender, workload: Workload, model: Path) -> Iterator[_Side]:
    """Start one side. What it needs is made first, outside of all that is timed."""
    place = _place(plan, folder, workload, model)
    command = contender.command(place)
    bodies = place.scratch / "bodies"
    bodies.write_text("".join(json.dumps(contender.body(patient)) + "\n" for patient in workload.patients))
    began = time.monotonic()
    with processes.running(command, place.port, contender.path, place.scratch / "server.log") as server:
        _await(server, contender, workload)
        yield _Side(contender, workload, server, bodies, round(time.monotonic() - began, 3))


def _place(plan: Plan, folder: str, workload: Workload, model: Path) -> Place:
    scratch = plan.scratch / "turn" / folder
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    return Place(workload, model, scratch, plan.cache, processes.free_ports(3))


def _keep(plan: Plan, workload: str, contender: str) -> None:
    """Keep what was said by a contender that could not take part, and by the pacer beside it."""
    folder = plan.cache / "failed"
    folder.mkdir(parents=True, exist_ok=True)
    for log in (plan.scratch / "turn").glob("*/server.log"):
        shutil.copy(log, folder / f"{workload}-{contender}-{log.parent.name}.log")


# -- slices


def _alternated(plan: Plan, pacer: _Side, own: _Side, connections: int) -> Alternation:
    """Measure in turn until as many slices as planned were left alone, or so many more as is planned."""
    seconds = slice_seconds(_loaded(own, connections, plan.warm_seconds), connections)
    wanted = max(round(plan.seconds / seconds), _FEWEST)
    paces, slices = [_pace(pacer, own, connections)], list[Slice]()
    while len(slices) < plan.tries * wanted:
        slices.append(_slice(own, connections, seconds))
        paces.append(_pace(pacer, own, connections))
        found = Alternation(connections, tuple(paces), tuple(slices))
        if sum(not one.disturbed() for one in found.judged()) == wanted:
            break
    return found


def slice_seconds(warm: load.Load, connections: int) -> float:
    """Return how long the slices of a contender last that answered so while it was warmed."""
    return min(max(_SLICE, max(_TIMES, _ANSWERS / connections) * warm.p50 / 1e6), _LONGEST)


def _pace(pacer: _Side, own: _Side, connections: int) -> Slice:
    """Measure a slice of the pacer. The contender stands still: some are busy with nothing to do."""
    with own.server.paused():
        return _slice(pacer, connections, _SLICE)


def _slice(side: _Side, connections: int, seconds: float) -> Slice:
    _check(side, 1)
    watch, spent = Stopwatch(), side.server.cpu_seconds()
    measured_ = _loaded(side, connections, seconds)
    return Slice(measured_, round(side.server.cpu_seconds() - spent, 3), watch.spent())


def _loaded(side: _Side, connections: int, seconds: float) -> load.Load:
    url = f"http://127.0.0.1:{side.server.port}{side.server.path}"
    return load.run(url, side.bodies, connections, seconds)


# -- right answers


def _await(server: Server, contender: Contender, workload: Workload) -> None:
    """Ask about the first patient until the answer is right."""
    body = json.dumps(contender.body(workload.patients[0])).encode()
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if server.child.poll() is not None:
            raise DidNotStart(f"ended with {server.child.returncode}")
        try:
            wrong = _wrong(contender, workload, workload.patients[0], server.ask(body))
        except (OSError, http.client.HTTPException, ValueError):
            time.sleep(_POLL)
            continue
        if wrong:
            raise WrongAnswer(wrong)
        return
    raise DidNotStart(f"no answer after {_START_SECONDS:g} s")


def _check(side: _Side, count: int = CHECKED) -> None:
    for patient in side.workload.patients[:count]:
        body = json.dumps(side.contender.body(patient)).encode()
        try:
            wrong = _wrong(side.contender, side.workload, patient, side.server.ask(body))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise WrongAnswer(f"no answer: {type(error).__name__}") from error
        if wrong:
            raise WrongAnswer(wrong)


def _wrong(contender: Contender, workload: Workload, patient: Patient, answer: Any) -> str:  # noqa: ANN401 - decoded JSON
    """Return what is wrong with ``answer``; empty where it is right."""
    if contender.answered is None:
        return "" if answer == contender.body(patient) else "the echo is another"
    try:
        probability = contender.answered(answer)
    except (LookupError, TypeError, ValueError):
        return "the answer has another form"
    if not math.isclose(probability, patient.expected, rel_tol=0.0, abs_tol=workload.tolerance):
        return f"the probability differs by {abs(probability - patient.expected):.1g}"
    return ""

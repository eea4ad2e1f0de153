"""The measuring: round after round of the whole field, each contender started anew, proven right, warmed, loaded."""

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
from benchmarks.results import Failure, Point, Run
from benchmarks.workloads import Patient, Workload, prepare

CHECKED: Final = 20
"""Patients whose answers are compared with the study before and after the load."""

_START_SECONDS: Final = 300.0
_POLL: Final = 0.01
_DISTURBED: Final = 0.10
"""Share of the processors that others may use while something is measured."""


class WrongAnswer(Exception):
    """A contender answers another probability than the study; it is not worth timing."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured.

    Attributes:
        rounds: How often the whole field takes its turn.
        seconds: How long each load runs.
        warm_seconds: How long a load runs before, unmeasured.
        connections: Loads.
        tries: How often a load is repeated at the most while others use the machine.
        cache: Where environments and releases are kept.
        scratch: Emptied and used.
    """

    rounds: int
    seconds: float
    warm_seconds: float
    connections: tuple[int, ...]
    tries: int
    cache: Path
    scratch: Path


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
                contender.command(_place(plan, workload, model))


def _model(plan: Plan, workload: Workload) -> Path:
    folder = plan.scratch / "models" / workload.name
    shutil.rmtree(folder, ignore_errors=True)
    prepare(workload, folder)
    return folder


def _run(plan: Plan, contender: Contender, workload: Workload, model: Path, round_: int) -> Run:
    # 1. Make what is needed, outside of all that is timed.
    # 2. Start; ask until the answer is right.
    # 3. Warm; every answer is right, and nothing of the warming waits any more.
    # 4. Each load; disturbed ones again.
    # 5. Weigh; every answer is still right.
    place = _place(plan, workload, model)
    command = contender.command(place)  # 1
    bodies = place.scratch / "bodies"
    bodies.write_text("".join(json.dumps(contender.body(patient)) + "\n" for patient in workload.patients))
    began = time.monotonic()
    with processes.running(command, place.port, contender.path, place.scratch / "server.log") as server:  # 2
        _await(server, contender, workload)
        start_seconds = time.monotonic() - began
        load.run(_url(server), bodies, max(plan.connections), plan.warm_seconds)  # 3
        _check(server, contender, workload)
        points = tuple(_undisturbed(plan, server, bodies, connections) for connections in plan.connections)  # 4
        memory = server.memory()  # 5
        _check(server, contender, workload)
    return Run(workload.name, contender.name, round_, round(start_seconds, 3), memory, points)


def _place(plan: Plan, workload: Workload, model: Path) -> Place:
    scratch = plan.scratch / "turn"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    return Place(workload, model, scratch, plan.cache, processes.free_ports(3))


def _keep(plan: Plan, workload: str, contender: str) -> None:
    """Keep what a contender said that could not take part."""
    folder = plan.cache / "failed"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(plan.scratch / "turn" / "server.log", folder / f"{workload}-{contender}.log")


def _url(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}{server.path}"


def _undisturbed(plan: Plan, server: Server, bodies: Path, connections: int) -> Point:
    """Measure until nobody else used the machine meanwhile, or so often as is planned; the quietest counts."""
    points: list[Point] = []
    while len(points) < plan.tries and not (points and points[-1].machine.others <= _DISTURBED):
        points.append(_point(server, bodies, connections, plan.seconds))
    return min(points, key=lambda point: point.machine.others)


def _point(server: Server, bodies: Path, connections: int, seconds: float) -> Point:
    watch, spent = Stopwatch(), processes.cpu_seconds()
    measured_ = load.run(_url(server), bodies, connections, seconds)
    return Point(connections, measured_, round(processes.cpu_seconds() - spent, 3), watch.spent())


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


def _check(server: Server, contender: Contender, workload: Workload) -> None:
    for patient in workload.patients[:CHECKED]:
        body = json.dumps(contender.body(patient)).encode()
        try:
            wrong = _wrong(contender, workload, patient, server.ask(body))
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

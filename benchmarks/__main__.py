"""`python -m benchmarks`: measures the field, and writes the report."""

import argparse
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import beside, load, machine, processes, report, results
from benchmarks.contenders import Contender
from benchmarks.environments import PEERS, environment
from benchmarks.field import FIELD, PACER, QUICK
from benchmarks.machine import Stopwatch
from benchmarks.results import CONNECTIONS, Entry, Failure, Results, Run
from benchmarks.rounds import Plan, measured, prepared
from benchmarks.targets import PIPELINE
from benchmarks.workloads import Workload, workloads

ROOT: Final = Path(__file__).parents[1]
CACHE: Final = ROOT / ".bench"
PAGE: Final = ROOT / "docs" / "benchmarks.md"
FOLDER: Final = ROOT / "docs" / "benchmarks"

_BUSY: Final = 0.10
"""Share of the processors that others may use before nothing is measured."""

_LOOK_SECONDS: Final = 3.0
_TRIES: Final = 2
_ONE_THREAD: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_LIBRARIES: Final = ("numpy", "pandas", "scikit-learn", "xgboost-cpu")


def main(words: Sequence[str]) -> int:
    """Measure; returns the exit code: 0 done, 1 the machine is busy, 2 usage, 4 the load tool is missing."""
    asked = _arguments().parse_args(words)
    console = Console(stderr=True)
    try:
        load_tool = load.version()
    except load.LoadToolMissing as error:
        console.print(f"[red]{error}[/red]")
        return 4
    processes.adopt_orphans()
    os.environ["PATH"] = os.pathsep.join([f"{sys.base_prefix}/bin", os.environ["PATH"]])  # where uv finds this Python
    field, served = _chosen(asked)
    plan = Plan(PACER, asked.rounds, asked.seconds, asked.warm, CONNECTIONS, _TRIES, CACHE, CACHE / "scratch")
    _prepare(plan, field, served, console)
    if asked.prepare:
        return 0
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    quiet = _quiet(console)
    if not quiet and not asked.busy:
        return 1
    if not quiet:
        plan = replace(plan, tries=1)  # it would be busy again
    runs, failures = _measure(plan, field, served, console)
    found = Results(
        f"{datetime.now(UTC):%Y-%m-%d}",
        asked.seconds,
        quiet,
        machine.describe(load_tool, {name: installed(name) for name in _LIBRARIES}),
        {workload.name: workload.title for workload in served},
        tuple(Entry(one.name, one.title, one.kind, one.setting) for one in field),
        tuple(runs),
        tuple(failures),
    )
    _publish(found, write=asked.write)
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    names = ", ".join(contender.name for contender in FIELD)
    parser.add_argument("--prepare", action="store_true", help="make environments and releases, and measure nothing")
    parser.add_argument("--rounds", type=int, default=1, help="how often the whole field takes its turn")
    parser.add_argument(
        "--seconds",
        type=float,
        default=3,
        help="how long each is loaded at each number of connections, slices together",
    )
    parser.add_argument("--warm", type=float, default=1, help="how long a load runs before, unmeasured")
    parser.add_argument("--quick", action="store_true", help="a part of the field and one model, a second each")
    parser.add_argument("--only", default="", help=f"who takes part, separated by commas: {names}")
    parser.add_argument("--workload", default="", help="only this model")
    parser.add_argument("--busy", action="store_true", help="measure although others use the machine, and say so")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md and its data")
    return parser


def _chosen(asked: argparse.Namespace) -> tuple[list[Contender], list[Workload]]:
    if asked.quick:
        asked.rounds, asked.seconds, asked.workload = 1, 1, asked.workload or PIPELINE
    names = asked.only.split(",") if asked.only else QUICK if asked.quick else [one.name for one in FIELD]
    if unknown := set(names) - {one.name for one in FIELD}:
        raise SystemExit(f"nobody is called {', '.join(sorted(unknown))}")
    served = [one for one in workloads() if asked.workload in ("", one.name)]
    return [one for one in FIELD if one.name in names], served


def _quiet(console: Console) -> bool:
    """Look at the machine for a while, and say what is seen."""
    watch = Stopwatch()
    time.sleep(_LOOK_SECONDS)
    spent = watch.spent()
    if spent.others + spent.stolen <= _BUSY:
        return True
    seen = f"Others use {spent.others:.0%} of the processors, {spent.stolen:.0%} are stolen"
    console.print(
        f"[yellow]{seen} (load average {spent.load_average}): figures would say nothing. Stop what else runs, or "
        "measure all the same with --busy.[/yellow]"
    )
    return False


def _prepare(plan: Plan, field: Sequence[Contender], served: Sequence[Workload], console: Console) -> None:
    """Make environments and releases before anything is timed; what is there already stays."""
    for name in sorted({folder.name for folder in PEERS.iterdir() if folder.is_dir()}):
        if any(one.name.startswith(name) or (name, one.name) == ("echo", "protocol") for one in [*field, PACER]):
            console.print(f"environment of {name}", style="dim")
            environment(name, CACHE)
    for name in prepared(plan, field, served):
        console.print(name, style="dim")


def _measure(
    plan: Plan, field: Sequence[Contender], served: Sequence[Workload], console: Console
) -> tuple[list[Run], list[Failure]]:
    runs: list[Run] = []
    failures: list[Failure] = []
    turns = plan.rounds * sum(one.only in (None, workload.name) for one in field for workload in served)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=turns)
        for found in measured(plan, field, served, lambda turn: progress.update(task, description=turn)):
            progress.advance(task)
            if isinstance(found, Run):
                runs.append(found)
            else:
                failures.append(found)
                console.print(
                    f"[yellow]{found.contender}, {found.workload}: {found.reason}; see .bench/failed[/yellow]"
                )
    return runs, failures


def _publish(found: Results, *, write: bool) -> None:
    """Print the page, or write it; the data are kept either way."""
    CACHE.mkdir(exist_ok=True)
    results.write(found, CACHE / "results.json")
    if not write:
        sys.stdout.write(report.markdown(found, beside.read(FOLDER)))
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    shutil.copy(CACHE / "results.json", FOLDER / "results.json")
    (FOLDER / "throughput.svg").write_text(report.plot(found))
    PAGE.write_text(report.markdown(found, beside.read(FOLDER)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

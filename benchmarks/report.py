"""The report: from results to docs/benchmarks.md and its plot. Pure."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks.beside import Beside, Duress
from benchmarks.plot import Bar, Panel, svg
from benchmarks.results import CONNECTIONS, Entry, Figure, Results, Run, at, figure, p99, ratio, throughput
from benchmarks.targets import TARGETS, UNDER_DURESS

_METHOD: Final = Path(__file__).with_name("method.md")
_PLOTTED: Final = 16
"""Connections of the plot."""


def markdown(results: Results, beside: Beside) -> str:
    """Return the page."""
    parts = ["# Benchmarks", "", _METHOD.read_text().strip(), "", *_machine(results), *_targets(results)]
    parts += _duress(beside.duress) if beside.duress else []
    for name, title in results.workloads.items():
        parts += [f"## {title[:1].upper()}{title[1:]}", "", *_tables(results, name)]
    parts += [*_settings(results), *_failures(results)]
    parts += ["## Images", "", beside.images.strip(), ""] if beside.images else []
    return "\n".join(parts).rstrip() + "\n"


def plot(results: Results) -> str:
    """Return the plot of throughput."""
    panels = [Panel(title, _bars(results, name)) for name, title in results.workloads.items()]
    heading = (
        f"Predictions a second, {_PLOTTED} connections, two cores or as many as the machine has, one serving process"
    )
    return svg(heading, [panel for panel in panels if panel.bars])


def _bars(results: Results, workload: str) -> tuple[Bar, ...]:
    found = [(entry, figure(map(throughput(_PLOTTED), results.of(workload, entry.name)))) for entry in results.field]
    ordered = sorted(((entry, value) for entry, value in found if value), key=lambda pair: pair[1].median)
    return tuple(
        Bar(entry.title, entry.kind, value.median, value.least, value.most)
        for entry, value in ordered
        if value.median > 0
    )


# -- the parts of the page


def _machine(results: Results) -> list[str]:
    machine = results.machine
    rounds = 1 + max((run.round for run in results.runs), default=0)
    points = [point.machine for run in results.runs for point in run.points]
    others = max((spent.others for spent in points), default=0.0)
    stolen = max((spent.stolen for spent in points), default=0.0)
    here = (
        f"{machine.processor}, {machine.cores} cores, {machine.memory_gib} GiB, {machine.system}, "
        f"Linux {machine.kernel}, Python {machine.python}, {machine.load_tool}"
    )
    lines = [
        f"Measured on {results.date}: {here}; {rounds} rounds, {results.seconds:g} s a load.",
        f"Meanwhile others used {others:.0%} of the processors at the most, and {stolen:.0%} were stolen.",
        "",
    ]
    if not results.quiet:
        lines += ["**The machine was not left alone: read the ratios with care, and the figures not at all.**", ""]
    return [*lines, "![Predictions a second](benchmarks/throughput.svg)", ""]


def _targets(results: Results) -> list[str]:
    rows = []
    for target in TARGETS:
        found = target.measured(results)
        if found is not None:
            verdict = "reached" if target.reached(found) else "**missed**"
            rows.append([target.text, f"{target.side} {target.bound:g}", _spread(found, ".3g"), verdict])
    if not rows:
        return []
    head = ["ratio, of the same round", "goal", "measured (least to most)", ""]
    return ["## What it is held to", "", *_table(head, rows), ""]


def _duress(duress: Duress) -> list[str]:
    rows = []
    for held in UNDER_DURESS:
        found = duress.figures.get(held.name)
        if found is not None:
            verdict = "reached" if held.reached(found) else "**missed**"
            rows.append([held.text, f"{held.side} {held.bound:,g}", f"{found:,.6g}", verdict])
    how = (
        f"`make load`, measured on {duress.date}; load average of the machine, its own work included: "
        f"{duress.load_average:g}. One process around a model that takes 200 ms a call for up to 4 patients; "
        "callers and proxy run beside it."
    )
    head = ["what", "goal", "measured", ""]
    return ["## Under overload, slow clients and restarts", "", how, "", *_table(head, rows), ""]


def _tables(results: Results, workload: str) -> list[str]:
    entries = [entry for entry in results.field if results.of(workload, entry.name)]
    return [
        *_figures(results, workload, entries),
        *_ratios(results, workload, entries),
    ]


def _figures(results: Results, workload: str, entries: Sequence[Entry]) -> list[str]:
    loads = " / ".join(map(str, CONNECTIONS))
    head = [
        "server",
        f"answers a second, {loads}",
        f"p50 ms, {loads}",
        f"p99 ms, {loads}",
        "errors",
        "CPU µs",
        "start s",
        "MiB",
    ]
    rows = []
    for entry in entries:
        runs = results.of(workload, entry.name)
        rows.append(
            [
                entry.title,
                _each(runs, throughput, ",.0f"),
                _each(runs, lambda c: at(c, lambda point: point.load.p50 / 1000), ".2f"),
                _each(runs, lambda c: at(c, lambda point: point.load.p99 / 1000), ".2f"),
                f"{_errors(runs):,}",
                _median(
                    runs, at(_PLOTTED, lambda point: point.server_seconds / max(point.load.requests, 1) * 1e6), ",.0f"
                ),
                _median(runs, lambda run: run.start_seconds, ".2f"),
                _median(runs, lambda run: run.memory / 2**20, ",.0f"),
            ]
        )
    return [*_table(head, rows), ""]


def _ratios(results: Results, workload: str, entries: Sequence[Entry]) -> list[str]:
    loads = " / ".join(map(str, CONNECTIONS))
    head = [
        "server",
        f"answers over the echo's, {loads}",
        f"answers over the guide's, {loads}",
        f"p99 over the guide's, {loads}",
    ]
    rows = []
    for entry in entries:
        runs = results.of(workload, entry.name)
        over = [
            " / ".join(_over(ratio(runs, results.of(workload, other), what(c))) for c in CONNECTIONS)
            for other, what in (("echo", throughput), ("guide", throughput), ("guide", p99))
        ]
        rows.append([entry.title, *over])
    return [*_table(head, rows), ""]


def _settings(results: Results) -> list[str]:
    rows = [[entry.title, entry.setting] for entry in results.field]
    versions = ", ".join(f"{name} {version}" for name, version in sorted(results.machine.versions.items()))
    return [
        "## How each is set",
        "",
        *_table(["server", "setting"], rows),
        "",
        f"Everybody computes with {versions}.",
        "",
    ]


def _failures(results: Results) -> list[str]:
    if not results.failures:
        return []
    rows = [[item.contender, results.workloads[item.workload], item.reason] for item in results.failures]
    return ["## Who could not take part", "", *_table(["server", "model", "why"], rows), ""]


# -- words and numbers


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _each(runs: Sequence[Run], what: Callable[[int], Callable[[Run], float]], form: str) -> str:
    return " / ".join(_median(runs, what(connections), form) for connections in CONNECTIONS)


def _median(runs: Sequence[Run], what: Callable[[Run], float], form: str) -> str:
    try:
        found = figure(map(what, runs))
    except StopIteration:
        return "-"
    return format(found.median, form) if found else "-"


def _over(found: Figure | None) -> str:
    return format(found.median, ".3g") if found else "-"


def _spread(found: Figure, form: str) -> str:
    return f"{found.median:{form}} ({found.least:{form}} to {found.most:{form}})"


def _errors(runs: Sequence[Run]) -> int:
    return sum(point.load.refused + point.load.broken for run in runs for point in run.points)

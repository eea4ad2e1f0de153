"""The report: from results to docs/benchmarks.md and its plot. Pure."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks.beside import Beside, Duress
from benchmarks.figures import (
    Figure,
    Measure,
    answers,
    errors,
    figure,
    memory,
    own,
    p50,
    p99,
    paced,
    processor,
    quotient,
    start,
)
from benchmarks.plot import Bar, Panel, svg
from benchmarks.results import CONNECTIONS, DISTURBED, Entry, Judged, Results
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
    parts += [*_settings(results), *_failures(results), *_dropped(results)]
    parts += ["## Images", "", beside.images.strip(), ""] if beside.images else []
    return "\n".join(parts).rstrip() + "\n"


def plot(results: Results) -> str:
    """Return the plot of throughput over the pacer's."""
    panels = [Panel(title, _bars(results, name)) for name, title in results.workloads.items()]
    heading = (
        f"Predictions for each answer of the bare uvicorn echo beside, {_PLOTTED} connections, one serving process"
    )
    return svg(heading, [panel for panel in panels if panel.bars])


def _bars(results: Results, workload: str) -> tuple[Bar, ...]:
    found = [(entry, paced(results.judged(workload, entry.name, _PLOTTED), answers)) for entry in results.field]
    ordered = sorted(((entry, value) for entry, value in found if value), key=lambda pair: pair[1].median)
    return tuple(Bar(entry.title, entry.kind, value.median, value.low, value.high) for entry, value in ordered)


# -- the parts of the page


def _machine(results: Results) -> list[str]:
    machine = results.machine
    here = (
        f"{machine.processor}, {machine.cores} cores, {machine.memory_gib} GiB, {machine.system}, "
        f"Linux {machine.kernel}, Python {machine.python}, {machine.load_tool}"
    )
    lines = [f"Measured on {results.date}: {here}.", *_slices(results), ""]
    if not results.quiet:
        warning = "The machine was not left alone, and disturbed slices count: read the ratios with care"
        lines += [f"**{warning}, and the figures not at all.**", ""]
    return [*lines, "![Predictions over the echo's](benchmarks/throughput.svg)", ""]


def _slices(results: Results) -> list[str]:
    """Say how many slices there were, how many count, and how much the machine's speed changed meanwhile."""
    alternations = [each for run in results.runs for each in run.alternations]
    judged = [one for each in alternations for one in each.judged()]
    paces = [one for each in alternations if each.connections == _PLOTTED for one in each.pacer]
    rates = sorted(map(answers, paces))
    middle = figure(rates)
    if middle is None:
        return []
    disturbed = sum(one.disturbed() for one in judged)
    fate = "were dropped" if results.quiet else "were not dropped"
    taken = (
        f"{len(judged):,} slices of contenders, {results.seconds:g} s of each at each number of connections; "
        f"{disturbed:,} during which others took more than {DISTURBED:.0%} of the processors {fate}."
    )
    speed = (
        f"The pacer answered {middle.median:,.0f} a second at {_PLOTTED} connections, half of the time between "
        f"{middle.low:,.0f} and {middle.high:,.0f}, at the least {rates[0]:,.0f}, at the most {rates[-1]:,.0f}: "
        "so much did the speed of this machine change meanwhile."
    )
    return [taken, speed]


def _targets(results: Results) -> list[str]:
    rows = []
    for target in TARGETS:
        found = target.measured(results)
        verdict = "-" if found is None else "reached" if target.reached(found) else "**missed**"
        rows.append([target.text, f"{target.side} {target.bound:g}", _spread(found), verdict])
    head = ["ratio", "goal", "measured (quartiles)", ""]
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
    head = ["server", f"answers a second, {loads}", f"p50 ms, {loads}", f"p99 ms, {loads}", "errors"]
    head += [f"CPU µs an answer, {loads}", "start s", "MiB"]
    return [*_table(head, [_figures_of(results, workload, entry) for entry in entries]), ""]


def _figures_of(results: Results, workload: str, entry: Entry) -> list[str]:
    def each(what: Measure, form: str) -> str:
        return _each(lambda c: own(results.judged(workload, entry.name, c), what), form)

    return [
        entry.title,
        each(answers, ",.0f"),
        each(p50, ".2f"),
        each(p99, ".2f"),
        f"{errors(results.of(workload, entry.name)):,}",
        each(processor, ",.0f"),
        _median(start(results, workload, entry.name), ".2f"),
        _median(memory(results, workload, entry.name), ",.0f"),
    ]


def _ratios(results: Results, workload: str, entries: Sequence[Entry]) -> list[str]:
    loads = " / ".join(map(str, CONNECTIONS))
    head = ["server", *(f"answers over the echo's, {connections} (quartiles)" for connections in CONNECTIONS)]
    head += [f"{what} over the guide's, {loads}" for what in ("answers", "p50", "p99")]
    return [*_table(head, [_ratios_of(results, workload, entry) for entry in entries]), ""]


def _ratios_of(results: Results, workload: str, entry: Entry) -> list[str]:
    def over_guide(of: Callable[[Sequence[Judged], Measure], Figure | None], what: Measure) -> str:
        def both(connections: int) -> Figure | None:
            found = (of(results.judged(workload, name, connections), what) for name in (entry.name, "guide"))
            return quotient(*found)

        return _each(both, ".3g")

    return [
        entry.title,
        *(_spread(paced(results.judged(workload, entry.name, connections), answers)) for connections in CONNECTIONS),
        over_guide(paced, answers),
        over_guide(paced, p50),
        over_guide(own, p99),
    ]


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


def _dropped(results: Results) -> list[str]:
    """Name those of whom no slice counts: what is said of them above is not that they did not take part."""
    rows = [
        [entry.title, title, " / ".join(map(str, lost))]
        for name, title in results.workloads.items()
        for entry in results.field
        if results.of(name, entry.name) and (lost := _lost(results, name, entry.name))
    ]
    if not rows:
        return []
    why = "Others used the machine during each slice of these, so nothing that rests on one was measured: run it again."
    return ["## Who was disturbed all the time", "", why, "", *_table(["server", "model", "connections"], rows), ""]


def _lost(results: Results, workload: str, contender: str) -> list[int]:
    return [connections for connections in CONNECTIONS if not results.judged(workload, contender, connections)]


# -- words and numbers


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _each(what: Callable[[int], Figure | None], form: str) -> str:
    return " / ".join(_median(what(connections), form) for connections in CONNECTIONS)


def _median(found: Figure | None, form: str) -> str:
    return format(found.median, form) if found else "-"


def _spread(found: Figure | None) -> str:
    return f"{found.median:.3g} ({found.low:.3g} to {found.high:.3g})" if found else "not measured"

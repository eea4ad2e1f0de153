"""From results to ratios, targets, the page and its plot."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import msgspec
import pytest
from benchmarks.beside import Beside, Duress
from benchmarks.field import FIELD
from benchmarks.figures import Figure
from benchmarks.load import Load
from benchmarks.machine import Machine, Spent
from benchmarks.results import CONNECTIONS, Alternation, Entry, Failure, Results, Run, Slice
from benchmarks.targets import TARGETS

from benchmarks import beside, report, results, targets

MACHINE = Machine("a processor", 2, 24, "6.1", "Debian", "3.11.7", "wrk 4.1", {"numpy": "2.4"})
PIPELINE, BOOSTER = targets.PIPELINE, targets.BOOSTER


def slice_(per_second: float, others: float) -> Slice:
    load = Load(round(per_second * 5), 5_000_000, 0, 0, round(1e6 / per_second), 0, round(3e6 / per_second), 0)
    return Slice(load, 2.5, Spent(others, 0.0, 0.5))


def run(contender: str, *per_second: float, pace: float = 100, workload: str = PIPELINE, others: float = 0.01) -> Run:
    """So many answers in each slice, always beside the same pace."""
    pacer = tuple(slice_(pace, others) for _ in range(len(per_second) + 1))
    own = tuple(slice_(one, others) for one in per_second)
    alternations = tuple(Alternation(connections, pacer, own) for connections in CONNECTIONS)
    return Run(workload, contender, 0, 1.0, 100 * 2**20, alternations)


def starting(contender: str, seconds: float) -> Run:
    return msgspec.structs.replace(run(contender, 1), start_seconds=seconds)


def made(*runs: Run, quiet: bool = True, failures: tuple[Failure, ...] = ()) -> Results:
    field = tuple(Entry(one.name, one.title, one.kind, one.setting) for one in FIELD)
    titles = {PIPELINE: "pipeline", BOOSTER: "XGBoost"}
    return Results("2026-11-26", 5, quiet, MACHINE, titles, field, runs, failures)


def target(words: str) -> targets.Target:
    (found,) = [one for one in TARGETS if words in one.text]
    return found


def test_the_echo_s_target_is_the_ratio_to_the_pacer_not_to_the_echo_s_own_entry() -> None:
    found = made(run("bedside", 50, 100, 150), run("echo", 5))
    over = target("proven engine over the bare uvicorn echo, pipeline, 64")
    assert over.measured(found) == Figure(1.0, 0.75, 1.25)
    assert over.reached(Figure(1.0, 0.1, 1.0))
    assert not over.reached(Figure(0.99, 0.9, 9.0))


def test_two_contenders_are_compared_by_their_ratios_to_the_pacer() -> None:
    found = made(run("bedside", 1_000, pace=100), run("guide", 20, pace=200))  # ten times, and a tenth of the pace
    assert target("proven engine over the guide's way, pipeline, 16").measured(found) == Figure(100.0, 100.0, 100.0)
    p50 = target("p50 of one connection").measured(found)
    assert p50 is not None
    assert p50.median == pytest.approx(0.01)


def test_the_best_peer_by_the_pacer_counts_and_no_floor_does() -> None:
    found = made(
        run("bedside", 1_000),
        run("litserve", 40, pace=200),  # a fifth: it answered most only because the machine was fast
        run("mlserver", 25),
        run("guide", 10),
        run("echo", 5_000),
    )
    best = target("best-set peer, pipeline, 16")
    assert best.measured(found) == Figure(40.0, 40.0, 40.0)
    assert best.reached(Figure(20.0, 1.0, 30.0))
    assert not best.reached(Figure(19.9, 1.0, 30.0))


def test_the_start_is_compared_with_the_least_of_all_peers_the_guide_s_way_among_them() -> None:
    found = made(starting("bedside-audited", 2.0), starting("guide", 1.6), starting("mlserver", 4.0))
    start = target("start to the first right answer with the audit log over the least of all peers, pipeline")
    measured = start.measured(found)
    assert measured is not None
    assert measured.median == pytest.approx(1.25)
    assert not start.reached(measured)


def test_what_was_not_measured_is_no_target_of_this_run() -> None:
    assert all(one.measured(made(run("granian", 10))) is None for one in TARGETS)
    assert "best-set peer, XGBoost, 64 connections | at least 8 | not measured | - |" in report.markdown(
        made(), Beside()
    )


def test_a_target_whose_slices_were_all_disturbed_was_not_measured() -> None:
    found = made(run("bedside", 10, others=0.2))
    assert target("proven engine over the bare uvicorn echo, pipeline, 16").measured(found) is None
    page = report.markdown(found, Beside())
    assert "3 during which others took more than 10% of the processors were dropped" in page
    assert "| bedside, proven engine | pipeline | 1 / 16 / 64 |" in page
    assert "disturbed all the time" not in report.markdown(made(run("bedside", 10)), Beside())


def test_the_page_says_what_was_missed_who_failed_and_that_the_machine_was_busy() -> None:
    failure = Failure(BOOSTER, "rayserve", "DidNotStart: ended with 1")
    found = made(run("bedside", 50, others=0.3), run("guide", 10), quiet=False, failures=(failure,))
    page = report.markdown(found, Beside())
    assert "over the bare uvicorn echo, pipeline, 16 connections | at least 1 | 0.5 (0.5 to 0.5) | **missed** |" in page
    assert "was not left alone" in page
    assert "| rayserve | XGBoost | DidNotStart: ended with 1 |" in page
    assert "3 during which others took more than 10% of the processors were not dropped" in page
    assert "50 / 50 / 50" in page
    assert "5 / 5 / 5" in page


def test_the_page_holds_what_was_measured_under_duress_to_its_goals_and_shows_the_images() -> None:
    duress = Duress("2026-11-26", 1.5, {"restart_failed": 0, "overload_p99_over_unloaded": 2.5})
    page = report.markdown(made(run("bedside", 30)), Beside(duress, "| image | s |\n"))
    assert "endpoints up to 10 s late: failed | at most 0 | 0 | reached |" in page
    assert "p99 of the admitted over that of a lone caller | at most 2 | 2.5 | **missed** |" in page
    assert page.endswith("## Images\n\n| image | s |\n")


def test_the_plot_is_an_svg_with_a_bar_for_each_who_was_measured() -> None:
    root = ElementTree.fromstring(report.plot(made(run("bedside", 350), run("guide", 1), run("echo", 100))))
    labels = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"bedside, proven engine", "3.5", "0.01", "0.1", "1"} <= labels


def test_results_come_back_from_their_file_as_they_went(tmp_path: Path) -> None:
    found = made(run("bedside", 30), failures=(Failure(PIPELINE, "mlflow", "why"),))
    results.write(found, tmp_path / "results.json")
    assert results.read(tmp_path / "results.json") == found


def test_the_committed_page_and_plot_are_those_of_the_committed_data() -> None:
    folder = Path(report.__file__).parents[1] / "docs"
    if not (folder / "benchmarks" / "results.json").exists():
        pytest.skip("no results are committed yet")
    found = results.read(folder / "benchmarks" / "results.json")
    assert (folder / "benchmarks.md").read_text() == report.markdown(found, beside.read(folder / "benchmarks"))
    assert (folder / "benchmarks" / "throughput.svg").read_text() == report.plot(found)

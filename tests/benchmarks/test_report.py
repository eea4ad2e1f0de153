"""From results to ratios, targets, the page and its plot."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from benchmarks.beside import Beside, Duress
from benchmarks.field import FIELD
from benchmarks.load import Load
from benchmarks.machine import Machine, Spent
from benchmarks.results import CONNECTIONS, Entry, Failure, Figure, Point, Results, Run, ratio, throughput
from benchmarks.targets import TARGETS

from benchmarks import beside, report, results, targets

MACHINE = Machine("a processor", 2, 24, "6.1", "Debian", "3.11.7", "wrk 4.1", {"numpy": "2.4"})
PIPELINE, BOOSTER = targets.PIPELINE, targets.BOOSTER


def run(contender: str, per_second: float, *, round_: int = 0, workload: str = PIPELINE, start: float = 1.0) -> Run:
    load = Load(round(per_second * 5), 5_000_000, 0, 0, round(1e6 / per_second), 0, round(3e6 / per_second), 0)
    points = tuple(Point(connections, load, 2.5, Spent(0.01, 0.0, 0.5)) for connections in CONNECTIONS)
    return Run(workload, contender, round_, start, 100 * 2**20, points)


def made(*runs: Run, quiet: bool = True, failures: tuple[Failure, ...] = ()) -> Results:
    field = tuple(Entry(one.name, one.title, one.kind, one.setting) for one in FIELD)
    titles = {PIPELINE: "pipeline", BOOSTER: "XGBoost"}
    return Results("2026-11-26", 5, quiet, MACHINE, titles, field, runs, failures)


def target(words: str) -> targets.Target:
    (found,) = [one for one in TARGETS if words in one.text]
    return found


def test_a_ratio_is_taken_round_by_round() -> None:
    found = made(run("bedside", 300), run("echo", 100), run("bedside", 20, round_=1), run("echo", 10, round_=1))
    over = ratio(found.of(PIPELINE, "bedside"), found.of(PIPELINE, "echo"), throughput(16))
    assert over == Figure(2.5, 2.0, 3.0)


def test_the_best_peer_of_the_same_round_counts_and_no_floor_does() -> None:
    found = made(
        run("bedside", 1_000),
        run("litserve", 10),
        run("mlserver", 40),
        run("echo", 5_000),
        run("bedside", 1_000, round_=1),
        run("litserve", 20, round_=1),
        run("mlserver", 10, round_=1),
    )
    best = target("best-set peer, pipeline, 16")
    assert best.measured(found) == Figure(37.5, 25.0, 50.0)
    assert best.reached(Figure(20.0, 1.0, 30.0))
    assert not best.reached(Figure(19.9, 1.0, 30.0))


def test_the_start_is_compared_with_the_least_of_all_peers_the_guide_s_way_among_them() -> None:
    found = made(run("bedside-audited", 1, start=2.0), run("guide", 1, start=1.6), run("mlserver", 1, start=4.0))
    start = target("start to the first right answer with the audit log over the least of all peers, pipeline")
    measured = start.measured(found)
    assert measured is not None
    assert measured.median == pytest.approx(1.25)
    assert not start.reached(measured)


def test_what_was_not_measured_is_no_target_of_this_run() -> None:
    assert all(one.measured(made(run("bedside", 10))) is None for one in TARGETS)


def test_the_page_says_what_was_missed_who_failed_and_that_the_machine_was_busy() -> None:
    failure = Failure(BOOSTER, "rayserve", "DidNotStart: ended with 1")
    found = made(run("bedside", 30), run("guide", 10), run("echo", 60), quiet=False, failures=(failure,))
    page = report.markdown(found, Beside())
    assert "over the bare uvicorn echo, pipeline, 16 connections | at least 1 | 0.5 (0.5 to 0.5) | **missed** |" in page
    assert "was not left alone" in page
    assert "| rayserve | XGBoost | DidNotStart: ended with 1 |" in page
    assert "30 / 30 / 30" in page


def test_the_page_holds_what_was_measured_under_duress_to_its_goals_and_shows_the_images() -> None:
    duress = Duress("2026-11-26", 1.5, {"restart_failed": 0, "overload_p99_over_unloaded": 2.5})
    page = report.markdown(made(run("bedside", 30)), Beside(duress, "| image | s |\n"))
    assert "endpoints up to 10 s late: failed | at most 0 | 0 | reached |" in page
    assert "p99 of the admitted over that of a lone caller | at most 2 | 2.5 | **missed** |" in page
    assert page.endswith("## Images\n\n| image | s |\n")


def test_the_plot_is_an_svg_with_a_bar_for_each_who_was_measured() -> None:
    root = ElementTree.fromstring(report.plot(made(run("bedside", 30_000), run("guide", 100), run("echo", 20_000))))
    labels = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"bedside, proven engine", "30,000", "100", "10,000"} <= labels


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

"""From slices to figures: who is judged by whom, what is dropped, what is divided by what."""

import math

import pytest
from benchmarks.figures import Figure, answers, errors, figure, own, p50, paced, processor, quotient
from benchmarks.load import Load
from benchmarks.machine import Machine, Spent
from benchmarks.results import Alternation, Results, Run, Slice
from benchmarks.rounds import slice_seconds

MACHINE = Machine("a processor", 2, 24, "6.1", "Debian", "3.11.7", "wrk 4.1", {})


def slice_(per_second: int, *, others: float = 0.0, stolen: float = 0.0, refused: int = 0) -> Slice:
    load = Load(per_second * 2, 2_000_000, refused, 0, round(1e6 / per_second), 0, 0, 0)
    return Slice(load, 1.0, Spent(others, stolen, 0.5))


def alternation(pacer: list[Slice], contender: list[Slice], connections: int = 16) -> Alternation:
    return Alternation(connections, tuple(pacer), tuple(contender))


def made(*alternations: Alternation, quiet: bool = True) -> Results:
    run = Run("model", "bedside", 0, 1.0, 2**20, alternations)
    return Results("2026-11-26", 1, quiet, MACHINE, {"model": "model"}, (), (run,), ())


def test_a_slice_is_judged_by_the_mean_of_the_pacer_before_and_after_it() -> None:
    judged = alternation([slice_(100), slice_(300), slice_(500)], [slice_(100), slice_(800)]).judged()
    assert [(one.before.load.per_second, one.after.load.per_second) for one in judged] == [(100, 300), (300, 500)]
    assert paced(judged, answers) == Figure(1.25, 0.875, 1.625)  # 100 over 200, 800 over 400
    assert own(judged, answers) == Figure(450.0, 275.0, 625.0)


def test_a_machine_that_doubles_its_speed_leaves_the_ratio_as_it_is() -> None:
    judged = alternation([slice_(100), slice_(100), slice_(300)], [slice_(50), slice_(100)]).judged()
    assert paced(judged, answers) == Figure(0.5, 0.5, 0.5)
    assert paced(judged[:1], p50) == Figure(2.0, 2.0, 2.0)


def test_slices_without_a_pacer_on_both_sides_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        alternation([slice_(1)], [slice_(1)]).judged()


@pytest.mark.parametrize(
    "disturbed", [slice_(100, others=0.11), slice_(100, stolen=0.11), slice_(100, others=0.06, stolen=0.06)]
)
def test_a_slice_is_dropped_where_others_took_the_machine_during_it_or_the_pacer_beside(disturbed: Slice) -> None:
    still = slice_(100, others=0.05, stolen=0.05)
    for pacer, contender, left in (
        ([still, still, still], [disturbed, still], 1),
        ([disturbed, still, still], [still, still], 1),
        ([still, disturbed, still], [still, still], 0),
        ([still, still, still], [still, still], 2),
    ):
        assert len(made(alternation(pacer, contender)).judged("model", "bedside", 16)) == left


def test_nothing_is_dropped_on_a_machine_that_was_busy_from_the_start() -> None:
    busy = slice_(100, others=0.5)
    assert len(made(alternation([busy, busy], [busy]), quiet=False).judged("model", "bedside", 16)) == 1


def test_slices_of_other_connections_are_others() -> None:
    found = made(
        alternation([slice_(1), slice_(1)], [slice_(7)], 1), alternation([slice_(1), slice_(1)], [slice_(9)], 64)
    )
    assert paced(found.judged("model", "bedside", 64), answers) == Figure(9.0, 9.0, 9.0)
    assert not found.judged("model", "bedside", 16)
    assert not found.judged("model", "guide", 64)


def test_errors_of_dropped_slices_count() -> None:
    found = made(alternation([slice_(1), slice_(1)], [slice_(1, others=0.9, refused=3)]))
    assert errors(found.runs) == 3


def test_the_processor_s_time_is_shared_by_the_answers() -> None:
    assert processor(slice_(500)) == 1000.0  # a second for 1,000 answers


def test_a_figure_is_the_median_with_its_quartiles() -> None:
    assert figure([5, 1, 2, 4, 3]) == Figure(3, 2, 4)
    assert figure([7.0]) == Figure(7.0, 7.0, 7.0)
    assert figure([]) is None


def test_a_quotient_is_of_medians_and_as_wide_as_both_allow() -> None:
    assert quotient(Figure(6, 4, 8), Figure(2, 1, 4)) == Figure(3, 1, 8)
    assert quotient(None, Figure(2, 1, 4)) is None
    assert quotient(Figure(2, 1, 4), None) is None


@pytest.mark.parametrize(
    ("p50_ms", "connections", "seconds"),
    [(0.1, 1, 0.25), (10, 1, 1.0), (100, 1, 2.0), (25, 16, 0.5), (160, 16, 2.0), (80, 64, 1.6), (1000, 64, 2.0)],
)
def test_slices_last_until_enough_answers_came_and_nothing_of_weight_is_cut_off(
    p50_ms: float, connections: int, seconds: float
) -> None:
    warm = Load(1, 1, 0, 0, round(p50_ms * 1000), 0, 0, 0)
    assert math.isclose(slice_seconds(warm, connections), seconds)

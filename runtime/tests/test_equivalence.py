"""The proof of an engine: what is drawn, and what it catches."""

from collections.abc import Sequence

import pytest

from bedside_runtime import equivalence, golden
from bedside_runtime.adapters.predictor import Predictor
from bedside_runtime.contract import Input, Output, Row, Scalar
from bedside_runtime.errors import EquivalenceFailed, OutputInvalid
from bedside_runtime.inputs import compile_inputs
from contracts import INPUTS, OUTPUT, Logistic

PATIENT = {"age": 63, "temperature": 37.2, "lactate": 1.1, "admission": "Emergency", "ventilated": False}
(ROW,) = compile_inputs(INPUTS).rows([PATIENT])
CASE = golden.Case("one", ROW, Logistic().predict([ROW.cells])[0])


PLAIN = Output(name="mortality", type="probability", positive=1)


def prove(engine: Predictor, tolerance: float = 1e-9, output: Output = OUTPUT) -> equivalence.Proof:
    return equivalence.prove(Logistic(), engine, INPUTS, output, [CASE], tolerance)


def test_an_engine_that_answers_alike_is_proven_on_ten_thousand_inputs_and_the_golden_cases() -> None:
    seen: list[tuple[int, int]] = []
    proof = equivalence.prove(
        Logistic(), Logistic(), INPUTS, OUTPUT, [CASE], 1e-9, lambda done, count: seen.append((done, count))
    )
    assert (proof.inputs, proof.seed, proof.tolerance, proof.largest_difference) == (10_001, 1, 1e-9, 0.0)
    assert 0 < proof.borders <= 128
    assert seen[-1] == (10_001, 10_001)


class Changed:
    """Answers as the model, but for one thing."""

    def __init__(self, by: float = 0.0, when: str = "always") -> None:
        self.by, self.when = by, when

    def predict(self, rows: Sequence[Row]) -> Sequence[Scalar]:
        values = list(Logistic().predict(rows))
        changed = [
            float(value) + self.by
            if self.when == "always"
            or (self.when == "in a batch" and len(rows) > 1 and index == len(rows) - 1)
            or (self.when == "missing" and None in row)
            or (self.when == "oldest" and row[0] == max(INPUTS[0].valid or ()))
            else value
            for index, (row, value) in enumerate(zip(rows, values, strict=True))
        ]
        return [min(max(float(value), 0.0), 1.0) for value in changed]


@pytest.mark.parametrize("when", ["always", "in a batch", "missing", "oldest"])
def test_a_difference_is_caught_wherever_it_hides(when: str) -> None:
    with pytest.raises((EquivalenceFailed, golden.GoldenMismatch)):
        prove(Changed(1e-6, when))


def test_a_difference_within_the_tolerance_passes_and_is_recorded() -> None:
    proof = prove(Changed(-1e-12), output=PLAIN)
    assert 0 < proof.largest_difference <= 1.0001e-12


def test_rounding_that_decides_a_band_is_caught_at_its_edge() -> None:
    with pytest.raises(EquivalenceFailed, match="input 0 of the borders"):
        prove(Changed(-1e-12))


def test_another_band_is_caught_even_within_the_tolerance() -> None:
    with pytest.raises(EquivalenceFailed):
        prove(Changed(0.02, "missing"), tolerance=0.5)


def test_an_answer_that_cannot_be_is_no_proof() -> None:
    class Nowhere:
        def predict(self, rows: Sequence[Row]) -> Sequence[Scalar]:
            return [
                float("nan") if None in row else value
                for row, value in zip(rows, Logistic().predict(rows), strict=True)
            ]

    with pytest.raises(OutputInvalid):
        prove(Nowhere())


def test_the_reason_names_no_value_of_a_patient() -> None:
    with pytest.raises(EquivalenceFailed) as refused:
        prove(Changed(1e-6, "missing"))
    assert "input" in str(refused.value)
    assert "Emergency" not in str(refused.value)


def test_the_draw_covers_ends_categories_and_missing_values_and_is_always_the_same() -> None:
    drawn = equivalence.sample(INPUTS, [CASE], 2_000)
    assert drawn == equivalence.sample(INPUTS, [CASE], 2_000)
    for place, item in enumerate(INPUTS):
        cells = [row[place] for row in drawn]
        assert (None in cells) == (item.missing == "allow")
        if item.valid is not None:
            assert {min(c for c in cells if c is not None), max(c for c in cells if c is not None)} == set(item.valid)  # type: ignore[type-var]
        if item.type == "category":
            assert set(cells) - {None} == set(item.categories)
        if item.type == "boolean":
            assert set(cells) - {None} == {True, False}
        if item.type == "integer":
            assert all(type(cell) is int for cell in cells if cell is not None)


def test_an_input_without_a_range_is_drawn_around_the_golden_cases() -> None:
    free = (Input(name="x", type="number"), Input(name="n", type="integer"))
    output = Output(name="y", type="value")
    cases = golden.parse(
        b'{"id":"a","inputs":{"x":10,"n":5},"expected":1}\n{"id":"b","inputs":{"x":20,"n":5},"expected":1}',
        free,
        output,
    )
    drawn = equivalence.sample(free, cases, 500)
    assert min(row[0] for row in drawn) < 10 < 20 < max(row[0] for row in drawn)  # type: ignore[type-var,operator]
    assert len({row[1] for row in drawn}) > 3


def test_bits_that_depend_on_the_batch_are_seen() -> None:
    rows = equivalence.sample(INPUTS, [CASE], 50)
    assert equivalence.batch_invariant(Logistic(), rows)
    assert not equivalence.batch_invariant(Changed(1e-15, "in a batch"), rows)

"""The proof catches an engine that is wrong, wherever the error lies; and at a border the model itself answers."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from cohort import DIED, FRAME, MIXED, NUMBERS, PROBABILITY, STAY, WARD
from engine_cases import NAMES, TOLERANCE, cases, engine_and_native, logistic, mixed
from hypothesis import given
from hypothesis import strategies as st
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor
from xgboost import XGBClassifier

from bedside_runtime import borders, equivalence, golden
from bedside_runtime.adapters import edges, folded, folding, links
from bedside_runtime.adapters.features import Unfoldable
from bedside_runtime.adapters.steps import Declared
from bedside_runtime.contract import Band, Input, Output, Row, Scalar
from bedside_runtime.errors import EngineUnsuitable, EquivalenceFailed
from bedside_runtime.inputs import ValidRow

BANDS = (Band(name="low", below=0.2), Band(name="elevated", below=0.5), Band(name="high"))
BANDED = Output(name="mortality", type="probability", positive=1, bands=BANDS)


@pytest.fixture(autouse=True)
def _short_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw a tenth: a proof of all takes seconds, and packaging the examples makes it."""
    monkeypatch.setattr(equivalence, "INPUTS", 1_000)
    monkeypatch.setattr(equivalence, "ALONE", 8)
    monkeypatch.setattr(borders, "WALKS", 16)


def pipeline() -> Any:
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    return mixed(numbers, OneHotEncoder(), logistic(C=0.5)).fit(FRAME, DIED)


class Tampered:
    """A folded logistic engine, one thing of its sum changed."""

    def __init__(self, fitted: Any, change: Callable[[folded.Terms], Callable[[Row], float]]) -> None:
        followed = folding.pipeline(fitted, [item.name for item in MIXED], MIXED)
        (terms,) = folded._sums(followed.model, followed.columns, MIXED)
        self._sum = change(terms)

    def predict(self, asked: Sequence[Row]) -> Sequence[Scalar]:
        return [links.logistic(self._sum(row)) for row in asked]


def float32(sums: folded.Terms) -> folded.Terms:
    narrow = tuple((place, float(np.float32(slope))) for place, slope in sums.lines)
    return dataclasses.replace(sums, lines=narrow)


PLANTED: dict[str, Callable[[folded.Terms], Callable[[Row], float]]] = {
    "two inputs swapped": lambda sums: dataclasses.replace(
        sums, lines=tuple((one[0], two[1]) for one, two in zip(sums.lines, reversed(sums.lines), strict=True))
    ),
    "a scaler's offset left out": lambda sums: dataclasses.replace(sums, constant=sums.constant + 0.01),
    "coefficients in single precision": float32,
    "missing taken for zero": lambda sums: dataclasses.replace(
        sums, optional=tuple((place, slope, offset, offset) for place, slope, offset, _ in sums.optional)
    ),
    "another value for what is missing": lambda sums: dataclasses.replace(
        sums, optional=tuple((place, slope, offset, missing + 1e-6) for place, slope, offset, missing in sums.optional)
    ),
    "a category without its coefficient": lambda sums: dataclasses.replace(
        sums, tables=tuple((place, {**table, "Emergency": 0.0}) for place, table in sums.tables)
    ),
    "two categories swapped": lambda sums: dataclasses.replace(
        sums,
        tables=tuple((place, dict(zip(table, reversed(table.values()), strict=True))) for place, table in sums.tables),
    ),
    "a bound that ends a line too early": lambda sums: dataclasses.replace(
        sums,
        lines=sums.lines[1:],
        bounded=((sums.lines[0][0], sums.lines[0][1], 0.0, 0.0, -np.inf, 100.0),),
    ),
    "a boolean read the other way round": lambda sums: lambda row: sums((*row[:-1], not row[-1])),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_error_is_caught_by_the_proof(planted: str) -> None:
    fitted = pipeline()
    engine, native = engine_and_native("folded", fitted, MIXED, PROBABILITY)
    golden_cases = cases(native, MIXED)
    right = Tampered(fitted, lambda terms: terms)
    assert np.allclose(right.predict(_cells(golden_cases)), engine.predict(_cells(golden_cases)), rtol=0, atol=1e-12)
    wrong = Tampered(fitted, PLANTED[planted])
    differences = [golden.difference(case.expected, wrong.predict([case.row.cells])[0]) for case in golden_cases]
    few = [case for case, apart in zip(golden_cases, differences, strict=True) if apart <= TOLERANCE]
    with pytest.raises((EquivalenceFailed, golden.GoldenMismatch)):
        equivalence.prove(native, wrong, MIXED, PROBABILITY, few or golden_cases, TOLERANCE)


def _cells(golden_cases: Sequence[golden.Case]) -> list[Row]:
    return [case.row.cells for case in golden_cases]


def test_an_error_is_caught_by_the_draw_alone() -> None:
    """One golden case that the wrong engine answers rightly does not save it."""
    fitted = make_pipeline(SimpleImputer(), logistic()).fit(FRAME[NAMES].to_numpy(), DIED)
    engine, native = engine_and_native("folded", fitted, NUMBERS, PROBABILITY)

    class AtTheEdges:
        def predict(self, asked: Sequence[Row]) -> Sequence[Scalar]:
            return [0.5 if row[0] is None else value for row, value in zip(asked, engine.predict(asked), strict=True)]

    good = [case for case in cases(native, NUMBERS) if case.row.cells[0] is not None]
    with pytest.raises(EquivalenceFailed, match=r"answers \d+ of 10\d\d inputs otherwise") as refused:
        equivalence.prove(native, AtTheEdges(), NUMBERS, PROBABILITY, good, TOLERANCE)
    assert refused.value.exit_code == 1


class Tree:
    """A decision tree walked by hand, with a change to each threshold."""

    def __init__(self, tree: Any, change: Callable[[float], float], *, narrow: bool = True) -> None:
        self._tree, self._change, self._narrow = tree.tree_, change, narrow

    def predict(self, asked: Sequence[Row]) -> Sequence[Scalar]:
        return [self._walk(row) for row in asked]

    def _walk(self, row: Row) -> float:
        tree, node = self._tree, 0
        while tree.children_left[node] != -1:
            value = float(row[tree.feature[node]] or 0.0)
            value = float(np.float32(value)) if self._narrow else value
            left = value <= self._change(float(tree.threshold[node]))
            node = tree.children_left[node] if left else tree.children_right[node]
        return float(tree.value[node][0][0])


THRESHOLDS: dict[str, Callable[[Any], Tree]] = {
    "one value further": lambda tree: Tree(tree, lambda threshold: float(np.nextafter(np.float32(threshold), np.inf))),
    "moved by a hundred-thousandth": lambda tree: Tree(tree, lambda threshold: threshold + 1e-5),
    "doubles where the tree takes single precision": lambda tree: Tree(tree, lambda x: x, narrow=False),
}


@pytest.mark.parametrize("planted", THRESHOLDS)
def test_a_wrong_threshold_is_caught_where_a_draw_would_never_meet_it(planted: str) -> None:
    inputs = tuple(Input(name=item.name, type="number", valid=(0, 200)) for item in NUMBERS)
    output = Output(name="stay", type="value")
    fitted = DecisionTreeRegressor(max_depth=2).fit(FRAME[NAMES].fillna(1.0).to_numpy() + 1 / 3, STAY)
    right = Tree(fitted, lambda threshold: threshold)

    class Native:
        def predict(self, asked: Sequence[Row]) -> Sequence[Scalar]:
            return [float(value) for value in fitted.predict(np.array(asked, dtype=float))]

    one = [golden.Case("one", ValidRow((1.0, 40.0, 100.0)), right.predict([(1.0, 40.0, 100.0)])[0])]
    assert equivalence.prove(Native(), right, inputs, output, one, TOLERANCE).borders > 0
    wrong = THRESHOLDS[planted](fitted)
    with pytest.raises(EquivalenceFailed, match="of the borders"):
        equivalence.prove(Native(), wrong, inputs, output, one, TOLERANCE)


def test_single_precision_is_caught_at_the_edge_of_a_band_even_where_it_is_within_the_tolerance() -> None:
    fitted = pipeline()
    _, native = engine_and_native("folded", fitted, MIXED, BANDED)
    narrow = Tampered(fitted, lambda terms: lambda row: float(np.float32(terms(row))))
    golden_cases = cases(native, MIXED)
    with pytest.raises(EquivalenceFailed, match="of the borders"):
        equivalence.prove(native, narrow, MIXED, BANDED, golden_cases, 1e-5)
    guarded = edges.AtEdges(narrow.predict, lambda: native, BANDED, 1e-5)
    proof = equivalence.prove(native, guarded, MIXED, BANDED, golden_cases, 1e-5)
    assert proof.borders > 0
    assert 1e-9 < proof.largest_difference < 1e-5


class Counted:
    """A model that counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def predict(self, rows: Sequence[Row]) -> Sequence[Scalar]:
        self.asked.append(len(rows))
        return [0.75] * len(rows)


@pytest.mark.parametrize(
    ("value", "asked"), [(0.2, True), (0.2 + 1e-9, True), (0.2 - 1e-9, True), (0.2 + 1e-8, False), (0.9, False)]
)
def test_the_model_itself_answers_within_the_tolerance_of_an_edge_and_nowhere_else(value: float, asked: bool) -> None:
    model = Counted()
    engine = edges.AtEdges(lambda rows: [value] * len(rows), lambda: model, BANDED, 1e-9)
    assert engine.predict([(1,), (2,)]) == ([0.75, 0.75] if asked else [value, value])
    assert model.asked == ([1, 1] if asked else [])


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=5, unique=True), st.floats(0, 2), st.data())
def test_edges_whose_surroundings_touch_leave_no_gap(below: list[float], tolerance: float, data: st.DataObject) -> None:
    bands = (*(Band(name=f"b{number}", below=edge) for number, edge in enumerate(sorted(below))), Band(name="last"))
    ends = [edge + side * 2 * tolerance for edge in below for side in (-1, 1)]
    value = data.draw(st.floats(-10, 10) | st.sampled_from(ends))
    near = any(edge - 2 * tolerance <= value <= edge + 2 * tolerance for edge in below)
    model = Counted()
    output = Output(name="v", type="value", bands=bands)
    edges.AtEdges(lambda _: [value], lambda: model, output, tolerance).predict([(1,)])
    assert bool(model.asked) == near


@pytest.mark.parametrize(
    ("value", "cell", "asked"), [(0.9, 5, False), (0.2, 5, True), (0.9, 11, True), (0.9, None, False)]
)
def test_where_the_model_itself_is_asked_there_is_no_answer_at_once(
    value: float, cell: int | None, asked: bool
) -> None:
    model = Counted()
    engine = edges.AtEdges(lambda rows: [value] * len(rows), lambda: model, BANDED, 1e-9, [(0, -10.0, 10.0)])
    others = None if value == 0.2 else value
    assert engine.at_once([(5,), (cell,)]) == [others, None if asked else value]
    assert model.asked == []


def test_beyond_what_the_proof_drew_the_model_itself_answers() -> None:
    inputs = (Input(name="load", type="number"), Input(name="count", type="number"))
    table = np.random.default_rng(3).random((200, 2)) * [100, 5]
    fitted = make_pipeline(StandardScaler(), LinearRegression()).fit(table, table @ [0.01, 0.3])
    output = Output(name="v", type="value", bands=(Band(name="low", below=1.0), Band(name="high")))
    engine, native = engine_and_native("folded", fitted, inputs, output)
    golden_cases = [golden.Case("0", ValidRow((50.0, 2.0)), native.predict([(50.0, 2.0)])[0])]
    far = (1e12, -3.33333333e10)
    assert engine.predict([far]) != native.predict([far])
    engine, _ = engine_and_native("folded", fitted, inputs, output, drawn=equivalence.drawn(inputs, golden_cases))
    assert engine.predict([far]) == native.predict([far])


def test_a_label_that_a_sum_cannot_tell_is_the_model_s_own() -> None:
    fitted = make_pipeline(SimpleImputer(), StandardScaler(), logistic()).fit(FRAME[NAMES], WARD)
    output = Output(name="ward", type="class")
    engine, native = engine_and_native("folded", fitted, NUMBERS, output)
    proof = equivalence.prove(native, engine, NUMBERS, output, cases(native, NUMBERS), 0.0)
    assert proof.borders > 0
    unguarded = edges.AtEdges(
        lambda rows: [value or "general" for value in engine._computes(rows)],  # type: ignore[attr-defined]
        lambda: native,
        output,
        0.0,
    )
    with pytest.raises(EquivalenceFailed, match="of the borders"):
        equivalence.prove(native, unguarded, NUMBERS, output, cases(native, NUMBERS), 0.0)


def test_the_trees_of_a_booster_are_all_counted() -> None:
    fitted = XGBClassifier(n_estimators=12, max_depth=2).fit(FRAME[NAMES], DIED)
    _, native = engine_and_native("booster", fitted, NUMBERS, PROBABILITY)

    class OneLess:
        def predict(self, asked: Sequence[Row]) -> Sequence[Scalar]:
            table = np.array(asked, dtype=float)
            values: list[Scalar] = fitted.get_booster().inplace_predict(table, iteration_range=(0, 11)).tolist()
            return values

    with pytest.raises((EquivalenceFailed, golden.GoldenMismatch)):
        equivalence.prove(native, OneLess(), NUMBERS, PROBABILITY, cases(native, NUMBERS)[:1], TOLERANCE)


def test_folding_is_refused_for_what_the_author_wrote() -> None:
    with pytest.raises(Unfoldable, match="not scikit-learn's own"):
        folding.follow(Tampered.__new__(Tampered), (), Declared(MIXED))

    class Mine(LinearRegression):
        pass

    with pytest.raises(EngineUnsuitable, match="not scikit-learn's own"):
        engine_and_native("folded", Mine().fit(FRAME[NAMES].fillna(1.0), STAY), NUMBERS, Output(name="s", type="value"))

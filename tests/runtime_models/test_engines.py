"""Engines answer as the model itself, or are refused with the reason."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from cohort import CLASS, DIED, FRAME, MIXED, NUMBERS, PROBABILITY, STAY, VALUE, WARD, rows
from lightgbm import LGBMClassifier
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import ElasticNet, LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)
from xgboost import XGBClassifier, XGBRegressor

from bedside_runtime import equivalence, golden
from bedside_runtime.adapters import columns, engines, estimators, folded
from bedside_runtime.adapters.folding import Unfoldable
from bedside_runtime.adapters.opened import bind
from bedside_runtime.adapters.predictor import Predictor
from bedside_runtime.contract import EngineName, Input, Model, Output, Row, Scalar
from bedside_runtime.errors import EngineUnsuitable, EquivalenceFailed
from bedside_runtime.inputs import ValidRow

NAMES = [item.name for item in NUMBERS]
TOLERANCE = 1e-9


logistic = functools.partial(LogisticRegression, max_iter=20_000)


@pytest.fixture(autouse=True)
def _short_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw a tenth: a proof of all takes seconds, and packaging the examples makes it."""
    monkeypatch.setattr(equivalence, "INPUTS", 1_000)


def mixed(numbers: Any, categories: Any, model: Any, **more: Any) -> Pipeline:
    parts = [("numbers", numbers, NAMES), ("ward", categories, ["admission"]), ("flag", "passthrough", ["ventilated"])]
    return Pipeline([("columns", ColumnTransformer(parts, **more)), ("model", model)])


def engine_and_native(
    name: EngineName, fitted: Any, inputs: Sequence[Input], output: Output
) -> tuple[Predictor, Predictor]:
    opened = estimators.Model(fitted)
    features = columns.match(opened.names, opened.count, inputs)
    layout = opened.layout(inputs)
    model = Model(framework="sklearn", format="joblib", artifact="m", features=features, layout=layout)
    engine = engines.build(name, opened, model, inputs, output)
    return engine, bind(opened, layout, features, inputs, output, None)


def cases(native: Predictor, inputs: Sequence[Input]) -> list[golden.Case]:
    cells = rows(inputs)[:20]
    return [golden.Case(str(n), ValidRow(row), native.predict([row])[0]) for n, row in enumerate(cells)]


def proven(
    name: EngineName, fitted: Any, inputs: Sequence[Input], output: Output, tolerance: float = TOLERANCE
) -> float:
    engine, native = engine_and_native(name, fitted, inputs, output)
    proof = equivalence.prove(native, engine, inputs, output, cases(native, inputs), tolerance)
    assert proof.inputs == equivalence.INPUTS + 20
    assert equivalence.batch_invariant(engine, rows(inputs))
    return proof.largest_difference


IMPUTERS: list[Callable[[], Any]] = [
    lambda: SimpleImputer(strategy="median"),
    lambda: SimpleImputer(strategy="constant", fill_value=-1.5),
    lambda: SimpleImputer(strategy="most_frequent"),
]
SCALERS: list[Callable[[], Any]] = [
    StandardScaler,
    lambda: StandardScaler(with_mean=False),
    lambda: StandardScaler(with_std=False),
    RobustScaler,
    MaxAbsScaler,
    MinMaxScaler,
    lambda: "passthrough",
]
ENCODERS: list[Callable[[], Any]] = [
    lambda: OneHotEncoder(handle_unknown="ignore"),
    lambda: OneHotEncoder(drop="first", sparse_output=False),
    lambda: OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    lambda: make_pipeline(OrdinalEncoder(), StandardScaler()),
    lambda: "drop",
]


@pytest.mark.parametrize(("imputer", "scaler"), list(itertools.product(IMPUTERS, SCALERS)))
@pytest.mark.parametrize("order", ["impute first", "scale first"])
def test_folded_numbers_answer_as_the_pipeline(imputer: Any, scaler: Any, order: str) -> None:
    steps = [imputer(), scaler()] if order == "impute first" else [scaler(), imputer()]
    fitted = mixed(make_pipeline(*steps), OneHotEncoder(), logistic(C=0.5)).fit(FRAME, DIED)
    assert proven("folded", fitted, MIXED, PROBABILITY) < 1e-12


@pytest.mark.parametrize("encoder", ENCODERS)
def test_folded_categories_answer_as_the_pipeline(encoder: Any) -> None:
    fitted = mixed(make_pipeline(SimpleImputer(), StandardScaler()), encoder(), logistic()).fit(FRAME, DIED)
    assert proven("folded", fitted, MIXED, PROBABILITY) < 1e-12


@pytest.mark.parametrize(
    ("model", "target", "output"),
    [
        (logistic(), DIED, PROBABILITY),
        (logistic(), DIED, None),
        (logistic(solver="liblinear"), DIED, PROBABILITY),
        (logistic(), WARD, CLASS),
        (logistic(), WARD, Output(name="p", type="probability", positive="cardiac")),
        (logistic(), DIED, Output(name="p", type="class")),
        (LinearRegression(), STAY, VALUE),
        (Ridge(), STAY, VALUE),
        (ElasticNet(), STAY, VALUE),
    ],
)
def test_folded_models_answer_as_they_do(model: Any, target: Any, output: Output | None) -> None:
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    fitted = mixed(numbers, OneHotEncoder(), model).fit(FRAME, target)
    assert proven("folded", fitted, MIXED, output or Output(name="alive", type="probability", positive=0)) < 1e-9


def test_a_pipeline_that_takes_an_array_is_folded() -> None:
    fitted = make_pipeline(SimpleImputer(), StandardScaler(), logistic()).fit(FRAME[NAMES].to_numpy(), DIED)
    assert proven("folded", fitted, NUMBERS, PROBABILITY) < 1e-12


def test_columns_may_be_chosen_by_place_mask_slice_and_left_to_the_remainder() -> None:
    chosen = ColumnTransformer(
        [("a", SimpleImputer(), [0]), ("b", StandardScaler(), slice(1, 2)), ("c", MinMaxScaler(), [False, False, True])]
    )
    fitted = make_pipeline(chosen, logistic()).fit(FRAME[NAMES], DIED)
    assert proven("folded", fitted, NUMBERS, PROBABILITY) < 1e-12
    left = ColumnTransformer([("a", SimpleImputer(), ["lactate"])], remainder=StandardScaler())
    fitted = make_pipeline(left, logistic()).fit(FRAME[NAMES], DIED)
    assert proven("folded", fitted, NUMBERS, PROBABILITY) < 1e-12


@pytest.mark.parametrize("kind", [XGBClassifier, LGBMClassifier])
def test_the_booster_inside_a_wrapper_answers_as_the_wrapper(kind: Any) -> None:
    quiet = {"verbose": -1} if kind is LGBMClassifier else {}
    fitted = kind(n_estimators=20, max_depth=3, **quiet).fit(FRAME[NAMES], DIED)
    assert proven("booster", fitted, NUMBERS, PROBABILITY) <= 1e-12


def test_a_regressor_of_boosted_trees_is_asked_directly() -> None:
    fitted = XGBRegressor(n_estimators=20).fit(FRAME[NAMES], STAY)
    assert proven("booster", fitted, NUMBERS, VALUE) == 0.0


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        (PolynomialFeatures(), "PolynomialFeatures is not among"),
        (FunctionTransformer(np.nan_to_num), "runs a function"),
        (SimpleImputer(add_indicator=True), "adds indicators"),
        (make_pipeline(SimpleImputer(), MinMaxScaler(clip=True)), "clips"),
        (FeatureUnion([("a", SimpleImputer())]), "FeatureUnion"),
    ],
)
def test_what_cannot_be_folded_is_said(numbers: Any, reason: str) -> None:
    fitted = mixed(numbers, OneHotEncoder(), logistic()).fit(FRAME.fillna(1.0), DIED)
    with pytest.raises(EngineUnsuitable, match=reason):
        engine_and_native("folded", fitted, MIXED, PROBABILITY)


def test_a_model_that_is_not_linear_is_not_folded() -> None:
    forest = RandomForestClassifier(5).fit(FRAME[NAMES].fillna(1.0), DIED)
    with pytest.raises(EngineUnsuitable, match="RandomForestClassifier is not among"):
        engine_and_native("folded", forest, NUMBERS, PROBABILITY)


def test_a_missing_value_that_would_reach_the_model_is_not_folded() -> None:
    fitted = mixed(StandardScaler(), OneHotEncoder(), logistic()).fit(FRAME.fillna(1.0), DIED)
    with pytest.raises(EngineUnsuitable, match="a missing value reaches"):
        engine_and_native("folded", fitted, MIXED, PROBABILITY)


def test_a_category_that_the_encoder_refuses_is_not_folded() -> None:
    wider = tuple(
        Input(name="admission", type="category", categories=("Elective", "Emergency", "Urgent"))
        if item.name == "admission"
        else item
        for item in MIXED
    )
    fitted = mixed(SimpleImputer(), OneHotEncoder(handle_unknown="error"), logistic()).fit(FRAME, DIED)
    with pytest.raises(EngineUnsuitable, match="refuses values"):
        engine_and_native("folded", fitted, wider, PROBABILITY)


# -- planted errors: the proof must see each of them


def terms(engine: Predictor) -> Any:
    """The sum of a folded logistic engine, to be tampered with."""
    return engine._answer.__closure__[0].cell_contents  # type: ignore[attr-defined]


class Tampered:
    def __init__(self, change: Callable[[Any], Any], engine: Predictor) -> None:
        self._sum = change(terms(engine))

    def predict(self, asked: Sequence[Row]) -> Sequence[Scalar]:
        return [folded.logistic(self._sum(row)) for row in asked]


def float32(sums: Any) -> Any:
    narrow = tuple((place, float(np.float32(slope))) for place, slope in sums.lines)
    return dataclasses.replace(sums, lines=narrow)


PLANTED: dict[str, Callable[[Any], Any]] = {
    "two inputs swapped": lambda sums: dataclasses.replace(
        sums, lines=tuple((one[0], two[1]) for one, two in zip(sums.lines, reversed(sums.lines), strict=True))
    ),
    "a scaler's offset left out": lambda sums: dataclasses.replace(sums, constant=sums.constant + 0.01),
    "coefficients in single precision": float32,
    "missing taken for zero": lambda sums: dataclasses.replace(
        sums, optional=tuple((place, slope, offset, offset) for place, slope, offset, _ in sums.optional)
    ),
    "a category without its coefficient": lambda sums: dataclasses.replace(
        sums, tables=tuple((place, {**table, "Emergency": 0.0}) for place, table in sums.tables)
    ),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_error_is_caught_by_the_proof(planted: str) -> None:
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    fitted = mixed(numbers, OneHotEncoder(), logistic(C=0.5)).fit(FRAME, DIED)
    engine, native = engine_and_native("folded", fitted, MIXED, PROBABILITY)
    golden_cases = cases(native, MIXED)
    assert equivalence.prove(native, engine, MIXED, PROBABILITY, golden_cases, TOLERANCE).inputs
    wrong = Tampered(PLANTED[planted], engine)
    few = [case for case in golden_cases if wrong.predict([case.row.cells])[0] == case.expected]
    with pytest.raises((EquivalenceFailed, golden.GoldenMismatch)):
        equivalence.prove(native, wrong, MIXED, PROBABILITY, few or golden_cases, TOLERANCE)


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


def test_folding_is_refused_for_what_the_author_wrote() -> None:
    with pytest.raises(Unfoldable, match="not scikit-learn's own"):
        folded.folding.follow(Tampered, ())

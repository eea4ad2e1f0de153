"""The folded engine answers as scikit-learn does, for every step and model that it lists; the rest is refused."""

import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cohort import CLASS, DIED, FRAME, MIXED, NUMBERS, PROBABILITY, STAY, VALUE, WARD
from engine_cases import NAMES, engine_and_native, logistic, mixed, proven
from sklearn.base import is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import SelectFromModel, SelectKBest, VarianceThreshold
from sklearn.frozen import FrozenEstimator
from sklearn.impute import KNNImputer, MissingIndicator, SimpleImputer
from sklearn.linear_model import (
    GammaRegressor,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    RidgeClassifier,
    SGDClassifier,
    TweedieRegressor,
)
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import LinearSVC, LinearSVR
from sklearn.utils import all_estimators

from bedside_runtime import borders, equivalence, golden
from bedside_runtime.adapters import links, steps
from bedside_runtime.contract import Band, Input, Output
from bedside_runtime.errors import EngineUnsuitable
from bedside_runtime.inputs import ValidRow

CHAPTER = Path(__file__).parents[2] / "docs" / "architecture" / "16-engines.md"
MIXES = 40
DEATH = Output(name="p", type="probability", positive=1, bands=(Band(name="low", below=0.2), Band(name="high")))


@pytest.fixture(autouse=True)
def _short_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw little: a proof of all takes seconds, and packaging the examples makes it."""
    monkeypatch.setattr(equivalence, "INPUTS", 300)
    monkeypatch.setattr(equivalence, "ALONE", 4)
    monkeypatch.setattr(borders, "WALKS", 0)  # they have tests of their own


IMPUTERS: dict[str, Callable[[], Any]] = {
    "mean": SimpleImputer,
    "median": lambda: SimpleImputer(strategy="median"),
    "most frequent": lambda: SimpleImputer(strategy="most_frequent"),
    "constant": lambda: SimpleImputer(strategy="constant", fill_value=-1.5),
    "mean, with indicator": lambda: SimpleImputer(add_indicator=True),
    "beside an indicator": lambda: FeatureUnion([("i", SimpleImputer()), ("m", MissingIndicator())]),
}
SCALERS: dict[str, Callable[[], Any]] = {
    "standard": StandardScaler,
    "standard without mean": lambda: StandardScaler(with_mean=False),
    "standard without deviation": lambda: StandardScaler(with_std=False),
    "robust": RobustScaler,
    "robust over other quantiles": lambda: RobustScaler(quantile_range=(10, 90)),
    "robust without centre": lambda: RobustScaler(with_centering=False),
    "largest absolute": MaxAbsScaler,
    "smallest and largest": MinMaxScaler,
    "smallest and largest, elsewhere": lambda: MinMaxScaler((-3, 5)),
    "clipped": lambda: MinMaxScaler(clip=True),
    "clipped, then scaled": lambda: make_pipeline(MinMaxScaler((1, 2), clip=True), StandardScaler()),
    "none": lambda: "passthrough",
    "selected": lambda: VarianceThreshold(0.01),
}
ENCODERS: dict[str, Callable[[], Any]] = {
    "one-hot": OneHotEncoder,
    "one-hot, unknown ignored": lambda: OneHotEncoder(handle_unknown="ignore"),
    "one-hot without the first": lambda: OneHotEncoder(drop="first", sparse_output=False),
    "one-hot, one of two": lambda: OneHotEncoder(drop="if_binary"),
    "one-hot, rare ones together": lambda: OneHotEncoder(min_frequency=29, handle_unknown="infrequent_if_exist"),
    "one-hot, at most one": lambda: OneHotEncoder(max_categories=1, handle_unknown="infrequent_if_exist"),
    "ordinal": OrdinalEncoder,
    "ordinal, unknown apart": lambda: OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    "ordinal, unknown imputed": lambda: make_pipeline(
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan), SimpleImputer()
    ),
    "ordinal, scaled": lambda: make_pipeline(OrdinalEncoder(), StandardScaler()),
    "target": lambda: TargetEncoder(cv=3),
    "left out": lambda: "drop",
}
MODELS: dict[str, tuple[Callable[[], Any], Any, Output]] = {
    "logistic": (logistic, DIED, DEATH),
    "logistic, of class 0": (logistic, DIED, Output(name="alive", type="probability", positive=0)),
    "logistic, label": (logistic, DIED, Output(name="died", type="class")),
    "logistic, liblinear": (lambda: logistic(solver="liblinear"), DIED, DEATH),
    "logistic, lasso": (lambda: logistic(solver="saga", l1_ratio=1.0, max_iter=300), DIED, DEATH),
    "multinomial, label": (logistic, WARD, CLASS),
    "multinomial": (logistic, WARD, Output(name="p", type="probability", positive="cardiac")),
    "discriminant": (LinearDiscriminantAnalysis, DIED, DEATH),
    "discriminant of several": (
        LinearDiscriminantAnalysis,
        WARD,
        Output(name="p", type="probability", positive="general"),
    ),
    "stochastic": (lambda: SGDClassifier(loss="log_loss", alpha=0.1, random_state=0), DIED, DEATH),
    "stochastic of several": (
        lambda: SGDClassifier(loss="log_loss", alpha=1.0, random_state=0),
        WARD,
        Output(name="p", type="probability", positive="geriatric"),
    ),
    "stochastic, huber": (lambda: SGDClassifier(loss="modified_huber", alpha=1.0, random_state=0), DIED, DEATH),
    "hinge, label": (lambda: SGDClassifier(random_state=0), WARD, CLASS),
    "support vectors, label": (lambda: LinearSVC(max_iter=100_000), DIED, Output(name="died", type="class")),
    "ridge, label": (RidgeClassifier, WARD, CLASS),
    "calibrated": (lambda: CalibratedClassifierCV(logistic(), cv=3), DIED, DEATH),
    "calibrated, of class 0": (
        lambda: CalibratedClassifierCV(logistic(), cv=3),
        DIED,
        Output(name="a", type="probability", positive=0),
    ),
    "calibrated, label": (lambda: CalibratedClassifierCV(logistic(), cv=3), DIED, Output(name="died", type="class")),
    "calibrated support vectors": (lambda: CalibratedClassifierCV(LinearSVC(max_iter=100_000), cv=3), DIED, DEATH),
    "calibrated as one": (lambda: CalibratedClassifierCV(logistic(), cv=3, ensemble=False), DIED, DEATH),
    "searched": (lambda: GridSearchCV(logistic(), {"C": [0.1, 1.0]}, cv=3), DIED, DEATH),
    "linear": (LinearRegression, STAY, VALUE),
    "support vector regression": (lambda: LinearSVR(max_iter=100_000), STAY, VALUE),
    "poisson": (lambda: PoissonRegressor(max_iter=10_000), STAY, VALUE),
    "gamma": (lambda: GammaRegressor(max_iter=10_000), STAY, VALUE),
    "tweedie": (lambda: TweedieRegressor(power=1.5, max_iter=10_000), STAY, VALUE),
    "tweedie, normal": (lambda: TweedieRegressor(power=0, max_iter=10_000), STAY, VALUE),
}


def combinations() -> list[tuple[str, str, str, str, bool, str]]:
    """A fixed mix in which every part stands at least once, beside others of every kind."""
    draw = random.Random(11)
    columns = [_repeated(draw, list(parts)) for parts in (IMPUTERS, SCALERS, ENCODERS, MODELS)]
    rest = [(index % 2 == 0, ("passthrough", "drop")[index % 3 == 0]) for index in range(MIXES)]
    return [(*parts, *more) for *parts, more in zip(*columns, rest, strict=True)]


def _repeated(draw: random.Random, names: list[str]) -> list[str]:
    found: list[str] = []
    while len(found) < MIXES:
        found += draw.sample(names, len(names))
    return found[:MIXES]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("imputer", "scaler", "encoder", "model", "impute_first", "flag"), combinations())
def test_any_combination_answers_as_the_pipeline(
    imputer: str, scaler: str, encoder: str, model: str, impute_first: bool, flag: str
) -> None:
    build, goal, output = MODELS[model]
    numbers = [IMPUTERS[imputer](), SCALERS[scaler]()]
    ordered = numbers if impute_first or scaler == "selected" else numbers[::-1]
    kind = ENCODERS[encoder]()
    if encoder == "target" and goal is WARD:
        kind = OneHotEncoder()
    fitted = mixed(make_pipeline(*ordered, MaxAbsScaler()), kind, build(), flag).fit(FRAME, goal)
    assert proven("folded", fitted, MIXED, output) < 1e-9


def test_the_combinations_hold_every_part() -> None:
    imputers, scalers, encoders, models, orders, flags = (set(part) for part in zip(*combinations(), strict=True))
    assert (imputers, scalers, encoders, models) == (set(IMPUTERS), set(SCALERS), set(ENCODERS), set(MODELS))
    assert (orders, flags) == ({True, False}, {"passthrough", "drop"})
    assert len(set(combinations())) == MIXES


REFUSED = {
    "MultiTaskElasticNet",
    "MultiTaskElasticNetCV",
    "MultiTaskLasso",
    "MultiTaskLassoCV",
    "RANSACRegressor",
    "SGDOneClassSVM",
}
"""Of scikit-learn's linear models, those that are not folded."""


@pytest.mark.parametrize(
    ("name", "kind"), [found for found in all_estimators() if ".linear_model." in found[1].__module__]
)
@pytest.mark.filterwarnings("ignore")
def test_every_linear_model_of_scikit_learn_is_folded_or_refused_by_name(name: str, kind: Any) -> None:
    model = kind(**({"max_iter": 500} if kind().get_params().get("max_iter") else {}))
    goal = DIED if is_classifier(model) else STAY
    numbers = FRAME[NAMES].fillna(1.0).to_numpy() / 100
    if name.startswith("MultiTask"):
        goal = np.column_stack([STAY, STAY])
    fitted = model.fit(numbers, goal)
    inputs = tuple(Input(name=item.name, type=item.type) for item in NUMBERS)
    output = Output(name="died", type="class") if is_classifier(model) else VALUE
    if name in REFUSED:
        with pytest.raises(EngineUnsuitable, match=f"{name} is not among"):
            engine_and_native("folded", fitted, inputs, output)
    else:
        engine, native = engine_and_native("folded", fitted, inputs, output)
        (row,) = numbers[:1].tolist()
        answered, expected = engine.predict([tuple(row)])[0], native.predict([tuple(row)])[0]
        assert golden.difference(expected, answered) < 1e-9


def test_the_chapter_names_every_step_and_model_that_is_folded() -> None:
    text = CHAPTER.read_text(encoding="utf-8")
    known = {*steps.STEPS, *links.MODELS, "Pipeline", "ColumnTransformer", "FeatureUnion", "CalibratedClassifierCV"}
    assert {name for name in known if f"`{name}`" not in text} == set()


def test_a_pipeline_that_takes_an_array_is_folded() -> None:
    fitted = make_pipeline(SimpleImputer(), StandardScaler(), logistic()).fit(FRAME[NAMES].to_numpy(), DIED)
    assert proven("folded", fitted, NUMBERS, PROBABILITY) < 1e-12


@pytest.mark.parametrize(
    "chosen",
    [
        ColumnTransformer(
            [
                ("a", SimpleImputer(), [0]),
                ("b", StandardScaler(), slice(1, 2)),
                ("c", MinMaxScaler(), [False, False, True]),
            ]
        ),
        ColumnTransformer([("a", SimpleImputer(), ["lactate"])], remainder=StandardScaler()),
        ColumnTransformer([("a", SimpleImputer(), slice("lactate", "age"))], remainder="passthrough"),
        ColumnTransformer([("a", SimpleImputer(), make_column_selector("lac"))], remainder="drop"),
        ColumnTransformer([("a", SimpleImputer(), [-3])], remainder=MinMaxScaler(), transformer_weights={"a": 2.0}),
    ],
)
def test_columns_may_be_chosen_in_every_way_and_left_to_the_remainder(chosen: ColumnTransformer) -> None:
    fitted = make_pipeline(chosen, logistic()).fit(FRAME[NAMES], DIED)
    assert proven("folded", fitted, NUMBERS, PROBABILITY) < 1e-12


@pytest.mark.parametrize(
    "selection",
    [SelectKBest(k=3), SelectFromModel(LogisticRegression(C=0.1))],
)
def test_features_may_be_selected(selection: Any) -> None:
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    union = FeatureUnion([("once", numbers), ("twice", numbers)], transformer_weights={"twice": 0.5})
    fitted = make_pipeline(union, selection, logistic()).fit(FRAME[NAMES], DIED)
    assert proven("folded", fitted, NUMBERS, PROBABILITY) < 1e-12


def test_an_integer_of_a_declared_range_may_be_a_category() -> None:
    scored = Input(name="gcs", type="integer", valid=(3, 15), missing="allow")
    table = FRAME[["lactate"]].fillna(1.0).assign(gcs=np.arange(60) % 11 + 3.0)
    table.loc[::7, "gcs"] = np.nan
    coded = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    parts = ColumnTransformer([("code", coded, ["gcs"])], remainder="passthrough")
    fitted = make_pipeline(parts, logistic()).fit(table, DIED)
    inputs = (Input(name="lactate", type="number", valid=(0, 20)), scored)
    engine, native = engine_and_native("folded", fitted, inputs, PROBABILITY)
    one = golden.Case("one", ValidRow((1.0, 7)), native.predict([(1.0, 7)])[0])
    assert equivalence.prove(native, engine, inputs, PROBABILITY, [one], 1e-9).inputs
    with pytest.raises(EngineUnsuitable, match="no closed set"):
        engine_and_native("folded", fitted, (inputs[0], Input(name="gcs", type="integer")), PROBABILITY)


def test_a_calibrated_pipeline_is_folded_to_its_end() -> None:
    def inner() -> Any:
        return mixed(make_pipeline(SimpleImputer(), StandardScaler()), OneHotEncoder(), logistic())

    fitted = CalibratedClassifierCV(inner(), cv=3).fit(FRAME, DIED)
    assert proven("folded", fitted, MIXED, DEATH) < 1e-12
    frozen = CalibratedClassifierCV(FrozenEstimator(inner().fit(FRAME, DIED))).fit(FRAME, DIED)
    assert proven("folded", frozen, MIXED, DEATH) < 1e-12


def test_a_gentle_isotonic_calibration_is_folded_and_a_steep_one_refused() -> None:
    numbers = make_pipeline(SimpleImputer(), StandardScaler(), logistic(C=0.01))
    noisy = np.where(np.arange(60) % 4 == 0, 1 - DIED, DIED)
    fitted = CalibratedClassifierCV(numbers, method="isotonic", cv=3).fit(FRAME[NAMES], noisy)
    assert proven("folded", fitted, NUMBERS, PROBABILITY) < 1e-9
    for part in fitted.calibrated_classifiers_:
        part.calibrators[0].X_thresholds_ = np.array([0.0, 1e-6])
        part.calibrators[0].y_thresholds_ = np.array([0.1, 0.9])
    with pytest.raises(EngineUnsuitable, match="so steeply"):
        engine_and_native("folded", fitted, NUMBERS, PROBABILITY)


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        (PolynomialFeatures(), "PolynomialFeatures is not among"),
        (PowerTransformer(), "PowerTransformer is not among"),
        (KBinsDiscretizer(quantile_method="averaged_inverted_cdf"), "KBinsDiscretizer is not among"),
        (KNNImputer(), "KNNImputer is not among"),
        (FunctionTransformer(np.nan_to_num), "runs a function"),
        (SimpleImputer(missing_values=-1), "another number than NaN"),
        (make_pipeline(SimpleImputer(), OneHotEncoder(handle_unknown="ignore")), "no closed set"),
    ],
)
def test_what_cannot_be_folded_is_said(numbers: Any, reason: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = mixed(numbers, OneHotEncoder(), logistic()).fit(FRAME.fillna(1.0), DIED)
    with pytest.raises(EngineUnsuitable, match=reason):
        engine_and_native("folded", fitted, MIXED, PROBABILITY)


def test_a_model_that_is_not_linear_is_not_folded() -> None:
    forest = RandomForestClassifier(5).fit(FRAME[NAMES].fillna(1.0), DIED)
    with pytest.raises(EngineUnsuitable, match="RandomForestClassifier is not among"):
        engine_and_native("folded", forest, NUMBERS, PROBABILITY)
    calibrated = CalibratedClassifierCV(RandomForestClassifier(5), cv=2).fit(FRAME[NAMES].fillna(1.0), DIED)
    with pytest.raises(EngineUnsuitable, match="around RandomForestClassifier is not folded"):
        engine_and_native("folded", calibrated, NUMBERS, PROBABILITY)


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


def test_an_exponential_that_overflows_is_infinite_as_numpy_has_it() -> None:
    fitted = make_pipeline(StandardScaler(), PoissonRegressor()).fit(FRAME[["systolic"]], STAY)
    inputs = (Input(name="systolic", type="number"),)
    engine, native = engine_and_native("folded", fitted, inputs, VALUE)
    rows = [(-1e9,), (1e9,)]
    with np.errstate(over="ignore"):
        assert engine.predict(rows) == native.predict(rows)
    assert float("inf") in engine.predict(rows)

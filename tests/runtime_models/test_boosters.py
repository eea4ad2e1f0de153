"""The booster engine gives the bits of the wrapper around it, alone and behind a pipeline."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from cohort import CLASS, DIED, FRAME, MIXED, NUMBERS, PROBABILITY, STAY, VALUE, WARD
from engine_cases import NAMES, engine_and_native, logistic, mixed, proven
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, RobustScaler, StandardScaler
from xgboost import XGBClassifier, XGBRegressor, XGBRFClassifier

from bedside_runtime import borders, equivalence
from bedside_runtime.contract import Input, Output
from bedside_runtime.errors import EngineUnsuitable

X = FRAME[NAMES]
ALIVE = Output(name="alive", type="probability", positive=0)
DIED_OR_NOT = Output(name="died", type="class")


@pytest.fixture(autouse=True)
def _short_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw little: a proof of all takes seconds, and packaging the examples makes it."""
    monkeypatch.setattr(equivalence, "INPUTS", 400)
    monkeypatch.setattr(borders, "WALKS", 16)


def xgb(**more: Any) -> XGBClassifier:
    return XGBClassifier(n_estimators=20, max_depth=3, n_jobs=1, **more)


def lgbm(**more: Any) -> LGBMClassifier:
    return LGBMClassifier(n_estimators=20, max_depth=3, min_child_samples=3, n_jobs=1, verbose=-1, **more)


def stopped_early(model: Any, **more: Any) -> Any:
    """Fitted while its answers on other patients get worse, so that only its first trees count."""
    fitted = model.fit(X[20:], DIED[20:], eval_set=[(X[:20], 1 - DIED[:20])], **more)
    assert fitted.get_params()["n_estimators"] == 20
    return fitted


def words() -> pd.Series:
    return DIED.map({0: "discharged", 1: "died"})


CLASSIFIERS: dict[str, tuple[Any, Output]] = {
    "xgboost": (lambda: xgb().fit(X, DIED), PROBABILITY),
    "xgboost, class 0": (lambda: xgb().fit(X, DIED), ALIVE),
    "xgboost, label": (lambda: xgb().fit(X, DIED), DIED_OR_NOT),
    "xgboost, several": (
        lambda: xgb().fit(X, WARD.map({"cardiac": 0, "general": 1, "geriatric": 2})),
        Output(name="p", type="probability", positive=2),
    ),
    "xgboost, several, label": (
        lambda: xgb().fit(X, WARD.map({"cardiac": 0, "general": 1, "geriatric": 2})),
        Output(name="c", type="class"),
    ),
    "xgboost, stopped early": (lambda: stopped_early(xgb(early_stopping_rounds=3), verbose=False), PROBABILITY),
    "xgboost, another missing value": (lambda: xgb(missing=-1.0).fit(X.fillna(-1.0), DIED), PROBABILITY),
    "xgboost, base score": (lambda: xgb(base_score=0.3).fit(X, DIED), PROBABILITY),
    "xgboost, dart": (lambda: xgb(booster="dart", rate_drop=0.2).fit(X, DIED), PROBABILITY),
    "xgboost, linear": (
        lambda: XGBClassifier(n_estimators=20, n_jobs=1, booster="gblinear").fit(X.fillna(1.0), DIED),
        PROBABILITY,
    ),
    "xgboost, forest": (lambda: XGBRFClassifier(n_jobs=1, n_estimators=20).fit(X, DIED), PROBABILITY),
    "xgboost, numbered categories": (
        lambda: xgb(enable_categorical=True, feature_types=["q", "c", "q"]).fit(
            np.column_stack([X["lactate"], X["age"] - 18, X["systolic"]]), DIED
        ),
        PROBABILITY,
    ),
    "xgboost, searched": (lambda: GridSearchCV(xgb(), {"max_depth": [2, 3]}, cv=2).fit(X, DIED), PROBABILITY),
    "xgboost, value": (lambda: XGBRegressor(n_jobs=1, n_estimators=20).fit(X, STAY), VALUE),
    "xgboost, poisson": (
        lambda: XGBRegressor(n_jobs=1, n_estimators=20, objective="count:poisson").fit(X, STAY),
        VALUE,
    ),
    "lightgbm": (lambda: lgbm().fit(X, DIED), PROBABILITY),
    "lightgbm, class 0": (lambda: lgbm().fit(X, DIED), ALIVE),
    "lightgbm, words": (lambda: lgbm().fit(X, words()), Output(name="p", type="probability", positive="died")),
    "lightgbm, words, label": (lambda: lgbm().fit(X, words()), DIED_OR_NOT),
    "lightgbm, several": (lambda: lgbm().fit(X, WARD), Output(name="p", type="probability", positive="general")),
    "lightgbm, several, label": (lambda: lgbm().fit(X, WARD), CLASS),
    "lightgbm, stopped early": (lambda: stopped_early(lgbm(early_stopping_round=3)), PROBABILITY),
    "lightgbm, numbered categories": (lambda: lgbm().fit(X, DIED, categorical_feature=[1]), PROBABILITY),
    "lightgbm, value": (lambda: LGBMRegressor(n_jobs=1, n_estimators=20, verbose=-1).fit(X, STAY), VALUE),
}


@pytest.mark.filterwarnings("ignore:The argument 'eval_set' is deprecated")
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_booster_inside_a_wrapper_answers_as_the_wrapper(name: str) -> None:
    fit, output = CLASSIFIERS[name]
    assert proven("booster", fit(), NUMBERS, output) == 0.0


@pytest.mark.parametrize("sparse", [0.0, 1.0])
@pytest.mark.parametrize("model", [xgb, lgbm])
def test_behind_a_pipeline_it_is_handed_the_same_bits_zeros_of_a_sparse_matrix_included(
    model: Any, sparse: float
) -> None:
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler(), RobustScaler())
    fitted = mixed(numbers, OneHotEncoder(), model(), sparse_threshold=sparse).fit(FRAME, DIED)
    assert fitted[0].sparse_output_ == bool(sparse)
    assert proven("booster", fitted, MIXED, PROBABILITY) == 0.0


@pytest.mark.parametrize("model", [xgb, lgbm])
def test_missing_values_may_pass_through_a_pipeline_to_the_booster(model: Any) -> None:
    fitted = mixed(StandardScaler(), OrdinalEncoder(), model()).fit(FRAME, DIED)
    assert proven("booster", fitted, MIXED, PROBABILITY) == 0.0


@pytest.mark.parametrize(
    ("fit", "inputs", "reason"),
    [
        (lambda: mixed(SimpleImputer(), OneHotEncoder(), logistic()).fit(FRAME, DIED), MIXED, "no wrapper"),
        (lambda: make_pipeline(OneHotEncoder(), xgb()).fit(X.fillna(1.0), DIED), NUMBERS, "no closed set"),
        (lambda: xgb(objective="binary:hinge").fit(X, DIED), NUMBERS, "binary:hinge gives neither"),
        (lambda: XGBRegressor(n_estimators=3).fit(X, STAY), None, "words reach the booster"),
    ],
)
def test_what_it_cannot_compute_is_said(fit: Any, inputs: Any, reason: str) -> None:
    output = VALUE if inputs is None else PROBABILITY
    declared = inputs or (*NUMBERS[:2], Input(name="systolic", type="category", categories=("high", "low")))
    with pytest.raises(EngineUnsuitable, match=reason):
        engine_and_native("booster", fit(), declared, output)

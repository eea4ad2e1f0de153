"""What honest people pickle is admitted, and comes back: scikit-learn's estimators, and what is built of them."""

import io
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import joblib
import lightgbm
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import xgboost
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.experimental import enable_iterative_imputer  # noqa: F401 - it makes the next import possible
from sklearn.frozen import FrozenEstimator
from sklearn.gaussian_process import GaussianProcessRegressor, kernels
from sklearn.impute import IterativeImputer, SimpleImputer
from sklearn.linear_model import BayesianRidge, LogisticRegression, Ridge, SGDClassifier, TweedieRegressor
from sklearn.model_selection import GridSearchCV, RepeatedStratifiedKFold, ShuffleSplit
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder
from sklearn.svm import SVC
from sklearn.utils import all_estimators
from sklearn.utils._test_common.instance_generator import _construct_instances

from bedside_runtime.adapters import pickles

RANDOM = np.random.RandomState(0)
X = RANDOM.rand(40, 4)
DIED = np.arange(40) % 2
DAYS = X[:, 0] + 0.1
COUNTS = np.c_[DIED, 1 - DIED]
WORDS = ["a bb cc", "dd ee"] * 20
FRAME = pd.DataFrame(
    {"age": X[:, 0], "lactate": X[:, 1], "unit": pd.Categorical(["x", "y"] * 20), "sex": ["f", "m"] * 20}
)
NUMBERS, KINDS = ["age", "lactate"], ["unit", "sex"]
FITTED_ON = [
    (X, DIED), (X, DAYS), (X, COUNTS), (X, np.c_[DAYS, DAYS + X[:, 1]]), (WORDS, DIED),
    ([{"a": 1}, {"b": 2}] * 20,), (DIED,), ([[1], [2]],), (list(map(float, range(40))), DAYS), (X @ X.T,),
]  # fmt: skip


def came_back(value: Any) -> None:
    file = io.BytesIO()
    joblib.dump(value, file)
    for data in (file.getvalue(), *(pickle.dumps(value, protocol=number) for number in (0, 2, 5))):
        loaded = pickles.load(data, pickles.record_globals(data))
        assert type(loaded) is type(value)
        if isinstance(value, pd.DataFrame | pd.Series | pd.Index):
            assert loaded.equals(value)


def fitted(estimator: Any) -> Any:
    """Fit to the first data that it takes; a few take none of them, and are pickled as they are."""
    for data in FITTED_ON:
        try:
            return estimator.fit(*data)
        except (TypeError, ValueError, AttributeError, IndexError):
            continue
    return estimator


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [kind for _, kind in all_estimators()], ids=lambda kind: kind.__name__)
def test_every_estimator_of_scikit_learn_comes_back(kind: type) -> None:
    for estimator in [FrozenEstimator(LogisticRegression())] if kind is FrozenEstimator else _construct_instances(kind):
        came_back(fitted(estimator))


def columns() -> ColumnTransformer:
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    return ColumnTransformer(
        [("numbers", numbers, make_column_selector(dtype_include=np.number)), ("kinds", OneHotEncoder(), KINDS)]
    )


def search(**words: Any) -> GridSearchCV:
    return GridSearchCV(make_pipeline(StandardScaler(), SVC()), {"svc__C": [0.1, 1]}, **words)


MODELS: dict[str, Callable[[], Any]] = {
    "columns": lambda: make_pipeline(columns(), LogisticRegression()).fit(FRAME, DIED),
    "iterative": lambda: IterativeImputer(BayesianRidge(), random_state=0).fit(X),
    "functions": lambda: make_pipeline(
        FunctionTransformer(np.log1p, inverse_func=np.expm1), FunctionTransformer(np.nan_to_num), Ridge()
    ).fit(X, DAYS),
    "target": lambda: TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1).fit(X, DAYS),
    "isotonic": lambda: CalibratedClassifierCV(SVC(), method="isotonic").fit(X, DIED),
    "frozen": lambda: CalibratedClassifierCV(FrozenEstimator(LogisticRegression().fit(X, DIED))).fit(X, DIED),
    "stacking": lambda: StackingClassifier(
        [("forest", RandomForestClassifier(3)), ("line", LogisticRegression())], passthrough=True
    ).fit(X, DIED),
    "search": lambda: search(scoring="roc_auc").fit(X, DIED),
    "search of several": lambda: search(
        scoring={"a": "accuracy", "b": "f1"}, refit="a", cv=RepeatedStratifiedKFold(n_splits=2, n_repeats=2)
    ).fit(X, DIED),
    "search by chance": lambda: search(cv=ShuffleSplit(2, random_state=np.random.RandomState(1))).fit(X, DIED),
    "categories of a frame": lambda: HistGradientBoostingClassifier(max_iter=2).fit(FRAME[["age", "unit"]], DIED),
    "sparse": lambda: SVC().fit(scipy.sparse.csr_matrix(X), DIED),
    "neighbours": lambda: KNeighborsClassifier(algorithm="ball_tree", metric="manhattan").fit(X, DIED),
    "words": lambda: OrdinalEncoder(dtype=np.int32).fit(FRAME[KINDS]),
    "targets": lambda: TargetEncoder().fit(FRAME[KINDS], DIED),
    "kernels": lambda: GaussianProcessRegressor(kernels.Matern() + kernels.WhiteKernel()).fit(X, DAYS),
    "xgboost": lambda: xgboost.XGBClassifier(n_estimators=2).fit(X, DIED),
    "xgboost stopped": lambda: xgboost.XGBClassifier(
        n_estimators=2, callbacks=[xgboost.callback.EarlyStopping(rounds=5)], eval_metric="auc"
    ).fit(X, DIED, eval_set=[(X, DIED)], verbose=0),
    "xgboost booster": lambda: xgboost.train({}, xgboost.DMatrix(X, DIED), 2),
    "lightgbm": lambda: lightgbm.LGBMRegressor(n_estimators=2, verbose=-1).fit(FRAME[["age", "unit"]], DAYS),
    "lightgbm booster": lambda: lightgbm.train({"verbose": -1}, lightgbm.Dataset(X, DIED), 2),
    "voting": lambda: VotingClassifier(
        [("x", xgboost.XGBClassifier(n_estimators=2)), ("l", lightgbm.LGBMClassifier(n_estimators=2, verbose=-1))]
    ).fit(X, DIED),
    **{
        f"sgd {loss}": lambda loss=loss: SGDClassifier(loss=loss).fit(X, DIED)
        for loss in ("hinge", "log_loss", "modified_huber", "squared_hinge", "squared_error", "huber")
    },
    **{
        f"histogram {loss}": lambda loss=loss: HistGradientBoostingRegressor(
            loss=loss, quantile=0.5 if loss == "quantile" else None, max_iter=2, early_stopping=True
        ).fit(X, DAYS)
        for loss in ("squared_error", "absolute_error", "gamma", "poisson", "quantile")
    },
    **{
        f"boosting {loss}": lambda loss=loss: GradientBoostingRegressor(loss=loss, n_estimators=2).fit(X, DAYS)
        for loss in ("squared_error", "absolute_error", "huber", "quantile")
    },
    "boosting classes": lambda: GradientBoostingClassifier(n_estimators=2).fit(X, np.arange(40) % 3),
    "tweedie": lambda: TweedieRegressor(power=1.5, link="log").fit(X, DAYS),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())
def test_what_is_built_from_them_comes_back(make: Callable[[], Any]) -> None:
    came_back(make())


STATES: dict[str, Any] = {
    "frame": FRAME,
    "medians": FRAME[NUMBERS].median(),
    "types": FRAME.dtypes,
    "names": FRAME.columns,
    "categories": FRAME["unit"],
    "nullable": pd.Series([1, None], dtype="Int64"),
    "words of Python's": pd.Series(["a", None], dtype=pd.StringDtype("python")),
    "days": pd.Series(pd.date_range("2026", periods=3)),
    "bins": pd.cut(FRAME["age"], 3),
    "several levels": FRAME.set_index(["age", "sex"]).index,
    "missing": [pd.NA, pd.NaT, np.nan, None],
    "generators": [np.random.default_rng(0), np.random.RandomState(0)],
    "sparse": [getattr(scipy.sparse, f"{kind}_array")(np.eye(3)) for kind in ("csr", "csc", "coo", "dok", "lil")],
}


@pytest.mark.parametrize("state", STATES.values(), ids=STATES.keys())
def test_what_a_transformer_keeps_comes_back(state: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        came_back(state)

"""The trees engine: gradient boosting computed here, tree by tree in the library's own arithmetic.

For XGBoost, LightGBM and scikit-learn's histogram gradient boosting, alone or behind a pipeline that can be followed;
for the first two also as they are stored in their library's own format.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

from bedside_runtime.adapters import (
    direct,
    estimators,
    exact,
    features,
    folding,
    histogram_trees,
    leaves,
    lightgbm,
    xgboost,
)
from bedside_runtime.adapters.edges import Computes
from bedside_runtime.adapters.estimators import positive_column
from bedside_runtime.adapters.features import Unfoldable
from bedside_runtime.adapters.folding import Followed
from bedside_runtime.adapters.opened import Ask, Opened
from bedside_runtime.adapters.trees import Forest
from bedside_runtime.contract import Input, Output, Row, Scalar

_HISTOGRAM: Final = frozenset({"HistGradientBoostingClassifier", "HistGradientBoostingRegressor"})

_Asked = tuple[Forest, Callable[[Ask], Ask]]
"""Trees, and what makes the declared answer of the library's raw one."""


def trees(opened: Opened, names: Sequence[str], inputs: Sequence[Input], output: Output) -> Computes:
    """Return what computes a model of trees.

    Args:
        opened: The model.
        names: Its features, in its order.
        inputs: The declared inputs, in the order of a row.
        output: What it is declared to answer.

    Raises:
        Unfoldable: It is no such model, or holds what is not computed here; the message says what.
        ModelMismatch: It does not answer what is declared.
    """
    if isinstance(opened, (xgboost.Model, lightgbm.Model)):
        followed = Followed(opened, features.begin(inputs, names, math.nan), False, names)
        forest, answers = _stored(opened, output)
    elif isinstance(opened, estimators.Model):
        followed = folding.pipeline(opened.estimator, names, inputs)
        forest, answers = _fitted(followed.model, output)
    else:
        raise Unfoldable("it holds no boosted trees that can be read")
    exact.require_numbers(followed.columns)
    return compiled(forest, followed, answers)


def compiled(forest: Forest, followed: Followed, answers: Callable[[Ask], Ask]) -> Computes:
    """Return what computes ``forest`` behind the pipeline that was followed."""
    find = leaves.exits(forest, followed.columns, zero_is_missing=direct.takes_zero_for_missing(followed))
    add, finish = leaves.sums(forest), forest.finish
    ask = answers(lambda exits: finish(add(exits)))

    def computes(rows: Sequence[Row]) -> Sequence[Scalar]:
        values: list[Scalar] = ask([find(row) for row in rows]).tolist()
        return values

    return computes


def _stored(model: xgboost.Model | lightgbm.Model, output: Output) -> _Asked:
    return model.forest(), lambda raw: model.ask(output, raw)


def _fitted(model: Any, output: Output) -> _Asked:  # noqa: ANN401 - any estimator
    if folding.is_sklearn(model) and type(model).__name__ in _HISTOGRAM:
        return _histogram(model, output)
    inside = direct.inside(model)
    return inside.model.forest(), lambda raw: inside.ask(output, raw)


def _histogram(model: Any, output: Output) -> _Asked:  # noqa: ANN401 - a fitted estimator
    forest = histogram_trees.forest(model, labels=output.type == "class")
    if not hasattr(model, "classes_"):
        if output.type != "value":
            raise Unfoldable(f"{type(model).__name__} answers no {output.type}")
        return forest, lambda raw: raw
    match output.type:
        case "value":
            raise Unfoldable(f"{type(model).__name__} answers no value")
        case "class":
            return forest, lambda raw: direct.labels(raw, model.classes_.tolist())
        case "probability":
            column = positive_column(model.classes_.tolist(), output.positive)
            return forest, lambda raw: lambda rows: raw(rows)[:, column]

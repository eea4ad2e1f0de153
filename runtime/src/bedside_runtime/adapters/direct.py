"""The booster engine: the booster inside a scikit-learn wrapper, asked without it.

A pipeline before the wrapper is followed and its operations done again, bit for bit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bedside_runtime.adapters import exact, folding, lightgbm, xgboost
from bedside_runtime.adapters.edges import Computes
from bedside_runtime.adapters.estimators import positive_column
from bedside_runtime.adapters.features import Unfoldable
from bedside_runtime.adapters.folding import Followed
from bedside_runtime.adapters.opened import Ask
from bedside_runtime.contract import Input, Output, Row, Scalar


def booster(estimator: Any, names: Sequence[str], inputs: Sequence[Input], output: Output) -> Computes:  # noqa: ANN401
    """Return what asks the booster of ``estimator``.

    Args:
        estimator: A fitted wrapper of XGBoost or LightGBM, or a pipeline that ends in one.
        names: Its features, in its order.
        inputs: The declared inputs, in the order of a row.
        output: What it is declared to answer.

    Raises:
        Unfoldable: It is none, or a step before it cannot be followed; the message says where.
        ModelMismatch: The booster does not answer what is declared.
    """
    followed = folding.pipeline(estimator, names, inputs)
    ask = inside(followed.model).ask(output)
    exact.require_numbers(followed.columns)
    array = exact.array(followed.columns, zero_is_missing=takes_zero_for_missing(followed))

    def computes(rows: Sequence[Row]) -> Sequence[Scalar]:
        values: list[Scalar] = ask(array(rows)).tolist()
        return values

    return computes


def takes_zero_for_missing(followed: Followed) -> bool:
    """Say whether the model is handed a sparse matrix whose zeros it takes for missing values."""
    return followed.sparse and _library(followed.model) == "xgboost"


@dataclass(frozen=True, slots=True)
class Inside:
    """The booster inside a wrapper.

    Attributes:
        model: It; asked for the classes 0, 1, ...
        classes: What the wrapper calls them; ``None`` where it answers values.
    """

    model: xgboost.Model | lightgbm.Model
    classes: Sequence[Scalar] | None

    def ask(self, output: Output, raw: Ask | None = None) -> Ask:
        """Return what asks the booster as its wrapper would; ``raw`` as in ``xgboost.Model.ask``."""
        return _answers(lambda declared: self.model.ask(declared, raw), self.classes, output)


def inside(wrapper: Any) -> Inside:  # noqa: ANN401 - any estimator
    """Return the booster of XGBoost's or LightGBM's scikit-learn wrapper.

    Raises:
        Unfoldable: It is neither.
    """
    match _library(wrapper):
        case "xgboost":
            return _xgboost(wrapper)
        case "lightgbm":
            return _lightgbm(wrapper)
    raise Unfoldable(f"{type(wrapper).__name__} is no wrapper around a booster")


def _library(wrapper: object) -> str:
    return type(wrapper).__module__.split(".")[0]


def _xgboost(wrapper: Any) -> Inside:  # noqa: ANN401
    """An XGBoost wrapper's booster, asked as the wrapper does: its missing value, its best iteration."""
    missing = float(wrapper.missing)
    model = xgboost.Model(bytes(wrapper.get_booster().save_raw("ubj")), missing=missing, wrapped=True)
    return Inside(model, wrapper.classes_.tolist() if hasattr(wrapper, "n_classes_") else None)


def _lightgbm(wrapper: Any) -> Inside:  # noqa: ANN401
    """A LightGBM wrapper's booster; it is saved up to its best iteration."""
    model = lightgbm.Model(wrapper.booster_.model_to_string().encode())
    return Inside(model, wrapper.classes_.tolist() if hasattr(wrapper, "classes_") else None)


def _answers(ask: Callable[[Output], Ask], classes: Sequence[Scalar] | None, output: Output) -> Ask:
    """Return what asks a booster, whose classes are numbers from 0, for an answer in the wrapper's own classes."""
    if classes is None or output.type == "value":
        return ask(output)
    if output.type == "class":
        return labels(ask(output), classes)
    place = positive_column(classes, output.positive)
    if len(classes) > 2:
        return ask(_positive(output, place))
    first = ask(_positive(output, 1))
    return first if place == 1 else lambda values: 1.0 - first(values)


def _positive(output: Output, place: int) -> Output:
    return Output(name=output.name, type=output.type, positive=place, bands=output.bands)


def labels(ask: Ask, classes: Sequence[Scalar]) -> Ask:
    """Return what answers classes where ``ask`` answers their places."""
    import numpy as np

    known = np.array(classes, dtype=object)
    return lambda values: known[ask(values)]

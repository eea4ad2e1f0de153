"""The booster engine: the booster inside a scikit-learn wrapper, asked without it.

A pipeline before the wrapper is followed and its operations done again, bit for bit.
"""

from collections.abc import Callable, Sequence
from typing import Any

from bedside_runtime.adapters import exact, folding, lightgbm, xgboost
from bedside_runtime.adapters.edges import Computes
from bedside_runtime.adapters.estimators import positive_column
from bedside_runtime.adapters.features import Column, Unfoldable
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
    library = type(followed.model).__module__.split(".")[0]
    if library == "xgboost":
        ask = _xgboost(followed.model, output)
    elif library == "lightgbm":
        ask = _lightgbm(followed.model, output)
    else:
        raise Unfoldable(f"{type(followed.model).__name__} is no wrapper around a booster")
    _require_numbers(followed.columns)
    array = exact.array(followed.columns, zero_is_missing=followed.sparse and library == "xgboost")

    def computes(rows: Sequence[Row]) -> Sequence[Scalar]:
        values: list[Scalar] = ask(array(rows)).tolist()
        return values

    return computes


def _require_numbers(columns: Sequence[Column]) -> None:
    if any(isinstance(value, str) for column in columns for value in (column.table or {}).values()):
        raise Unfoldable("words reach the booster")


def _xgboost(wrapper: Any, output: Output) -> Ask:  # noqa: ANN401
    """Ask an XGBoost wrapper's booster as the wrapper does: its missing value, its best iteration."""
    missing = float(wrapper.missing)
    model = xgboost.Model(bytes(wrapper.get_booster().save_raw("ubj")), missing=missing, wrapped=True)
    classes = wrapper.classes_.tolist() if hasattr(wrapper, "n_classes_") else None
    return _answers(model.ask, classes, output)


def _lightgbm(wrapper: Any, output: Output) -> Ask:  # noqa: ANN401
    """Ask a LightGBM wrapper's booster; it is saved up to its best iteration."""
    model = lightgbm.Model(wrapper.booster_.model_to_string().encode())
    classes = wrapper.classes_.tolist() if hasattr(wrapper, "classes_") else None
    return _answers(model.ask, classes, output)


def _answers(ask: Callable[[Output], Ask], classes: Sequence[Scalar] | None, output: Output) -> Ask:
    """Return what asks a booster, whose classes are numbers from 0, for an answer in the wrapper's own classes."""
    if classes is None or output.type == "value":
        return ask(output)
    if output.type == "class":
        return _labels(ask(output), classes)
    place = positive_column(classes, output.positive)
    if len(classes) > 2:
        return ask(_positive(output, place))
    first = ask(_positive(output, 1))
    return first if place == 1 else lambda values: 1.0 - first(values)


def _positive(output: Output, place: int) -> Output:
    return Output(name=output.name, type=output.type, positive=place, bands=output.bands)


def _labels(ask: Ask, classes: Sequence[Scalar]) -> Ask:
    import numpy as np

    known = np.array(classes, dtype=object)
    return lambda values: known[ask(values)]

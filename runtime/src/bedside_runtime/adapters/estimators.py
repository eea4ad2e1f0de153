"""Anything with scikit-learn's interface, pipelines and the boosters' wrappers alike, as a Predictor."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, assert_never

from bedside_runtime.adapters.columns import Columns, Layout, Memory, compile_columns
from bedside_runtime.adapters.opened import Ask
from bedside_runtime.contract import Input, Output
from bedside_runtime.errors import ModelMismatch

_PLACEHOLDER = re.compile(r"(?:f|x|Column_)(\d+)")
_KNOWN_LIBRARIES = frozenset({"sklearn", "xgboost", "lightgbm"})
_TAKES_FRAMES = frozenset({"ColumnTransformer", "LGBMModel", "FunctionTransformer"})
"""Classes that, anywhere in a model, ask for named columns: by-name selection, or a check of names."""


class Model:
    """An estimator, loaded: a copy of the release's own, which may be prepared for serving."""

    def __init__(self, estimator: Any) -> None:  # noqa: ANN401 - any estimator
        self.estimator = estimator
        self._memory: Memory = "C" if own_features(estimator) is None else "F"

    @property
    def names(self) -> tuple[str, ...] | None:
        """The names it was fitted with."""
        return own_features(self.estimator)

    @property
    def count(self) -> int | None:
        """How many features it takes, where it says so."""
        return feature_count(self.estimator)

    def layout(self, inputs: Sequence[Input]) -> Layout:
        """Return ``frame`` where names decide something, else ``array``."""
        return layout(self.estimator, inputs)

    def columns(self, chosen: Layout, features: Sequence[str], inputs: Sequence[Input]) -> Columns:
        """Return what turns rows into a frame or an array."""
        prepare(self.estimator, chosen)
        return compile_columns(chosen, features, inputs, memory=self._memory, absent=absent(self.estimator))

    def ask(self, output: Output) -> Ask:
        """Return what asks it; see ``Opened``."""
        prepare(self.estimator, "code")
        return ask(self.estimator, output)


def own_features(estimator: object) -> tuple[str, ...] | None:
    """Return the names the estimator was fitted with, ``None`` where it has none or placeholders."""
    try:
        names = tuple(str(name) for name in estimator.feature_names_in_)  # type: ignore[attr-defined]  # by duck typing
    except AttributeError:
        return None
    return None if is_placeholder(names) else names


def is_placeholder(names: Sequence[str]) -> bool:
    """Say whether ``names`` only count the features, as in f0, f1 or Column_0, Column_1."""
    found = [_PLACEHOLDER.fullmatch(name) for name in names]
    return all(item is not None and int(item[1]) == index for index, item in enumerate(found))


def feature_count(estimator: object) -> int | None:
    """Return how many features the estimator takes, where it says so."""
    count = getattr(estimator, "n_features_in_", None)
    return None if count is None else int(count)


def layout(estimator: object, inputs: Sequence[Input]) -> Layout:
    """Return what the estimator must be handed: a frame only where names decide something."""
    if own_features(estimator) is None:
        return "array"
    mixed = any(item.type in {"category", "boolean"} for item in inputs)
    return "frame" if mixed or any(map(_asks_for_names, parts(estimator))) else "array"


def _asks_for_names(part: object) -> bool:
    classes = type(part).__mro__
    if type(part).__module__.split(".")[0] not in _KNOWN_LIBRARIES or hasattr(part, "_sklearn_output_config"):
        return True
    return any(item.__name__ in _TAKES_FRAMES for item in classes)


def parts(value: object, seen: set[int] | None = None) -> Iterator[Any]:
    """Yield the estimator and every estimator inside it, fitted ones included."""
    seen = set() if seen is None else seen
    if id(value) in seen or isinstance(value, type):
        return
    seen.add(id(value))
    match value:
        case list() | tuple() | set():
            for item in value:
                yield from parts(item, seen)
        case dict():
            for item in value.values():
                yield from parts(item, seen)
        case _ if hasattr(value, "get_params") and hasattr(value, "__dict__"):
            yield value
            yield from parts(vars(value), seen)
        case _ if type(value).__name__ == "_CalibratedClassifier":  # holds estimators, and is none itself
            yield from parts(vars(value), seen)


def absent(estimator: object) -> float | None:
    """Return what stands for a missing word or truth value in the estimator's frame.

    That is NaN, as pandas has it, unless a part was fitted on ``None`` or looks for it.
    """
    return None if any(map(_knows_none, parts(estimator))) else math.nan


def _knows_none(part: Any) -> bool:  # noqa: ANN401 - any estimator
    if getattr(part, "missing_values", math.nan) is None:
        return True
    return any(None in listed for listed in map(_listed, getattr(part, "categories_", ())))


def _listed(categories: Any) -> list[object]:  # noqa: ANN401 - a NumPy array
    return list(categories.tolist()) if hasattr(categories, "tolist") else []


def prepare(estimator: object, chosen: Layout) -> None:
    """Make this loaded copy answer on one thread, and take arrays without a warning about names.

    A thread count changes no answer but the order of a sum; one thread makes that order always the same.
    """
    for part in parts(estimator):
        if "n_jobs" in vars(part):
            part.n_jobs = 1
        if type(part).__module__.startswith("xgboost.") and part.__sklearn_is_fitted__():
            part.get_booster().set_param({"nthread": 1})
            if chosen == "array":  # gblinear has no prediction in place, and compares names that an array has not
                part.get_booster().feature_names = None
        if chosen == "array":
            vars(part).pop("feature_names_in_", None)


def ask(estimator: Any, output: Output) -> Ask:  # noqa: ANN401 - any estimator
    """Return what asks the estimator for the declared output: model input in, one value a row out.

    Raises:
        ModelMismatch: It cannot answer that.
    """
    match output.type:
        case "probability":
            return _probability(estimator, output)
        case "class":
            if not hasattr(estimator, "classes_"):
                raise _no(estimator, "a class", "a value")
            return _one_a_row(estimator.predict)
        case "value":
            if hasattr(estimator, "classes_") or not hasattr(estimator, "predict"):
                raise _no(estimator, "a value", "a probability or a class")
            return _one_a_row(estimator.predict)
        case _:
            assert_never(output.type)


def positive_column(classes: Sequence[object], positive: object) -> int:
    """Return the place of the positive label among the model's classes.

    Raises:
        ModelMismatch: It is none of them.
    """
    for place, label in enumerate(classes):
        if label == positive and isinstance(label, str) == isinstance(positive, str):
            return place
    named = ", ".join(repr(label) for label in classes)
    raise ModelMismatch(
        f"the positive class {positive!r} is none of the model's classes: {named}",
        remedy="Write one of the model's own classes as positive under [output], with its own type.",
    )


def _probability(estimator: Any, output: Output) -> Ask:  # noqa: ANN401 - any estimator
    if not hasattr(estimator, "classes_") or not hasattr(estimator, "predict_proba"):
        other = "a class" if hasattr(estimator, "classes_") else "a value"
        raise _no(estimator, "a probability", other)
    if not hasattr(estimator.classes_, "tolist"):
        raise ModelMismatch("the model answers several outputs; one is declared", remedy="Serve one model an output.")
    column = positive_column(estimator.classes_.tolist(), output.positive)
    return lambda values: estimator.predict_proba(values)[:, column]


def _one_a_row(predict: Ask) -> Ask:
    def asked(values: Any) -> Any:  # noqa: ANN401 - a NumPy array
        answers = predict(values)
        if answers.ndim == 2 and answers.shape[1] == 1:
            return answers[:, 0]
        if answers.ndim != 1:
            raise ModelMismatch("the model answers several values a row; one is declared")
        return answers

    return asked


def _no(estimator: object, declared: str, can: str) -> ModelMismatch:
    return ModelMismatch(
        f"{type(estimator).__name__} cannot answer {declared}",
        remedy=f"Declare {can} under [output], or train a model that answers {declared}.",
    )

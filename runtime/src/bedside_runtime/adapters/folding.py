"""Following the columns of a fitted pipeline: what the model at its end is handed, as functions of single inputs.

Pipelines, unions and column transformers are walked through here; what a transformer makes of its columns stands in
`steps`. What was followed is believed only once it is proven against the pipeline itself (see `equivalence`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from bedside_runtime.adapters import estimators, features
from bedside_runtime.adapters.features import Column, Columns, Unfoldable
from bedside_runtime.adapters.steps import STEPS, Declared
from bedside_runtime.contract import Input

_SEARCHES: Final = frozenset({"GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV"})


@dataclass(frozen=True, slots=True)
class Followed:
    """A model at the end of its pipeline.

    Attributes:
        model: The last step.
        columns: What it is handed.
        sparse: Whether that is a sparse matrix, in which some libraries take a zero for a missing value.
        names: Names of the columns, where they still are the release's own features.
    """

    model: Any
    columns: Columns
    sparse: bool
    names: Sequence[str]


def pipeline(
    estimator: Any,  # noqa: ANN401 - any estimator
    names: Sequence[str],
    inputs: Sequence[Input],
    columns: Columns | None = None,
) -> Followed:
    """Follow ``estimator`` to the model at its end.

    Args:
        estimator: A fitted model, or a pipeline that ends in one.
        names: Its features, in its order.
        inputs: The declared inputs, in the order of a row.
        columns: What it is handed, where that no longer is its features.

    Raises:
        Unfoldable: A step cannot be followed; the message says which and why.
    """
    columns = features.begin(inputs, names, estimators.absent(estimator)) if columns is None else columns
    declared, known = Declared(inputs), names
    sparse = False
    estimator = unwrapped(estimator)
    while type(estimator).__name__ == "Pipeline":
        for _, step in estimator.steps[:-1]:
            columns, known = follow(step, columns, declared, known), ()
            sparse = is_sparse(step, before=sparse)
        estimator = unwrapped(estimator.steps[-1][1])
    return Followed(estimator, columns, sparse, known)


def unwrapped(estimator: Any) -> Any:  # noqa: ANN401
    """Return what a finished search or a frozen estimator asks."""
    while is_sklearn(estimator):
        if type(estimator).__name__ in _SEARCHES:
            estimator = estimator.best_estimator_
        elif type(estimator).__name__ == "FrozenEstimator":
            estimator = estimator.estimator
        else:
            break
    return estimator


def is_sklearn(step: object) -> bool:
    """Say whether ``step`` is of a class of scikit-learn itself."""
    return type(step).__module__.split(".")[0] == "sklearn"


def follow(step: Any, columns: Columns, declared: Declared, names: Sequence[str] = ()) -> Columns:  # noqa: ANN401
    """Return what ``step`` makes of ``columns``.

    Args:
        step: A fitted transformer, or scikit-learn's words ``passthrough`` and ``drop``.
        columns: What it is handed.
        declared: What the release declares.
        names: Names of ``columns``, where they still are the model's own features.

    Raises:
        Unfoldable: It is none of those that can be followed.
    """
    if step is None or step == "passthrough":
        return columns
    if isinstance(step, str):
        return ()
    name = type(step).__name__
    if not is_sklearn(step):
        raise Unfoldable(f"{name} is not scikit-learn's own")
    match name:
        case "Pipeline":
            for _, inner in step.steps:
                columns, names = follow(inner, columns, declared, names), ()
            return columns
        case "ColumnTransformer":
            return _column_transformer(step, columns, declared, names)
        case "FeatureUnion":
            return _union(step, columns, declared, names)
    found = STEPS.get(name)
    if found is None:
        raise Unfoldable(f"{name} is not among the steps that can be folded")
    return found(step, columns, declared)


def is_sparse(step: Any, *, before: bool) -> bool:  # noqa: ANN401
    """Say whether ``step`` hands on a sparse matrix, if what it is handed is one ``before``."""
    match type(step).__name__:
        case "ColumnTransformer":
            return bool(step.sparse_output_)
        case "OneHotEncoder":
            return bool(step.sparse_output)
        case "OrdinalEncoder" | "TargetEncoder":
            return False
        case "FeatureUnion":
            return any(is_sparse(inner, before=before) for _, inner in step.transformer_list)
        case "Pipeline":
            for _, inner in step.steps:
                before = is_sparse(inner, before=before)
    return before


def _column_transformer(step: Any, columns: Columns, declared: Declared, names: Sequence[str]) -> Columns:  # noqa: ANN401
    weights = step.transformer_weights or {}
    result: list[Column] = []
    for name, inner, chosen in step.transformers_:
        places = _places(chosen, len(columns), names)
        kept = [names[place] for place in places] if names else ()
        made = follow(inner, tuple(columns[place] for place in places), declared, kept)
        result += [column.then("multiply", float(weights[name])) for column in made] if name in weights else made
    return tuple(result)


def _union(step: Any, columns: Columns, declared: Declared, names: Sequence[str]) -> Columns:  # noqa: ANN401
    weights = step.transformer_weights or {}
    result: list[Column] = []
    for name, inner in step.transformer_list:
        made = follow(inner, columns, declared, names)
        result += [column.then("multiply", float(weights[name])) for column in made] if name in weights else made
    return tuple(result)


def _places(chosen: Any, count: int, names: Sequence[str]) -> list[int]:  # noqa: ANN401
    """Return the places that a column transformer chose: names, places, a slice, a mask, or one of the first two."""
    if isinstance(chosen, (str, int)) and not isinstance(chosen, bool):
        raise Unfoldable("a column transformer hands a step one column without its second dimension")
    if isinstance(chosen, slice):
        return _sliced(chosen, count, names)
    listed = list(chosen)
    if all(isinstance(item, str) for item in listed):
        if not set(listed) <= set(names):
            raise Unfoldable("a column transformer chooses by names that are no longer there")
        return [names.index(item) for item in listed]
    if listed and all(type(item).__name__ in ("bool", "bool_") for item in listed):
        return [place for place, item in enumerate(listed) if item]
    return [int(item) % count for item in listed]


def _sliced(chosen: slice, count: int, names: Sequence[str]) -> list[int]:
    """Return the places of a slice; one of names holds its last name too, as in pandas."""
    if not isinstance(chosen.start or chosen.stop, str):
        return list(range(count))[chosen]
    if not {item for item in (chosen.start, chosen.stop) if item is not None} <= set(names):
        raise Unfoldable("a column transformer chooses by names that are no longer there")
    first = 0 if chosen.start is None else names.index(chosen.start)
    last = count - 1 if chosen.stop is None else names.index(chosen.stop)
    return list(range(first, last + 1))[:: chosen.step]

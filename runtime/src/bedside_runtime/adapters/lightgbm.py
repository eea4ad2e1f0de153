"""LightGBM boosters stored as text, loaded from memory."""

from collections.abc import Sequence
from typing import Any

from bedside_runtime.adapters import boosters, estimators, lightgbm_text, lightgbm_trees
from bedside_runtime.adapters.boosters import Kind
from bedside_runtime.adapters.columns import Columns, Layout
from bedside_runtime.adapters.opened import Ask
from bedside_runtime.adapters.trees import Forest
from bedside_runtime.contract import Input, Output
from bedside_runtime.errors import LibraryMissing, ModelMismatch

_VALUE_OBJECTIVES = frozenset(
    {"regression", "regression_l1", "huber", "fair", "poisson", "quantile", "mape", "gamma", "tweedie"}
    | {"cross_entropy", "lambdarank", "rank_xendcg"}
)
_CUT_OFF = "Save the model again; it may have been cut off."


class Model:
    """A native booster."""

    def __init__(self, data: bytes) -> None:
        library = _library()
        text = _text(data)
        try:
            lightgbm_text.require_whole(text)
            self._booster = library.Booster(model_str=text)
        except (library.basic.LightGBMError, ValueError):
            raise ModelMismatch("the model file cannot be read by lightgbm", remedy=_CUT_OFF) from None
        if self._booster.pandas_categorical:
            raise ModelMismatch(
                "the booster was trained on pandas categories, which its text format does not fully describe",
                remedy="Save the whole LGBMClassifier or LGBMRegressor with joblib, or train on encoded numbers.",
            )
        self._objective = _objective(text)

    @property
    def names(self) -> tuple[str, ...] | None:
        """The booster's own feature names."""
        names = tuple(self._booster.feature_name())
        return None if estimators.is_placeholder(names) else names

    @property
    def count(self) -> int:
        """How many features it takes."""
        return int(self._booster.num_feature())

    def layout(self, _: Sequence[Input]) -> Layout:
        """Return ``array``: a booster takes numbers alone."""
        return "array"

    def columns(self, layout: Layout, features: Sequence[str], inputs: Sequence[Input]) -> Columns:
        """Return what turns rows into one array."""
        return boosters.numeric_columns(layout, features, inputs)

    def forest(self) -> Forest:
        """Return its trees.

        Raises:
            Unfoldable: It is more than trees of numbers.
        """
        return lightgbm_trees.forest(self._booster.dump_model())

    def ask(self, output: Output, raw: Ask | None = None) -> Ask:
        """Return what asks it; see ``Opened``. ``raw`` is asked in its place, where it is given."""
        classes = int(self._booster.num_model_per_iteration())
        return boosters.ask(_kind(self._objective), classes, raw or self._raw(), output, self._objective)

    def _raw(self) -> Ask:
        booster = self._booster
        return lambda values: booster.predict(values, num_threads=1)


def _kind(objective: str) -> Kind:
    match objective:
        case "binary":
            return "binary"
        case "multiclass" | "multiclassova":
            return "multiclass"
        case _ if objective in _VALUE_OBJECTIVES:
            return "value"
        case _:
            raise ModelMismatch(
                f"the objective {objective} gives neither a probability nor a value",
                remedy="Train with the objective binary, multiclass, or one of regression.",
            )


def _text(data: bytes) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise ModelMismatch("the model file is no text", remedy=_CUT_OFF) from None
    # LightGBM reads a file that was cut off as a smaller model; what it writes last says that all is there.
    if "\nend of trees" not in text or "\nend of parameters" not in text:
        raise ModelMismatch("the model file ends before the model does", remedy=_CUT_OFF)
    return text


def _objective(text: str) -> str:
    for line in text.splitlines():
        if line.startswith("objective="):
            return line.removeprefix("objective=").split()[0]
    return "of its author"


def _library() -> Any:  # noqa: ANN401 - a module without types
    try:
        import lightgbm
    except ImportError:
        raise LibraryMissing(
            "the model is a LightGBM booster, and lightgbm is not installed", remedy="Add lightgbm to requirements.in."
        ) from None
    return lightgbm

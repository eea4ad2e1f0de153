"""XGBoost boosters stored as JSON or UBJSON, loaded from memory."""

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from bedside_runtime.adapters import boosters, estimators, xgboost_file, xgboost_trees
from bedside_runtime.adapters.boosters import Kind
from bedside_runtime.adapters.columns import Columns, Layout
from bedside_runtime.adapters.opened import Ask, Facts
from bedside_runtime.adapters.trees import Forest
from bedside_runtime.contract import Input, Output
from bedside_runtime.errors import EnvironmentMismatch, LibraryMissing, ModelMismatch

_UBJ_VERSION = re.compile(rb"version\[#L\0{7}\x03[iU](.)[iU](.)[iU](.)", re.DOTALL)
_JSON_VERSION = re.compile(rb'"version"\s*:\s*\[\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*\]')
_VALUE_OBJECTIVES = ("reg:", "count:", "survival:", "rank:")


def survey(data: bytes) -> Facts:
    """Return the version that the file says it was saved with.

    Raises:
        EnvironmentMismatch: Another one is installed.
        LibraryMissing: None is installed.
    """
    saved = _saved_with(data)
    here = _library().__version__
    if saved is not None and saved != here:
        raise EnvironmentMismatch(
            f"the model was saved with xgboost {saved}; installed is {here}",
            remedy=f"Write xgboost-cpu=={saved} in requirements.in, or save the model again and validate it again.",
        )
    return Facts(trained_with={} if saved is None else {"xgboost": saved})


class Model:
    """A native booster, or the one inside a wrapper."""

    def __init__(self, data: bytes, *, missing: float = math.nan, wrapped: bool = False) -> None:
        """Load it.

        Args:
            data: JSON or UBJSON.
            missing: The number that it takes for a missing value.
            wrapped: Whether it is asked as its scikit-learn wrapper would: up to the best iteration.
        """
        self._missing = missing
        self._wrapped = wrapped
        library = _library()
        self._booster = library.Booster()
        try:
            xgboost_file.require_whole(data)
            self._booster.load_model(bytearray(data))
            self._booster.set_param({"nthread": 1})
            self._config: dict[str, Any] = json.loads(self._booster.save_config())["learner"]
        except (library.core.XGBoostError, ValueError, TypeError):
            raise ModelMismatch(
                "the model file cannot be read by xgboost", remedy="Save the model again; it may have been cut off."
            ) from None

    @property
    def names(self) -> tuple[str, ...] | None:
        """The booster's own feature names."""
        names = tuple(self._booster.feature_names or ())
        return None if not names or estimators.is_placeholder(names) else names

    @property
    def count(self) -> int:
        """How many features it takes."""
        return int(self._booster.num_features())

    def layout(self, _: Sequence[Input]) -> Layout:
        """Return ``array``: a booster takes numbers alone."""
        return "array"

    def columns(self, layout: Layout, features: Sequence[str], inputs: Sequence[Input]) -> Columns:
        """Return what turns rows into one array."""
        return boosters.numeric_columns(layout, features, inputs)

    def forest(self) -> Forest:
        """Return its trees, those that count.

        Raises:
            Unfoldable: It is more than trees of numbers.
        """
        return xgboost_trees.forest(bytes(self._booster.save_raw("json")), self._rounds()[1], self._missing)

    def ask(self, output: Output, raw: Ask | None = None) -> Ask:
        """Return what asks it; see ``Opened``. ``raw`` is asked in its place, where it is given."""
        objective = str(self._config["objective"]["name"])
        classes = int(self._config["learner_model_param"]["num_class"])
        return boosters.ask(_kind(objective), classes, raw or self._raw(), output, objective)

    def _raw(self) -> Ask:
        booster, rounds, missing = self._booster, self._rounds(), self._missing
        if self._config["gradient_booster"]["name"] == "gblinear":  # which has no prediction in place
            matrix = _library().DMatrix
            return lambda values: boosters.array(
                booster.predict(matrix(values, missing=missing, nthread=1), validate_features=False)
            )
        return lambda values: boosters.array(
            booster.inplace_predict(values, iteration_range=rounds, missing=missing, validate_features=False)
        )

    def _rounds(self) -> tuple[int, int]:
        """Return the trees that count: as the wrapper does where the wrapper saved the file, else all."""
        attributes = self._booster.attributes()
        if (self._wrapped or "scikit_learn" in attributes) and "best_iteration" in attributes:
            return 0, int(attributes["best_iteration"]) + 1
        return 0, 0


def _kind(objective: str) -> Kind:
    match objective:
        case "binary:logistic":
            return "binary"
        case "multi:softprob":
            return "multiclass"
        case _ if objective.startswith(_VALUE_OBJECTIVES):
            return "value"
        case _:
            raise ModelMismatch(
                f"the objective {objective} gives neither a probability nor a value",
                remedy="Train with binary:logistic, multi:softprob, or an objective of regression.",
            )


def _saved_with(data: bytes) -> str | None:
    found = _UBJ_VERSION.search(data[-200:]) or _UBJ_VERSION.search(data)
    if found:
        return ".".join(str(part[0]) for part in found.groups())
    text = _JSON_VERSION.search(data[-200:]) or _JSON_VERSION.search(data)
    return ".".join(part.decode() for part in text.groups()) if text else None


def _library() -> Any:  # noqa: ANN401 - a module without types
    try:
        import xgboost
    except ImportError:
        raise LibraryMissing(
            "the model is an XGBoost booster, and xgboost is not installed",
            remedy="Add xgboost-cpu to requirements.in.",
        ) from None
    return xgboost

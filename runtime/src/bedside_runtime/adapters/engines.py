"""Engines: other ways to compute what a model answers, faster than asking the library as its author did.

An engine serves only with a proof that it answers as the model itself (see `equivalence`). They are listed in the
order of preference, the fastest first; the order is fixed, so that one release is always packaged alike.
"""

from collections.abc import Sequence
from typing import Any, Final

from bedside_runtime.adapters import estimators, folded, lightgbm, xgboost
from bedside_runtime.adapters.folding import Unfoldable
from bedside_runtime.adapters.opened import Opened, bind
from bedside_runtime.adapters.predictor import Predictor
from bedside_runtime.contract import EngineName, Input, Model, Output
from bedside_runtime.errors import EngineUnsuitable, ModelMismatch

PREFERENCE: Final[tuple[EngineName, ...]] = ("folded", "booster")

INLINE: Final[frozenset[EngineName]] = frozenset({"folded"})
"""Engines that take microseconds a row and cannot block: they are asked in the event loop itself."""


def build(name: EngineName, opened: Opened, model: Model, inputs: Sequence[Input], output: Output) -> Predictor:
    """Return the engine ``name`` for a model that is open.

    Raises:
        EngineUnsuitable: It cannot compute this model; the message says why.
    """
    if model.code:
        raise _unsuitable(name, "the model's input is made by code of its author")
    if not isinstance(opened, estimators.Model):
        raise _unsuitable(name, "it is stored in its library's own format, and native asks that library directly")
    estimator = opened.estimator
    try:
        if name == "folded":
            return folded.fold(estimator, model.features, inputs, output)
        return bind(_booster(estimator), "array", model.features, inputs, output, None)
    except (Unfoldable, ModelMismatch) as error:
        raise _unsuitable(name, str(error)) from None


def _booster(estimator: Any) -> Opened:  # noqa: ANN401 - any estimator
    """Return the booster inside a wrapper, as the adapter of its own library opens it."""
    library = type(estimator).__module__.split(".")[0]
    if library == "xgboost":
        return xgboost.Model(bytes(estimator.get_booster().save_raw("ubj")))
    if library == "lightgbm":
        return lightgbm.Model(estimator.booster_.model_to_string().encode())
    raise Unfoldable(f"{type(estimator).__name__} is no wrapper around a booster")


def _unsuitable(name: str, why: str) -> EngineUnsuitable:
    return EngineUnsuitable(f"the engine {name} cannot compute this model: {why}")

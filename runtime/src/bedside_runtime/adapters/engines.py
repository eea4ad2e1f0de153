"""Engines: other ways to compute what a model answers, faster than asking the library as its author did.

An engine serves only with a proof that it answers as the model itself (see `equivalence`). They are listed in the
order of preference, the fastest first; the order is fixed, so that one release is always packaged alike.
"""

from collections.abc import Sequence
from typing import Final

from bedside_runtime.adapters import converted, direct, estimators, folded, forests
from bedside_runtime.adapters.edges import AtEdges, Computes, Drawn
from bedside_runtime.adapters.features import Unfoldable
from bedside_runtime.adapters.opened import Opened, bind
from bedside_runtime.adapters.predictor import Predictor
from bedside_runtime.contract import EngineName, Input, Model, Output
from bedside_runtime.errors import EngineUnsuitable, ModelMismatch

PREFERENCE: Final[tuple[EngineName, ...]] = ("folded", "trees", "booster")
"""The first that can compute a model is the fastest that there is for it."""

NAMED: Final[tuple[EngineName, ...]] = ("onnx",)
"""Engines that serve only where the author names them: their arithmetic is another than the model's own."""

INLINE: Final[frozenset[EngineName]] = frozenset({"folded", "trees"})
"""Engines that take microseconds a row and cannot block: they are asked in the event loop itself."""


def build(
    name: EngineName,
    opened: Opened,
    model: Model,
    inputs: Sequence[Input],
    output: Output,
    tolerance: float,
    graph: bytes | None = None,
    drawn: Sequence[Drawn] = (),
) -> Predictor:
    """Return the engine ``name`` for a model that is open.

    Args:
        name: The engine.
        opened: The model itself.
        model: What inspecting it found.
        inputs: The declared inputs, in the order of a row.
        output: What it is declared to answer.
        tolerance: How far an answer may be from the model's own; as close to a band's edge, the model is asked.
        graph: The model as it was converted to ONNX, for the engine ``onnx``.
        drawn: Numbers of no declared range, and between which ends the proof draws them; beyond, the model is asked.

    Raises:
        EngineUnsuitable: It cannot compute this model; the message says why.
        LibraryMissing: onnxruntime is not installed.
    """
    if model.code:
        raise _unsuitable(name, "the model's input is made by code of its author")
    try:
        computes = _computes(name, opened, model.features, inputs, output, graph)
    except (Unfoldable, ModelMismatch) as error:
        raise _unsuitable(name, str(error)) from None
    return AtEdges(
        computes, lambda: bind(opened, model.layout, model.features, inputs, output, None), output, tolerance, drawn
    )


def _computes(
    name: EngineName,
    opened: Opened,
    features: Sequence[str],
    inputs: Sequence[Input],
    output: Output,
    graph: bytes | None,
) -> Computes:
    if name == "trees":
        return forests.trees(opened, features, inputs, output)
    if not isinstance(opened, estimators.Model):
        raise Unfoldable("it is stored in its library's own format, and native asks that library directly")
    estimator = opened.estimator
    if name == "folded":
        answer = folded.fold(estimator, features, inputs, output)
        return lambda rows: list(map(answer, rows))
    if name == "onnx":
        return converted.graph(graph, estimator, features, inputs, output)
    return direct.booster(estimator, features, inputs, output)


def _unsuitable(name: str, why: str) -> EngineUnsuitable:
    return EngineUnsuitable(f"the engine {name} cannot compute this model: {why}")

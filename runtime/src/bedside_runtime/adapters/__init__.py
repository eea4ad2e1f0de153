"""Model adapters: from verified bytes to a Predictor, one module a framework.

The libraries that the models need are the author's and are imported only where a model asks for them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, assert_never

from bedside_runtime import environment
from bedside_runtime.adapters import code as authors
from bedside_runtime.adapters import columns, converting, engines, estimators, formats, lightgbm, onnx, sklearn, xgboost
from bedside_runtime.adapters.edges import Drawn
from bedside_runtime.adapters.opened import Facts, Opened, bind
from bedside_runtime.adapters.predictor import Predictor
from bedside_runtime.contract import (
    ArtifactFormat,
    Converted,
    EngineName,
    Global,
    Input,
    Inspection,
    InspectionRequest,
    Model,
    Output,
)
from bedside_runtime.errors import ModelMismatch


def open_model(
    model: Model,
    inputs: Sequence[Input],
    output: Output,
    artifact: bytes,
    code: Mapping[str, bytes],
    engine: EngineName | Literal["native"] = "native",
    tolerance: float = 0.0,
    graph: bytes | None = None,
    drawn: Sequence[Drawn] = (),
) -> Predictor:
    """Build the predictor from bytes that were verified; nothing is read from disk.

    Args:
        model: What inspecting the artifact at package time found.
        inputs: The declared inputs, in the order of a row.
        output: What the model is declared to answer.
        artifact: The artifact's bytes.
        code: The author's modules, path in the release to source, in import order.
        engine: What shall compute.
        tolerance: How far an answer of another engine than ``native`` may be from the model's own.
        graph: The model as it was converted to ONNX, for the engine ``onnx``.
        drawn: Numbers of no declared range, and between which ends the engine's proof draws them.

    Raises:
        EngineUnsuitable: The engine cannot compute this model.
        BedsideRuntimeError: See each framework's module.
    """
    transform = authors.install(code).transform()
    opened = _open(model.format, artifact, model.globals)
    if engine != "native":
        return engines.build(engine, opened, model, inputs, output, tolerance, graph, drawn)
    return bind(opened, model.layout, model.features, inputs, output, transform)


def inspect(request: InspectionRequest) -> Inspection:
    """Find out what an artifact is, without running anything that its bytes bring along unasked.

    Raises:
        BedsideRuntimeError: It cannot be served as declared.
    """
    found, opened, transform = _inspected(request)
    if request.inputs:
        bind(opened, found.layout, found.features, request.inputs, request.output, transform)
    return found


def open_unreleased(request: InspectionRequest) -> Predictor:
    """Return the model of ``request``, inspected and opened.

    Raises:
        BedsideRuntimeError: It cannot be served as declared.
    """
    found, opened, transform = _inspected(request)
    return bind(opened, found.layout, found.features, request.inputs, request.output, transform)


def convert(request: InspectionRequest, path: str) -> tuple[bytes, Converted]:
    """Convert the model of ``request`` to ONNX.

    Args:
        request: The model, and what is declared of it.
        path: What the file will be called in the release.

    Raises:
        EngineUnsuitable: There is no conversion for it.
        BedsideRuntimeError: It cannot be served as declared.
    """
    found, opened, _ = _inspected(request)
    return converting.convert(opened, found, request.inputs, path)


def _inspected(request: InspectionRequest) -> tuple[Inspection, Opened, authors.Transform | None]:
    artifact = _read(request.artifact)
    author = authors.install({path: _read(path) for path in request.code})
    format_ = formats.detect(request.artifact, artifact, request.framework)
    facts = _survey(format_, artifact, author.modules)
    transform = author.transform()
    opened = _open(format_, artifact, facts.globals)
    names, count = (None, None) if transform else (opened.names, opened.count)
    layout: columns.Layout = "code" if transform else opened.layout(request.inputs)
    found = Inspection(
        format=format_,
        features=columns.match(names, count, request.inputs),
        layout=layout,
        globals=facts.globals,
        trained_with=facts.trained_with,
        environment=environment.fingerprint(),
    )
    return found, opened, transform


def _survey(format_: ArtifactFormat, artifact: bytes, author: Sequence[str]) -> Facts:
    match format_:
        case "joblib" | "pickle" | "skops":
            return sklearn.survey(format_, artifact, author)
        case "xgboost-json" | "xgboost-ubj":
            return xgboost.survey(artifact)
        case "lightgbm-text" | "onnx":
            return Facts()
        case _:
            assert_never(format_)


def _open(format_: ArtifactFormat, artifact: bytes, allowed: Sequence[Global]) -> Opened:
    match format_:
        case "joblib" | "pickle" | "skops":
            return estimators.Model(sklearn.load(format_, artifact, allowed))
        case "xgboost-json" | "xgboost-ubj":
            return xgboost.Model(artifact)
        case "lightgbm-text":
            return lightgbm.Model(artifact)
        case "onnx":
            return onnx.Model(artifact)
        case _:
            assert_never(format_)


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ModelMismatch(
            f"{Path(path).name} cannot be read: {error.strerror}",
            remedy="Name a readable file under [model] in bedside.toml.",
        ) from None

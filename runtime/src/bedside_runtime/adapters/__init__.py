"""Model adapters: from verified bytes to a Predictor, one module a framework.

The libraries that the models need are the author's and are imported only where a model asks for them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bedside_runtime import environment
from bedside_runtime.adapters import code as authors
from bedside_runtime.adapters import columns, estimators, formats, sklearn
from bedside_runtime.adapters.predictor import Predictor
from bedside_runtime.contract import Input, Inspection, InspectionRequest, Model, Output
from bedside_runtime.errors import ModelMismatch


def open_model(
    model: Model, inputs: Sequence[Input], output: Output, artifact: bytes, code: Mapping[str, bytes]
) -> Predictor:
    """Build the predictor from bytes that were verified; nothing is read from disk.

    Args:
        model: What inspecting the artifact at package time found.
        inputs: The declared inputs, in the order of a row.
        output: What the model is declared to answer.
        artifact: The artifact's bytes.
        code: The author's modules, path in the release to source, in import order.

    Raises:
        BedsideRuntimeError: See each framework's module.
    """
    transform = authors.install(code).transform()
    return _open_estimator(model, inputs, output, artifact, transform)


def inspect(request: InspectionRequest) -> Inspection:
    """Find out what an artifact is, without running anything that its bytes bring along unasked.

    Raises:
        BedsideRuntimeError: It cannot be served as declared.
    """
    found, _ = _inspected(request)
    return found


def opened(request: InspectionRequest) -> Predictor:
    """Return the model of ``request``, inspected and opened.

    Raises:
        BedsideRuntimeError: It cannot be served as declared.
    """
    return _inspected(request)[1]


def _inspected(request: InspectionRequest) -> tuple[Inspection, Predictor]:
    artifact = _read(request.artifact)
    author = authors.install({path: _read(path) for path in request.code})
    format_ = formats.detect(request.artifact, artifact, request.framework)
    allowed, trained_with = sklearn.survey(format_, artifact, author.modules)
    transform = author.transform()
    estimator = sklearn.load(format_, artifact, allowed)
    own = None if transform else estimators.own_features(estimator)
    count = None if transform else estimators.feature_count(estimator)
    features = columns.match(own, count, request.inputs)
    layout = "code" if transform else estimators.layout(estimator, request.inputs)
    found = Inspection(
        format=format_,
        features=features,
        layout=layout,
        globals=allowed,
        trained_with=trained_with,
        environment=environment.fingerprint(),
    )
    return found, estimators.predictor(estimator, found.layout, features, request.inputs, request.output, transform)


def _open_estimator(
    model: Model,
    inputs: Sequence[Input],
    output: Output,
    artifact: bytes,
    transform: authors.Transform | None,
) -> Predictor:
    estimator = sklearn.load(model.format, artifact, model.globals)
    return estimators.predictor(estimator, model.layout, model.features, inputs, output, transform)


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ModelMismatch(
            f"{Path(path).name} cannot be read: {error.strerror}",
            remedy="Name a readable file under [model] in bedside.toml.",
        ) from None

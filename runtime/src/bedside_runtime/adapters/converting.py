"""From a scikit-learn estimator, or a booster in such a wrapper, to an ONNX graph; when a release is packaged.

The converters (skl2onnx, onnxmltools) are installed for that alone, beside the release's own lock. Serving needs none.
"""

import importlib.metadata
import math
from collections.abc import Sequence
from typing import Any, Final

from bedside_runtime.adapters import estimators
from bedside_runtime.adapters.opened import Opened
from bedside_runtime.contract import Converted, Input, Inspection
from bedside_runtime.errors import EngineUnsuitable, LibraryMissing

_CONVERTERS: Final = ("onnx", "onnxmltools", "skl2onnx")
_OPSETS: Final = {"": 17, "ai.onnx.ml": 3}
"""The newest operators for trees that all of these converters know."""

_FAILURES: Final = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, NameError, ArithmeticError)
"""With what the converters refuse; they have no error of their own for it."""


def convert(opened: Opened, found: Inspection, inputs: Sequence[Input], path: str) -> tuple[bytes, Converted]:
    """Return the graph of a model and what made it; the same bytes for the same model and converters.

    The model is prepared for that, and serves no more.

    Args:
        opened: The model.
        found: What inspecting it found.
        inputs: The declared inputs.
        path: What the file will be called in the release.

    Raises:
        EngineUnsuitable: There is no conversion for it; the message says why.
        LibraryMissing: A converter is not installed.
    """
    if found.layout == "code":
        raise _unsuitable("its input is made by code of its author")
    if not isinstance(opened, estimators.Model):
        raise _unsuitable("it is stored in its library's own format; a scikit-learn wrapper around it can be converted")
    graph = _graph(opened.estimator, _types(opened.estimator, found.features, inputs))
    opsets = {item.domain or "ai.onnx": item.version for item in graph.opset_import}
    converters = {name: importlib.metadata.version(name) for name in _CONVERTERS}
    return graph.SerializeToString(deterministic=True), Converted(path=path, converters=converters, opsets=opsets)


def _types(
    estimator: Any,  # noqa: ANN401 - any estimator
    features: Sequence[str],
    inputs: Sequence[Input],
) -> list[tuple[str, str, int]]:
    """Return the graph's inputs, each with its kind and width: all features in one, or one each where they part."""
    words = {item.name for item in inputs if item.type == "category"}
    optional = sorted(item.name for item in inputs if item.name in words and item.missing == "allow")
    if optional:
        raise _unsuitable(f"a category may be missing, which ONNX cannot say: {', '.join(optional)}")
    parted = any(type(part).__name__ == "ColumnTransformer" for part in estimators.parts(estimator))
    if parted or words or len(features) == 1:
        return [(name, "words" if name in words else "numbers", 1) for name in features]
    return [("features", "numbers", len(features))]


def _graph(estimator: Any, types: Sequence[tuple[str, str, int]]) -> Any:  # noqa: ANN401 - an onnx.ModelProto
    try:
        import skl2onnx
        from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    except ImportError:
        raise LibraryMissing("skl2onnx is not installed, which converts scikit-learn's models to ONNX") from None
    _register(estimator)
    kinds = {"words": StringTensorType, "numbers": FloatTensorType}
    try:
        return skl2onnx.convert_sklearn(
            estimator,
            "model",
            [(name, kinds[kind]([None, width])) for name, kind, width in types],
            options={"zipmap": False} if hasattr(estimator, "predict_proba") else None,
            target_opset=_OPSETS,
        )
    except _FAILURES as error:
        why = " ".join(str(error).split())[:160]
        raise _unsuitable(f"skl2onnx cannot convert it ({type(error).__name__}: {why})") from None


def _register(estimator: Any) -> None:  # noqa: ANN401
    """Make skl2onnx know the boosters in ``estimator``, whose converters are onnxmltools'; XGBoost's wants no names."""
    for part in estimators.parts(estimator):
        library = type(part).__module__.split(".")[0]
        if library == "xgboost":
            from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost

            if not math.isnan(part.missing):
                raise _unsuitable(f"its {type(part).__name__} takes a number for missing")
            if part.__sklearn_is_fitted__():
                part.get_booster().feature_names = None
            _know(type(part), convert_xgboost)
        elif library == "lightgbm" and hasattr(part, "booster_"):
            from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm

            if part.get_params().get("zero_as_missing"):
                raise _unsuitable(f"its {type(part).__name__} takes zero for missing")
            _know(type(part), convert_lightgbm)


def _know(wrapper: type, converter: Any) -> None:  # noqa: ANN401 - a function of onnxmltools
    import skl2onnx
    from skl2onnx.common import shape_calculator as shapes

    classifies = hasattr(wrapper, "predict_proba")
    skl2onnx.update_registered_converter(
        wrapper,
        wrapper.__name__,
        shapes.calculate_linear_classifier_output_shapes
        if classifies
        else shapes.calculate_linear_regressor_output_shapes,
        converter,
        options={"nocl": [True, False], "zipmap": [True, False, "columns"]} if classifies else None,
    )


def _unsuitable(why: str) -> EngineUnsuitable:
    return EngineUnsuitable(f"the engine onnx cannot compute this model: {why}")

"""The engine onnx: the model as it was converted when the release was packaged, run by ONNX Runtime.

A converted graph computes in single precision, so it serves only where its author names it, and only with a proof.
Where its answer is none, or two labels are as good as equal, it says nothing, and the model itself is asked.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from bedside_runtime.adapters import onnx
from bedside_runtime.adapters.edges import Computes
from bedside_runtime.adapters.estimators import positive_column
from bedside_runtime.adapters.features import Unfoldable
from bedside_runtime.contract import Input, Output, Scalar

_TIE: Final = 1e-5
"""Relative difference of two scores up to which single precision does not tell the larger one."""

_Answers: TypeAlias = Callable[[Any], Sequence[Scalar | None]]


def graph(
    data: bytes | None,
    estimator: Any,  # noqa: ANN401 - any estimator
    features: Sequence[str],
    inputs: Sequence[Input],
    output: Output,
) -> Computes:
    """Return what asks the graph in ``data``.

    Args:
        data: The graph that ``estimator`` was converted to.
        estimator: Whose classes it answers.
        features: Its features, in its order.
        inputs: The declared inputs, in the order of a row.
        output: What it is declared to answer.

    Raises:
        Unfoldable: There is no graph.
        ModelMismatch: It does not take what is declared, or does not answer it.
        LibraryMissing: onnxruntime is not installed.
    """
    if data is None:
        raise Unfoldable("the release carries no conversion of it")
    opened = onnx.Model(data)
    columns = opened.columns(opened.layout(inputs), features, inputs)
    answers = _labels(opened, estimator) if output.type == "class" else _numbers(opened, estimator, output)
    return lambda rows: answers(columns(rows))


def _numbers(opened: onnx.Model, estimator: Any, output: Output) -> _Answers:  # noqa: ANN401
    """Return what answers numbers; one that rounding put outside of what the output can be is none."""
    low, high = float("-inf"), float("inf")
    if output.type == "probability":
        low, high = 0.0, 1.0
        place = positive_column(estimator.classes_.tolist(), output.positive)
        output = Output(name=output.name, type=output.type, positive=place)
    ask = opened.ask(output)
    return lambda feed: [value if low <= value <= high else None for value in ask(feed).tolist()]


def _labels(opened: onnx.Model, estimator: Any) -> _Answers:  # noqa: ANN401
    """Return what answers the estimator's own labels, as it has them: a graph knows whole numbers and words."""
    own = {label: label for label in estimator.classes_.tolist()}
    ask = opened.labels_and_scores()

    def answers(feed: Any) -> Sequence[Scalar | None]:  # noqa: ANN401 - arrays by the graph's input names
        labels, scores = ask(feed)
        pairs = zip(labels.tolist(), _told(scores).tolist(), strict=True)
        return [own.get(label) if told else None for label, told in pairs]

    return answers


def _told(scores: Any) -> Any:  # noqa: ANN401 - NumPy arrays
    """Return, a row each, whether the largest score is clearly the largest.

    One score alone decides at zero or, where it is a probability, at a half.
    """
    import numpy as np

    if scores.ndim == 1:
        return (np.abs(scores) > _TIE) & (np.abs(scores - 0.5) > _TIE)
    second, first = np.sort(scores, axis=1)[:, -2:].T
    return first - second > _TIE * np.maximum(1.0, np.abs(first))

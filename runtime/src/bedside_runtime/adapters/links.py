"""From the sums of a linear model to what it answers: probabilities, labels, values, and the curves of calibration.

Which formula a class of scikit-learn uses stands here by its name; a class that is not listed is not folded.
"""

import itertools
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from bedside_runtime.adapters.estimators import positive_column
from bedside_runtime.adapters.features import Unfoldable
from bedside_runtime.contract import Output, Scalar

_SOFTMAX: Final = frozenset({"LogisticRegression", "LogisticRegressionCV", "LinearDiscriminantAnalysis"})
_LABELS: Final = frozenset(
    {"LinearSVC", "PassiveAggressiveClassifier", "Perceptron", "RidgeClassifier", "RidgeClassifierCV", "SGDClassifier"}
)
_LINEAR: Final = frozenset(
    {"ARDRegression", "BayesianRidge", "ElasticNet", "ElasticNetCV", "HuberRegressor", "Lars", "LarsCV", "Lasso"}
    | {"LassoCV", "LassoLars", "LassoLarsCV", "LassoLarsIC", "LinearRegression", "LinearSVR"}
    | {"OrthogonalMatchingPursuit", "OrthogonalMatchingPursuitCV", "PassiveAggressiveRegressor"}
    | {"QuantileRegressor", "Ridge", "RidgeCV", "SGDRegressor", "TheilSenRegressor"}
)
_EXPONENTIAL: Final = frozenset({"PoissonRegressor", "GammaRegressor", "TweedieRegressor"})

MODELS: Final = _SOFTMAX | _LABELS | _LINEAR | _EXPONENTIAL
"""All that are folded, beside CalibratedClassifierCV around some of them."""

TIE: Final = 1e-6
"""How close two labels are that a sum does not tell apart: rounding is far below, and hardly a patient is so close."""

_STEEPEST: Final = 1e4
"""Rise of an isotonic curve beyond which the rounding of a sum could be seen in the answer."""


Link: TypeAlias = Callable[[Sequence[float]], Scalar | None]
"""The sums of a model in, its answer out; ``None`` where a label is too close to another to be told by a sum."""


def of(model: Any, output: Output) -> Link:  # noqa: ANN401 - any estimator
    """Return the link of ``model`` for what is declared.

    Raises:
        Unfoldable: It is not listed, or cannot answer that.
    """
    name = type(model).__name__
    if name in _LINEAR or name in _EXPONENTIAL:
        return _value(model, name, output)
    if name not in _SOFTMAX | _LABELS:
        raise Unfoldable(f"{name} is not among the models that can be folded")
    classes: list[Scalar] = model.classes_.tolist()
    match output.type:
        case "class":
            return _label(classes)
        case "probability":
            return _probability(model, name, positive_column(classes, output.positive))
        case "value":
            raise Unfoldable(f"{name} answers no value")


def coefficients(model: Any) -> tuple[list[list[float]], list[float]]:  # noqa: ANN401 - any estimator
    """Return a model's coefficients, one row a sum, and its constants.

    Raises:
        Unfoldable: It answers several values.
    """
    rows = model.coef_.tolist()
    rows = rows if model.coef_.ndim == 2 else [rows]
    constants = model.intercept_.tolist() if hasattr(model.intercept_, "tolist") else float(model.intercept_)
    listed = constants if isinstance(constants, list) else [constants] * len(rows)
    if len(rows) > 1 and not hasattr(model, "classes_"):
        raise Unfoldable("the model answers several values")
    return rows, [float(constant) for constant in listed]


def logistic(value: float) -> float:
    """Return ``1 / (1 + exp(-value))`` without overflow."""
    if value >= 0.0:
        return 1.0 / (1.0 + math.exp(-value))
    grown = math.exp(value)
    return grown / (1.0 + grown)


def _value(model: Any, name: str, output: Output) -> Link:  # noqa: ANN401
    if output.type != "value":
        raise Unfoldable(f"{name} answers a value")
    identity = name == "TweedieRegressor" and (model.link == "identity" or (model.link == "auto" and model.power <= 0))
    if name in _LINEAR or identity:
        return lambda sums: sums[0]
    return lambda sums: _exponential(sums[0])


def _exponential(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:  # NumPy says infinity, which no output can be
        return math.inf


def _label(classes: Sequence[Scalar]) -> Link:
    if len(classes) == 2:
        return lambda sums: None if abs(sums[0]) < TIE else classes[int(sums[0] > 0.0)]

    def answer(sums: Sequence[float]) -> Scalar | None:
        *_, second, first = sorted(sums)
        return None if first - second < TIE else classes[sums.index(first)]

    return answer


def _probability(model: Any, name: str, place: int) -> Link:  # noqa: ANN401
    several = len(model.classes_) > 2
    loss = getattr(model, "loss", None)
    if name in _SOFTMAX:
        return _of_classes(model, place) if several else _of_two(model, place)
    if name == "SGDClassifier" and loss == "log_loss":
        return _shares(place) if several else _side(logistic, place)
    if name == "SGDClassifier" and loss == "modified_huber" and not several:
        return _side(lambda total: (min(max(total, -1.0), 1.0) + 1.0) / 2.0, place)
    raise Unfoldable(f"the probabilities of {name} are not folded")


def _of_two(model: Any, place: int) -> Link:  # noqa: ANN401
    if getattr(model, "multi_class", "auto") == "multinomial":
        raise Unfoldable("two classes fitted as several are not folded")
    return _side(logistic, place)


def _of_classes(model: Any, place: int) -> Link:  # noqa: ANN401
    """Several classes fitted together, or one against the rest and then brought to the sum of one."""
    one_against_rest = getattr(model, "multi_class", "auto") == "ovr" or getattr(model, "solver", "") == "liblinear"
    return _shares(place) if one_against_rest else _softmax(place)


def _side(probability: Callable[[float], float], place: int) -> Link:
    if place == 1:
        return lambda sums: probability(sums[0])
    return lambda sums: 1.0 - probability(sums[0])


def _softmax(place: int) -> Link:
    def answer(sums: Sequence[float]) -> float:
        largest = max(sums)
        grown = [math.exp(value - largest) for value in sums]
        return grown[place] / sum(grown)

    return answer


def _shares(place: int) -> Link:
    def answer(sums: Sequence[float]) -> float:
        each = [logistic(value) for value in sums]
        return each[place] / sum(each)

    return answer


def require_decision(model: Any) -> None:  # noqa: ANN401 - any estimator
    """Refuse what CalibratedClassifierCV does not ask for one linear sum.

    Raises:
        Unfoldable: It is none of the linear models, or has several classes.
    """
    name = type(model).__name__
    if name not in _SOFTMAX | _LABELS:
        raise Unfoldable(f"CalibratedClassifierCV around {name} is not folded")
    if len(model.classes_) != 2:
        raise Unfoldable("CalibratedClassifierCV of several classes is not folded")


def curve(calibrated: Any) -> Callable[[float], float]:  # noqa: ANN401 - a part of CalibratedClassifierCV
    """Return what one calibrator makes of its model's sum.

    Raises:
        Unfoldable: It is neither sigmoid nor isotonic, or rises too steeply.
    """
    if calibrated.method not in ("sigmoid", "isotonic"):
        raise Unfoldable(f"calibration by {calibrated.method} is not folded")
    (calibrator,) = calibrated.calibrators
    if calibrated.method == "isotonic":
        return _isotonic(calibrator.X_thresholds_.tolist(), calibrator.y_thresholds_.tolist())
    slope, offset = float(calibrator.a_), float(calibrator.b_)
    return lambda total: logistic(-(slope * total + offset))


def _isotonic(places: list[float], heights: list[float]) -> Callable[[float], float]:
    pairs = list(zip(places, heights, strict=True))
    rises = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.pairwise(pairs)]
    if any(rise > _STEEPEST for rise in rises):
        raise Unfoldable("its isotonic calibration rises so steeply that rounding would show")

    def answer(total: float) -> float:
        if total >= places[-1]:
            return heights[-1]
        at = bisect_right(places, total) - 1
        return heights[0] if at < 0 else heights[at] + rises[at] * (total - places[at])

    return answer


def mean_of_calibrated(model: Any, output: Output) -> Link:  # noqa: ANN401
    """Return what CalibratedClassifierCV makes of the calibrated probabilities of its parts.

    Raises:
        Unfoldable: It is declared to answer a value.
    """
    classes: list[Scalar] = model.classes_.tolist()
    match output.type:
        case "class":
            label = _label(classes)
            return lambda parts: label([sum(parts) / len(parts) - 0.5])
        case "probability" if positive_column(classes, output.positive) == 1:
            return lambda parts: sum(parts) / len(parts)
        case "probability":
            return lambda parts: sum(1.0 - part for part in parts) / len(parts)
        case "value":
            raise Unfoldable("CalibratedClassifierCV answers no value")

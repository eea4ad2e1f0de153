"""scikit-learn's histogram gradient boosting as a forest, read from its fitted predictors.

The library compares in double precision, sends values up to a threshold left, and adds leaves in double precision to
its baseline, one tree after the other.
"""

from typing import Any

from bedside_runtime.adapters.features import Unfoldable
from bedside_runtime.adapters.trees import Finish, Forest, Split, Tree, at_most


def forest(model: Any, *, labels: bool) -> Forest:  # noqa: ANN401 - a fitted estimator
    """Return the trees of a ``HistGradientBoostingClassifier`` or ``HistGradientBoostingRegressor``.

    Args:
        model: It.
        labels: Whether the places of classes are asked for, not their probabilities.

    Raises:
        Unfoldable: It splits by categories.
    """
    if model._preprocessor is not None:
        raise Unfoldable("the model takes categories")
    trees = tuple(_tree(one.nodes, group) for rounds in model._predictors for group, one in enumerate(rounds))
    if not trees:
        raise Unfoldable("the model has no trees")
    begins = tuple(float(value) for value in model._baseline_prediction.ravel())
    finish = _places if labels else _finish(model)
    return Forest(trees=trees, begins=begins, width="float64", finish=finish)


def _tree(nodes: Any, group: int) -> Tree:  # noqa: ANN401 - a structured array
    inner = [place for place, node in enumerate(nodes) if not node["is_leaf"]]
    leaves = [place for place, node in enumerate(nodes) if node["is_leaf"]]
    if any(nodes[place]["is_categorical"] for place in inner):
        raise Unfoldable("a tree splits by categories")
    places = {node: place for place, node in enumerate(inner)} | {node: ~place for place, node in enumerate(leaves)}
    splits = tuple(
        Split(
            int(node["feature_idx"]),
            at_most(float(node["num_threshold"])),
            bool(node["missing_go_to_left"]),
            places[int(node["left"])],
            places[int(node["right"])],
        )
        for node in (nodes[place] for place in inner)
    )
    return Tree(splits, tuple(float(nodes[place]["value"]) for place in leaves), group)


def _places(sums: Any) -> Any:  # noqa: ANN401 - NumPy arrays
    """Return the class with the largest sum, of two classes the second where the sum is positive."""
    return (sums[:, 0] > 0).astype(int) if sums.shape[1] == 1 else sums.argmax(axis=1)


def _finish(model: Any) -> Finish:  # noqa: ANN401 - a fitted estimator
    """Return what the model's own loss makes of sums."""
    loss = model._loss
    if hasattr(model, "classes_"):
        return lambda sums: loss.predict_proba(sums)
    return lambda sums: loss.link.inverse(sums[:, 0])

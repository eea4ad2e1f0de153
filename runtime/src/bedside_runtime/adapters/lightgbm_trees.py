"""LightGBM's trees as a forest, read from what its booster dumps (its documented `dump_model`).

The library compares in double precision, sends values up to a threshold left, and adds leaves in double precision, one
tree after the other.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from bedside_runtime.adapters.features import Unfoldable
from bedside_runtime.adapters.trees import Finish, Forest, Split, Taken, Tree, at_most

_PLAIN: Final = frozenset(
    {"regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg"}
)
_EXPONENTIAL: Final = frozenset({"poisson", "gamma", "tweedie"})

_ZERO: Final = 1.0000000180025095e-35
"""1e-35 in single precision: what lies as close to zero is taken for zero (meta.h: kZeroThreshold)."""


def forest(dumped: Mapping[str, Any]) -> Forest:
    """Return the trees of a booster.

    Args:
        dumped: What ``Booster.dump_model`` returned.

    Raises:
        Unfoldable: It is built of something else than trees of numbers, or answers what is not known here.
    """
    if dumped["average_output"]:
        raise Unfoldable("the booster averages its trees")
    groups = int(dumped["num_tree_per_iteration"])
    known = _Known()
    trees = tuple(_tree(tree, index % groups, known) for index, tree in enumerate(dumped["tree_info"]))
    if len(trees) < groups:
        raise Unfoldable("the booster has no trees")
    return Forest(
        trees=trees, begins=(0.0,) * groups, width="float64", finish=_finish(dumped["objective"]), taken=known.taken()
    )


class _Known:
    """How each column's splits take zero: as it is or as missing, but all of them one way."""

    def __init__(self) -> None:
        self._zero_is_missing: dict[int, bool] = {}

    def add(self, column: int, *, zero_is_missing: bool) -> None:
        """Take one split into account.

        Raises:
            Unfoldable: It takes zero otherwise than another split of its column.
        """
        if self._zero_is_missing.setdefault(column, zero_is_missing) != zero_is_missing:
            raise Unfoldable("splits of one column take zero in two ways")

    def taken(self) -> dict[int, tuple[Taken, ...]]:
        """Return what values about zero are taken for, by column."""
        return {
            column: ((-_ZERO, at_most(_ZERO), math.nan if missing else 0.0),)
            for column, missing in self._zero_is_missing.items()
        }


def _tree(saved: Mapping[str, Any], group: int, known: _Known) -> Tree:
    if saved["num_cat"]:
        raise Unfoldable("a tree splits by categories")
    nodes = _from_root(saved["tree_structure"])
    inner = [node for node in nodes if "threshold" in node]
    leaves = [node for node in nodes if "threshold" not in node]
    if any("leaf_coeff" in leaf for leaf in leaves):
        raise Unfoldable("a leaf holds a linear model")
    places = {id(node): place for place, node in enumerate(inner)}
    places |= {id(node): ~place for place, node in enumerate(leaves)}
    for node in inner:
        known.add(node["split_feature"], zero_is_missing=node["missing_type"] == "Zero")
    splits = tuple(_split(node, places) for node in inner)
    return Tree(splits, tuple(float(leaf["leaf_value"]) for leaf in leaves), group)


def _from_root(root: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    order = [root]
    for node in order:
        if "threshold" in node:
            order += [node["left_child"], node["right_child"]]
    return order


def _split(node: Mapping[str, Any], places: Mapping[int, int]) -> Split:
    cut = at_most(float(node["threshold"]))
    # Where a column had no missing value in training, one is taken for zero.
    missing_left = cut > 0.0 if node["missing_type"] == "None" else bool(node["default_left"])
    return Split(
        node["split_feature"], cut, missing_left, places[id(node["left_child"])], places[id(node["right_child"])]
    )


def _finish(objective: str) -> Finish:
    """Return what the library makes of sums, in double precision."""
    name, *words = objective.split()
    settings = dict(word.split(":", 1) for word in words if ":" in word)
    match name:
        case "binary":
            return _each(_sigmoid(float(settings["sigmoid"])))
        case "cross_entropy":
            return _each(_sigmoid(1.0))
        case "multiclass":
            return _softmax
        case _ if name in _EXPONENTIAL:
            return _each(_exponential)
        case _ if name in _PLAIN and "sqrt" not in words:
            return lambda sums: sums[:, 0]
    raise Unfoldable(f"what the objective {objective} makes of the trees' sum is not known here")


def _each(function: Callable[[float], float]) -> Finish:
    import numpy as np

    return lambda sums: np.array([function(value) for value in sums[:, 0].tolist()])


def _sigmoid(steepness: float) -> Callable[[float], float]:
    def sigmoid(value: float) -> float:
        return 1.0 / (1.0 + _exponential(-steepness * value))

    return sigmoid


def _exponential(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:  # C says infinity
        return math.inf


def _softmax(sums: Any) -> Any:  # noqa: ANN401 - NumPy arrays
    import numpy as np

    return np.array([_shares(row) for row in sums.tolist()])


def _shares(row: Sequence[float]) -> list[float]:
    """Return exp(x - max) of each over the sum of all, added up in their order."""
    most = max(row)
    powers = [math.exp(value - most) for value in row]
    total = 0.0
    for power in powers:
        total += power
    return [power / total for power in powers]

"""Whether an XGBoost file, JSON or UBJSON, is one that its library can read.

The library trusts its own format where it builds trees of it: a child that is none, or an array that is too short, is
read from beyond what is there (tree_model.cc of XGBoost 3). So the trees are followed here first.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from bedside_runtime.adapters import ubjson

_LARGEST_CATEGORY: Final = 2**24
"""Single precision holds no larger whole number exactly; the library refuses them in data."""

_OF_NODES: Final = ("left_children", "right_children", "parents", "split_indices", "split_conditions", "default_left")


def require_whole(data: bytes) -> None:
    """Raise `ValueError`, with what is wrong, for a file in which something does not agree.

    Args:
        data: What the library saved, or what it pickled, in which the model lies beside its configuration.
    """
    try:
        saved = json.loads(data) if data[1:2] in {b'"', b" ", b"\n"} else ubjson.decode(data)
        learner = saved.get("Model", saved)["learner"]
        _require_learner(learner)
    except (KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is built otherwise ({type(error).__name__})") from None


def _require_learner(learner: Mapping[str, Any]) -> None:
    parameters, booster = learner["learner_model_param"], learner["gradient_booster"]
    features, targets = int(parameters["num_feature"]), int(parameters.get("num_target", 1))
    groups = max(1, int(parameters["num_class"]), targets)
    match booster["name"]:
        case "gblinear":
            if len(booster["model"]["weights"]) != (features + 1) * groups:
                raise ValueError("the weights are not one a feature")
        case "dart":
            _require_trees(booster["gbtree"]["model"], features, groups, targets)
            if len(booster["weight_drop"]) != len(booster["gbtree"]["model"]["trees"]):
                raise ValueError("the weights are not one a tree")
        case "gbtree":
            _require_trees(booster["model"], features, groups, targets)
        case _:
            raise ValueError("the booster is of no known kind")


def _require_trees(model: Mapping[str, Any], features: int, groups: int, targets: int) -> None:
    trees, of, starts = model["trees"], model["tree_info"], model.get("iteration_indptr", [0, len(model["trees"])])
    if not len(trees) == len(of) == int(model["gbtree_model_param"]["num_trees"]):
        raise ValueError("the trees are not as many as it says")
    if not all(0 <= group < groups for group in of) or (trees and groups > max(len(trees), targets)):
        raise ValueError("a tree is of no class")
    if [*starts[:1], *starts[-1:]] != [0, len(trees)] or any(end < begin for begin, end in pairwise(starts)):
        raise ValueError("the rounds are not where it says")
    for tree in trees:
        _require_tree(tree, features, targets)


def _require_tree(tree: Mapping[str, Any], features: int, targets: int) -> None:
    parameters = tree["tree_param"]
    nodes, width = int(parameters["num_nodes"]), int(parameters["size_leaf_vector"])
    if nodes < 1 or any(len(tree[name]) != nodes for name in _OF_NODES) or int(parameters["num_feature"]) != features:
        raise ValueError("the nodes are not as many as it says")
    if width not in {0, 1, targets} or len(tree["base_weights"]) not in {nodes, nodes * width}:
        raise ValueError("the leaves are not as wide as it says")
    leaves = len(tree.get("leaf_weights", ())) // width if width > 1 else 0
    for node in _from_root(tree["left_children"], tree["right_children"], tree["parents"], leaves):
        if not 0 <= tree["split_indices"][node] < features:
            raise ValueError("a node asks for a feature that is none")
    _require_categories(tree, nodes)


def _from_root(lefts: Sequence[int], rights: Sequence[int], parents: Sequence[int], leaves: int) -> list[int]:
    """Return the nodes that split, root first; what was pruned is not reached.

    A leaf has no children; where ``leaves`` hold several values each, its right one is its number among them.
    """
    splits, order, seen = [], [0], {0}
    for node in order:
        left, right = lefts[node], rights[node]
        if left == -1 and (right == -1 or 0 <= right < leaves):
            continue
        if left == right or {left, right} & seen or not all(0 < child < len(lefts) for child in (left, right)):
            raise ValueError("the nodes are no tree")
        if parents[left] != node or parents[right] != node:
            raise ValueError("the nodes are no tree")
        splits.append(node)
        seen |= {left, right}
        order += [left, right]
    return splits


def _require_categories(tree: Mapping[str, Any], nodes: int) -> None:
    kinds, chosen = tree.get("split_type", [0] * nodes), tree.get("categories_nodes", [])
    begins, sizes, whole = (tree.get(f"categories{name}", []) for name in ("_segments", "_sizes", ""))
    ascending = all(first < second for first, second in pairwise(chosen))
    if not (len(kinds) == nodes and len(chosen) == len(begins) == len(sizes) and ascending):
        raise ValueError("the sets of categories are not as many as it says")
    if {*chosen} != {node for node, kind in enumerate(kinds) if kind}:
        raise ValueError("a set of categories is not there")
    if not all(begin >= 0 and 0 < size <= len(whole) - begin for begin, size in zip(begins, sizes, strict=True)):
        raise ValueError("the sets of categories are not where it says")
    if not all(0 <= category < _LARGEST_CATEGORY for category in whole):
        raise ValueError("a category is no small whole number")

"""XGBoost's trees as a forest, read from the JSON that its booster saves (its documented model format).

The library rounds values to single precision, sends those below a threshold left, and adds leaves in single precision
to its base score, one tree after the other. What follows the sum is made with the functions that it uses itself.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from bedside_runtime.adapters.features import Unfoldable
from bedside_runtime.adapters.trees import Finish, Forest, Split, Tree, c_function, single

_SIGMOID: Final = frozenset({"binary:logistic", "reg:logistic"})
_EXPONENTIAL: Final = frozenset({"count:poisson", "reg:gamma", "reg:tweedie", "survival:cox"})
_PLAIN: Final = frozenset(
    {"reg:squarederror", "reg:squaredlogerror", "reg:absoluteerror", "reg:pseudohubererror", "reg:quantileerror"}
    | {"rank:pairwise", "rank:ndcg", "rank:map"}
)
_LARGEST_POWER: Final = 88.7
"""Of e, in the library's sigmoid (common/math.h)."""


def forest(saved: bytes, rounds: int, missing: float) -> Forest:
    """Return the trees of a booster.

    Args:
        saved: What the booster saves as JSON.
        rounds: How many rounds of boosting count; 0 for all.
        missing: The number that it takes for a missing value.

    Raises:
        Unfoldable: It is built of something else than trees of numbers, or answers what is not known here.
    """
    learner = json.loads(saved)["learner"]
    objective = str(learner["objective"]["name"])
    parameters = learner["learner_model_param"]
    if int(parameters.get("num_target", 1)) > 1:
        raise Unfoldable("the booster answers several targets")
    groups = max(1, int(parameters["num_class"]))
    begins = _begins(objective, parameters["base_score"], groups)
    trees = _trees(learner["gradient_booster"], rounds, begins)
    if {tree.group for tree in trees} != set(range(groups)):
        raise Unfoldable("the booster has no trees")
    every = range(int(parameters["num_feature"]))
    return Forest(
        trees=trees,
        begins=begins,
        width="float32",
        finish=_finish(objective),
        taken={} if math.isnan(missing) else dict.fromkeys(every, ((*_rounded_to(missing), math.nan),)),
    )


def _trees(booster: Mapping[str, Any], rounds: int, begins: Sequence[float]) -> tuple[Tree, ...]:
    kind = booster["name"]
    if kind not in ("gbtree", "dart"):
        raise Unfoldable(f"a booster of the kind {kind} is built of other parts than trees")
    model = (booster["gbtree"] if kind == "dart" else booster)["model"]
    count = model["iteration_indptr"][rounds] if rounds else len(model["trees"])
    trees = [_tree(*one) for one in zip(model["trees"][:count], model["tree_info"][:count], strict=True)]
    if kind == "dart":
        weights = booster["weight_drop"][:count]
        trees = [_weighed(tree, begins[tree.group], weight) for tree, weight in zip(trees, weights, strict=True)]
    return tuple(trees)


def _weighed(tree: Tree, begin: float, weight: float) -> Tree:
    """Return a tree of DART, which the library adds to the base score, takes that off again, and weighs."""
    import numpy as np

    base = np.float32(begin)
    leaves = (np.array(tree.leaves, dtype=np.float32) + base - base) * np.float32(weight)
    return replace(tree, leaves=tuple(leaves.tolist()))


def _tree(saved: Mapping[str, Any], group: int) -> Tree:
    if any(saved["split_type"]):
        raise Unfoldable("a tree splits by categories")
    if int(saved["tree_param"]["size_leaf_vector"]) > 1:
        raise Unfoldable("a leaf holds several values")
    lefts, rights, values = saved["left_children"], saved["right_children"], saved["split_conditions"]
    order = _from_root(lefts, rights)
    inner = [node for node in order if lefts[node] != -1]
    leaves = [node for node in order if lefts[node] == -1]
    places = {node: place for place, node in enumerate(inner)} | {node: ~place for place, node in enumerate(leaves)}
    cuts = single([values[node] for node in inner])
    splits = tuple(
        Split(
            saved["split_indices"][node],
            cut,
            bool(saved["default_left"][node]),
            places[lefts[node]],
            places[rights[node]],
        )
        for node, cut in zip(inner, cuts, strict=True)
    )
    return Tree(splits, tuple(values[node] for node in leaves), group)


def _from_root(lefts: Sequence[int], rights: Sequence[int]) -> list[int]:
    """Return the nodes of a tree that can be reached, each before those below it."""
    order = [0]
    for node in order:
        if lefts[node] != -1:
            order += [lefts[node], rights[node]]
    return order


def _rounded_to(value: float) -> tuple[float, float]:
    """Return the doubles that single precision rounds to ``value``."""
    import numpy as np

    low, high = single([value, float(np.nextafter(np.float32(value), np.float32(np.inf)))])
    return low, high


def _begins(objective: str, saved: str, groups: int) -> tuple[float, ...]:
    """Return what the sums begin with: the base score, which is saved as an answer, as a sum."""
    score = json.loads(saved)
    scores = score if isinstance(score, list) else [score]
    if len(scores) == 1:
        scores = scores * groups
    if len(scores) != groups:
        raise Unfoldable("the booster has another number of base scores than classes")
    return tuple(_as_sum(objective, value) for value in scores)


def _as_sum(objective: str, score: float) -> float:
    import numpy as np

    if objective in _SIGMOID:
        one = np.float32(1)
        return -c_function("logf")(float(one / np.float32(score) - one))
    if objective in _EXPONENTIAL:
        return c_function("logf")(score)
    return float(np.float32(score))


def _finish(objective: str) -> Finish:
    """Return what the library makes of sums, in single precision."""
    if objective in _SIGMOID:
        return _each(_sigmoid())
    if objective in _EXPONENTIAL:
        return _each(c_function("expf"))
    if objective == "multi:softprob":
        return _softmax()
    if objective in _PLAIN:
        return lambda sums: sums[:, 0]
    raise Unfoldable(f"what the objective {objective} makes of the trees' sum is not known here")


def _each(function: Callable[[float], float]) -> Finish:
    import numpy as np

    return lambda sums: np.array([function(value) for value in sums[:, 0].tolist()], dtype=np.float32)


def _sigmoid() -> Callable[[float], float]:
    """Return 1 / (exp(-x) + 1), each step rounded to single precision."""
    import numpy as np

    exponential, single_precision = c_function("expf"), np.float32
    one = single_precision(1)

    def sigmoid(value: float) -> float:
        power = exponential(min(_LARGEST_POWER, -value))
        return float(one / (single_precision(power) + one))

    return sigmoid


def _softmax() -> Finish:
    """Return exp(x - max) over the sum of all, which is added up in double precision (common/math.h)."""
    import numpy as np

    exponential = c_function("expf")

    def softmax(sums: Any) -> Any:  # noqa: ANN401 - NumPy arrays
        below = sums - sums.max(axis=1, keepdims=True)
        powers = np.array([[exponential(value) for value in row] for row in below.tolist()], dtype=np.float32)
        total = np.add.accumulate(powers.astype(np.float64), axis=1)[:, -1:]
        return powers / total.astype(np.float32)

    return softmax

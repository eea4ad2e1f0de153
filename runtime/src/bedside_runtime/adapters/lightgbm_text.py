"""Whether a LightGBM text is one that its library can read.

The library trusts its own format: where a line or a number is missing it ends the process, or reads beyond what is
there (gbdt_model_text.cpp, tree.cpp of LightGBM 4). So the text is followed here first, tree by tree.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

_TREES = re.compile(r"^Tree=|^end of trees\n", re.MULTILINE)
_PARAMETERS = re.compile(r"\nparameters:\n(.*?)\nend of parameters", re.DOTALL)
_PARAMETER = re.compile(r"(?:\[\w+: .*\])?")
_NUMBERS = re.compile(r"[-+.0-9aefin ]*")  # inf and nan among them
_WHOLE_NUMBERS = re.compile(r"[-0-9 ]*")

_LARGEST = 2**31

_OF_SPLITS = ("split_feature", "threshold", "left_child", "right_child")
_OF_SPLITS_AT_TIMES = ("decision_type", "split_gain", "internal_value", "internal_weight", "internal_count")
_OF_LEAVES_AT_TIMES = ("leaf_weight", "leaf_count")
_CATEGORICAL = 1
"""The bit of a decision type that says that the threshold numbers a set of categories."""


def require_whole(text: str) -> None:
    """Raise `ValueError`, with what is wrong, for a text in which something does not agree.

    Args:
        text: What the library saved; parameters are part of it.
    """
    begin = _TREES.search(text)
    if begin is None or "\r" in text or "\0" in text:
        raise ValueError("it has no trees, or other ends of lines")
    header = _fields(text[: begin.start()].split("\n"))
    features = _count(header, "max_feature_idx") + 1
    if _count(header, "num_class") != _count(header, "num_tree_per_iteration"):
        raise ValueError("the trees of an iteration are not one a class")
    if not header.get("objective", "none").strip():
        raise ValueError("the objective has no name")
    for name in ("feature_names", "feature_infos"):
        if len(header.get(name, "").split()) != features:
            raise ValueError(f"{name} are not {features}")
    trees, at = text[begin.start() :].encode(), 0
    for number, size in enumerate(_whole(header, "tree_sizes")):
        _require_tree(trees[at : at + size].decode(), number, features)
        at += size
    if not trees[at:].startswith(b"end of trees\n"):
        raise ValueError("the trees are not where the text says")
    _require_parameters(text)


def _require_parameters(text: str) -> None:
    found = _PARAMETERS.search(text)
    if found is None or not all(map(_PARAMETER.fullmatch, found[1].split("\n"))):
        raise ValueError("the parameters are not one a line")


def _require_tree(text: str, number: int, features: int) -> None:
    first, *lines = text.rstrip("\n").split("\n")
    if first != f"Tree={number}" or not text.endswith("\n") or not all("=" in line for line in lines):
        raise ValueError(f"tree {number} is not where the text says")
    saved = _fields(lines)
    leaves = _count(saved, "num_leaves")
    _numbers(saved, "leaf_value", leaves)
    if leaves == 1:
        return
    for name, count in _lengths(leaves):
        if name in saved or name in _OF_SPLITS:
            _numbers(saved, name, count)
    if not all(0 <= feature < features for feature in _whole(saved, "split_feature")):
        raise ValueError(f"tree {number} asks for a feature that is none")
    _require_shape(_whole(saved, "left_child"), _whole(saved, "right_child"))
    _require_categories(saved)
    if "is_linear" in saved and _count(saved, "is_linear"):
        _require_lines(saved, leaves, features)


def _lengths(leaves: int) -> Iterator[tuple[str, int]]:
    for name in (*_OF_SPLITS, *_OF_SPLITS_AT_TIMES):
        yield name, leaves - 1
    for name in _OF_LEAVES_AT_TIMES:
        yield name, leaves


def _require_shape(lefts: Sequence[int], rights: Sequence[int]) -> None:
    """Compare with a tree: from the root, node 0, every node and leaf is reached once. Leaf ``n`` is written ``~n``."""
    order, expected = [0], {*range(-len(lefts) - 1, len(lefts))}
    for node in order:
        if node not in expected:
            raise ValueError("the nodes are no tree")
        expected.remove(node)
        if node >= 0:
            order += [lefts[node], rights[node]]
    if expected:
        raise ValueError("the nodes are no tree")


def _require_categories(saved: Mapping[str, str]) -> None:
    """Compare the sets of categories with what numbers them."""
    sets, cuts = _count(saved, "num_cat"), saved["threshold"].split()
    kinds = _whole(saved, "decision_type") if "decision_type" in saved else [0] * len(cuts)
    chosen = [float(cut) for cut, kind in zip(cuts, kinds, strict=True) if kind & _CATEGORICAL]
    if not all(cut.is_integer() and 0 <= cut < sets for cut in chosen):
        raise ValueError("a set of categories is not there")
    if sets:
        begins = _whole(saved, "cat_boundaries")
        _require_slices(begins, sets, len(_whole(saved, "cat_threshold")))


def _require_slices(begins: Sequence[int], count: int, whole: int) -> None:
    if len(begins) != count + 1 or begins[0] != 0 or begins[-1] != whole or any(b < a for a, b in pairwise(begins)):
        raise ValueError("the sets of categories are not where the text says")


def _require_lines(saved: Mapping[str, str], leaves: int, features: int) -> None:
    """Compare the linear models in leaves with how many features each has."""
    _numbers(saved, "leaf_const", leaves)
    counts, of = _whole(saved, "num_features"), _whole(saved, "leaf_features")
    if len(counts) != leaves or min(counts) < 0 or len(of) != sum(counts) or not all(0 <= it < features for it in of):
        raise ValueError("a leaf's features are not there")
    _numbers(saved, "leaf_coeff", len(of))


def _fields(lines: Sequence[str]) -> dict[str, str]:
    """Return ``key=value`` of each line; a word alone has no value."""
    found: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition("=")
        if key in found and key:
            raise ValueError(f"{key} stands there twice")
        found[key] = value
    return found


def _count(saved: Mapping[str, str], name: str) -> int:
    (count,) = _whole(saved, name)
    return count


def _whole(saved: Mapping[str, str], name: str) -> list[int]:
    text = saved.get(name)
    if text is None or not _WHOLE_NUMBERS.fullmatch(text):
        raise ValueError(f"{name} is missing, or holds something else than whole numbers")
    numbers = [int(word) for word in text.split()]
    if any(not -_LARGEST <= number < _LARGEST for number in numbers):
        raise ValueError(f"{name} holds a number beyond 32 bits")
    return numbers


def _numbers(saved: Mapping[str, str], name: str, count: int) -> None:
    text = saved.get(name)
    if text is None or not _NUMBERS.fullmatch(text):
        raise ValueError(f"{name} is missing, or holds something else than numbers")
    if len([float(word) for word in text.split()]) != count:
        raise ValueError(f"{name} are not {count}")

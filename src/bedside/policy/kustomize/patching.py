"""Which objects a patch changes, and the objects after it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

import jsonschema_rs

from bedside.policy import yamltree
from bedside.policy.kustomize.kustomization import Kustomization, joined
from bedside.policy.kustomize.merge import merged
from bedside.policy.kustomize.operations import DoesNotApply, applied
from bedside.policy.kustomize.transforming import Resource
from bedside.policy.place import Hit, Place
from bedside.policy.yamltree import Node


@dataclass(slots=True)
class Notes:
    """What is found out while building one tree.

    Attributes:
        whole: Whether all that the tree takes in was seen up to here.
        partial: Whether something changes its objects that is not seen here.
        useless: Patches that change nothing, or that stop the build.
        unfollowed: What the build would do and this reading does not.
    """

    whole: bool = True
    partial: bool = False
    useless: list[Hit] = field(default_factory=list)
    unfollowed: list[Hit] = field(default_factory=list)

    def no_use(self, node: Node, message: str) -> None:
        """A patch without effect, as far as everything was seen that it could be for."""
        if self.whole:
            self.useless.append(Hit(Place(node.file, node.line, node.line), message))

    def not_followed(self, node: Node, message: str) -> None:
        """A part that is not seen here."""
        self.unfollowed.append(Hit(Place(node.file, node.line, node.line), message))


@dataclass(frozen=True, slots=True)
class Patch:
    """One patch: its entry in the kustomization, whom it is for, and what it says, as one or more documents."""

    entry: Node
    target: Node
    documents: tuple[Node, ...]


def patches(one: Kustomization, loaded: Mapping[str, tuple[Node, ...]], notes: Notes) -> Iterator[Patch]:
    """``patchesStrategicMerge`` and ``patches``, in the order of the build."""
    for entry in one.node.at("patchesStrategicMerge").items():
        yield Patch(entry, entry.at("target"), _documents(one, entry, Node("", 0, "absent"), entry, loaded, notes))
    for entry in one.node.at("patches").items():
        yield _patch(one, entry, loaded, notes)


def late_patches(one: Kustomization, loaded: Mapping[str, tuple[Node, ...]], notes: Notes) -> Iterator[Patch]:
    """``patchesJson6902``, which come after names and labels."""
    for entry in one.node.at("patchesJson6902").items():
        yield _patch(one, entry, loaded, notes)


def _patch(one: Kustomization, entry: Node, loaded: Mapping[str, tuple[Node, ...]], notes: Notes) -> Patch:
    return Patch(entry, entry.at("target"), _documents(one, entry, entry.at("path"), entry.at("patch"), loaded, notes))


def _documents(
    one: Kustomization, entry: Node, path: Node, inline: Node, loaded: Mapping[str, tuple[Node, ...]], notes: Notes
) -> tuple[Node, ...]:
    if inline.text and (not path.text) and ("\n" in inline.text or entry.at("patch").text):
        return yamltree.load(inline.text, inline.file, inline.line if inline.block else inline.line - 1).nodes
    name = path.text or inline.text
    held = loaded.get(joined(one.directory, name))
    if held is None and not name.endswith((".yaml", ".yml")):  # a missing one is a finding of its own
        notes.partial = True
        notes.not_followed(entry, f"the patch {name or '(unnamed)'} was not read")
    return held or ()


def patched(patch: Patch, found: list[Resource], notes: Notes) -> list[Resource]:
    """Every object that the patch is for, changed; a patch for nothing is noted."""
    for document in patch.documents:
        operations = document.kind == "list"
        chosen = _chosen(patch, document, found, operations)
        if chosen is None:
            notes.not_followed(patch.entry, "whom this patch is for cannot be told")
            notes.partial = True
            return found
        if not chosen:
            notes.no_use(patch.target or document, f"{_said(patch, document)} changes nothing: no such object is here")
        found = _all_patched(document, found, chosen, operations, notes)
    return found


def _chosen(patch: Patch, document: Node, found: list[Resource], operations: bool) -> set[int] | None:
    target = patch.target
    if target.pairs():
        return _targeted(target, found)
    if operations:
        return set()
    name, kind = document.at("metadata", "name").text, document.at("kind").text
    namespace = document.at("metadata", "namespace").text
    return {
        position
        for position, item in enumerate(found)
        if item.kind == kind
        and name in {*item.names, item.name}
        and (not namespace or namespace == item.namespace)
        and _group(document.at("apiVersion").text) == item.group
    }


def _group(version: str) -> str:
    return version.rpartition("/")[0]


def _all_patched(
    document: Node,
    found: list[Resource],
    chosen: set[int],
    operations: bool,
    notes: Notes,
) -> list[Resource]:
    after: list[Resource] = []
    for position, item in enumerate(found):
        if position not in chosen:
            after.append(item)
        elif operations:
            after.append(_operated(item, document, notes))
        elif document.at("$patch").text != "delete":
            after.append(item.become(_merged(item, document)))
    return after


def _merged(item: Resource, patch: Node) -> Node:
    """Merged, with kind and name as they were: a patch with a target may call itself anything."""
    node = merged(item.node, patch, built_in=item.built_in)
    for key in ("apiVersion", "kind"):
        node = node.put(key, item.node.at(key))
    metadata = node.at("metadata")
    for key in ("name", "namespace"):
        before = item.node.at("metadata", key)
        metadata = metadata.put(key, before) if before.kind != "absent" else metadata.without(key)
    return node.put("metadata", metadata)


def _operated(item: Resource, operations: Node, notes: Notes) -> Resource:
    try:
        return item.become(applied(item.node, operations))
    except DoesNotApply as error:
        notes.no_use(error.operation, f"the patch of {item.kind} {item.name} stops the build: {error}")
        return item


def _said(patch: Patch, document: Node) -> str:
    about = patch.target if patch.target.pairs() else document
    kind = about.at("kind").text
    name = (about.at("name") or about.at("metadata", "name")).text
    return " ".join(word for word in ("the patch of", kind, name) if word) if kind or name else "this patch"


def _targeted(target: Node, found: list[Resource]) -> set[int] | None:
    """Positions of the objects that a target selects; ``None`` where it cannot be told."""
    wanted = {key: node.text for key, node in target.pairs() if node.text}
    if not _readable(wanted):
        return None
    return {
        position
        for position, item in enumerate(found)
        if _matches(wanted.get("kind", ""), {item.kind})
        and _matches(wanted.get("group", ""), {item.group})
        and _matches(wanted.get("version", ""), {item.node.at("apiVersion").text.rpartition("/")[2]})
        and _matches(wanted.get("name", ""), {*item.names, item.name})
        and _matches(wanted.get("namespace", ""), {item.namespace})
        and _labelled(wanted.get("labelSelector", ""), item.node.at("metadata", "labels").strings())
        and _labelled(wanted.get("annotationSelector", ""), item.node.at("metadata", "annotations").strings())
    }


def _readable(wanted: dict[str, str]) -> bool:
    patterns = [text for key, text in wanted.items() if not key.endswith("Selector")]
    selectors = [text for key, text in wanted.items() if key.endswith("Selector")]
    return all(_pattern(text) is not None for text in patterns) and all(
        _requirement(one) is not None for text in selectors for one in _split(text)
    )


@cache
def _pattern(text: str) -> "jsonschema_rs.Draft202012Validator | None":
    """An anchored pattern, matched in linear time whatever the file says; ``None`` for what is no pattern."""
    try:
        return jsonschema_rs.Draft202012Validator(
            {"type": "string", "pattern": f"^(?:{text})$"}, pattern_options=jsonschema_rs.RegexOptions()
        )
    except ValueError:
        return None


def _matches(text: str, values: set[str]) -> bool:
    pattern = _pattern(text) if text else None
    return not text or text in values or (pattern is not None and any(pattern.is_valid(value) for value in values))


_IN_SET = re.compile(r"\s*([\w./-]+)\s+(in|notin)\s+\(([^()]*)\)\s*")
_EQUALS = re.compile(r"\s*([\w./-]+)\s*(==|=|!=)\s*([\w./-]*)\s*")
_EXISTS = re.compile(r"\s*(!?)\s*([\w./-]+)\s*")


def _split(selector: str) -> list[str]:
    return [part for part in re.split(r",(?![^()]*\))", selector) if part.strip()]


def _requirement(text: str) -> tuple[str, frozenset[str] | None, bool] | None:
    """A key, its values (``None``: any), and whether they are wanted; ``None`` for what is no requirement."""
    if found := _IN_SET.fullmatch(text):
        return found[1], frozenset(value.strip() for value in found[3].split(",")), found[2] == "in"
    if found := _EQUALS.fullmatch(text):
        return found[1], frozenset((found[3],)), found[2] != "!="
    if found := _EXISTS.fullmatch(text):
        return found[2], None, not found[1]
    return None


def _labelled(selector: str, labels: dict[str, str]) -> bool:
    for part in _split(selector):
        requirement = _requirement(part)
        if requirement is None:
            return False
        key, values, wanted = requirement
        holds = key in labels if values is None else labels.get(key) in values
        if holds is not wanted:
            return False
    return True

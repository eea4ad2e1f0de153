"""What a kustomization does to every object below it: namespace, names, labels, annotations, replicas, images."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from bedside.policy.image_names import split_image
from bedside.policy.kustomize import fields
from bedside.policy.yamltree import Node


@dataclass(frozen=True, slots=True)
class Resource:
    """One object on its way through the kustomizations.

    Attributes:
        node: As it stands by now.
        names: Every name that it has had, by which patches may call it.
        partial: Whether what was changed in it is not all known.
    """

    node: Node
    names: frozenset[str] = field(default_factory=frozenset)
    partial: bool = False

    @property
    def kind(self) -> str:
        """``Deployment``."""
        return self.node.at("kind").text

    @property
    def group(self) -> str:
        """``apps`` of ``apps/v1``; empty for the core group."""
        return self.node.at("apiVersion").text.rpartition("/")[0]

    @property
    def name(self) -> str:
        """Its name by now."""
        return self.node.at("metadata", "name").text

    @property
    def namespace(self) -> str:
        """Its namespace by now."""
        return self.node.at("metadata", "namespace").text

    @property
    def built_in(self) -> bool:
        """Whether its kind is the API server's own, so that lists in it have merge keys."""
        return "." not in self.group or self.group.endswith(".k8s.io")

    def become(self, node: Node) -> "Resource":
        """The same object, changed."""
        return Resource(node, self.names, self.partial)


Step = Callable[[Node, list[Resource]], list[Resource]]


def namespace(kustomization: Node, found: list[Resource]) -> list[Resource]:
    """``namespace``: on every object that stands in one, and on the service accounts that bindings name."""
    to = kustomization.at("namespace")
    if not to.text:
        return found
    known = {(item.kind, item.name, item.namespace or "default") for item in found}
    return [Resource(_into(item, to, known), item.names | {item.name}, item.partial) for item in found]


Known = Collection[tuple[str, str, str]]
"""Objects by kind, name and namespace."""


def _into(item: Resource, to: Node, known: Known) -> Node:
    if item.kind == "Namespace":
        return fields.changed(item.node, ("metadata", "name"), lambda name: name.saying(to.text))
    node = item.node
    if item.kind in ("RoleBinding", "ClusterRoleBinding"):
        node = fields.changed(node, ("subjects", "*"), lambda one: _moved(one, one.at("kind").text, to, known))
    if item.kind in fields.SERVICES:
        node = fields.changed(node, fields.SERVICES[item.kind], lambda one: _moved(one, "Service", to, known))
    if item.kind in fields.CLUSTER_WIDE:
        return node
    return fields.changed(node, ("metadata", "namespace"), lambda _: to, make=True)


def _moved(reference: Node, kind: str, to: Node, known: Known) -> Node:
    """A reference to an account or Service that goes along, with the new namespace."""
    always = (kind, reference.at("name").text) == ("ServiceAccount", "default")
    ours = kind in ("ServiceAccount", "Service") and _is_known(reference, kind, known)
    return reference.put("namespace", to) if ours or always else reference


def _is_known(reference: Node, kind: str, known: Known) -> bool:
    """Whether an object is among these; one without a namespace is taken for any of its name."""
    name, space = reference.at("name").text, reference.at("namespace").text
    return any(one == kind and called == name and space in ("", where) for one, called, where in known)


def affixes(kustomization: Node, found: list[Resource]) -> list[Resource]:
    """``namePrefix`` and ``nameSuffix``: on every name, and on what kustomize knows to refer to it."""
    before, after = kustomization.at("namePrefix").text, kustomization.at("nameSuffix").text
    if not before and not after:
        return found
    movable = [item for item in found if item.name and item.kind not in fields.NEVER_RENAMED]
    renamed = {(item.kind, item.name): f"{before}{item.name}{after}" for item in movable}
    known = {(item.kind, item.name, item.namespace or "default") for item in movable}
    return [_renamed(item, renamed, known) for item in found]


Renamed = Mapping[tuple[str, str], str]
"""New names by kind and old name."""


def _renamed(item: Resource, renamed: Renamed, known: Known) -> Resource:
    node = item.node
    for kind, path in fields.names(item.kind):
        node = fields.changed(node, path, lambda name, kind=kind: _newly(name, kind, renamed))  # type: ignore[misc]
    for path in (("spec", "scaleTargetRef"), ("roleRef",)):
        node = fields.changed(node, path, lambda one: _pointed(one, one.at("kind").text, renamed))
    node = fields.changed(node, ("subjects", "*"), lambda one: _found(one, one.at("kind").text, renamed, known))
    if item.kind in fields.SERVICES:
        node = fields.changed(node, fields.SERVICES[item.kind], lambda one: _found(one, "Service", renamed, known))
    new = renamed.get((item.kind, item.name))
    if new is not None:
        node = fields.changed(node, ("metadata", "name"), lambda name: name.saying(new))
    return Resource(node, item.names | {item.name}, item.partial)


def _newly(name: Node, kind: str, renamed: Renamed) -> Node:
    new = renamed.get((kind, name.text))
    return name if new is None else name.saying(new)


def _found(reference: Node, kind: str, renamed: Renamed, known: Known) -> Node:
    """A reference that says the namespace too, and so is only renamed where that is right."""
    return _pointed(reference, kind, renamed) if _is_known(reference, kind, known) else reference


def _pointed(reference: Node, kind: str, renamed: Renamed) -> Node:
    return fields.changed(reference, ("name",), lambda name: _newly(name, kind, renamed))


def labels(kustomization: Node, found: list[Resource]) -> list[Resource]:
    """``labels`` and ``commonLabels``: on objects, and where asked on templates and selectors."""
    for group in kustomization.at("labels").items():
        selecting = group.at("includeSelectors").true
        inside = selecting or group.at("includeTemplates").true
        found = [item.become(_labelled(item, group.at("pairs"), inside, selecting)) for item in found]
    common = kustomization.at("commonLabels")
    return [item.become(_labelled(item, common, True, True)) for item in found] if common.pairs() else found


def _labelled(item: Resource, pairs: Node, inside: bool, selecting: bool) -> Node:
    places: list[fields.Path] = [("metadata", "labels")]
    if inside:
        places += [(*path, "labels") for path in fields.templates(item.kind)]
    node = item.node
    for path in places:
        node = fields.changed(node, path, lambda held: _with(held, pairs), make=True)
    if selecting:
        claims = ("spec", "volumeClaimTemplates", "*", "metadata", "labels")
        node = fields.changed(node, claims, lambda held: _with(held, pairs), make=True)
        for path, make in fields.selectors(item.kind):
            node = fields.changed(node, path, lambda held: _with(held, pairs), make=make)
    return node


def _with(held: Node, pairs: Node) -> Node:
    for key, value in pairs.pairs():
        held = held.put(key, value)
    return held


def annotations(kustomization: Node, found: list[Resource]) -> list[Resource]:
    """``commonAnnotations``: on objects and templates."""
    common = kustomization.at("commonAnnotations")
    return [item.become(_annotated(item, common)) for item in found] if common.pairs() else found


def _annotated(item: Resource, pairs: Node) -> Node:
    node = item.node
    for path in (("metadata",), *fields.templates(item.kind)):
        node = fields.changed(node, (*path, "annotations"), lambda held: _with(held, pairs), make=True)
    return node


def replicas(kustomization: Node, found: list[Resource]) -> list[Resource]:
    """``replicas``: the count of workloads, by any name that they have had."""
    counts = {item.at("name").text: item.at("count") for item in kustomization.at("replicas").items()}
    scaled = ("Deployment", "ReplicaSet", "StatefulSet", "ReplicationController")
    return [
        item.become(fields.changed(item.node, ("spec", "replicas"), lambda _, count=count: count, make=True))  # type: ignore[misc]
        if item.kind in scaled and (count := _first(counts, item.names | {item.name})) is not None
        else item
        for item in found
    ]


def _first(counts: Mapping[str, Node], names: Iterable[str]) -> Node | None:
    return next((counts[name] for name in sorted(names) if name in counts and counts[name].number is not None), None)


def images(kustomization: Node, found: list[Resource]) -> list[Resource]:
    """``images``: names, tags and digests of containers, in whatever kind they stand."""
    overrides = {item.at("name").text: item for item in kustomization.at("images").items()}
    return [item.become(_rewritten(item.node, overrides)) for item in found] if overrides else found


def _rewritten(node: Node, overrides: Mapping[str, Node]) -> Node:
    if not node.entries:
        return node
    entries = tuple(
        (
            key,
            _containers(child, overrides) if key in ("containers", "initContainers") else _rewritten(child, overrides),
        )
        for key, child in node.entries
    )
    return node._replace(entries=entries)


def _containers(listed: Node, overrides: Mapping[str, Node]) -> Node:
    return (
        fields.changed(listed, ("*", "image"), lambda image: _with_image(image, overrides))
        if listed.items()
        else listed
    )


def _with_image(image: Node, overrides: Mapping[str, Node]) -> Node:
    name, tag, digest = split_image(image.text)
    change = overrides.get(name)
    if change is None:
        return image
    new_tag, new_digest = change.at("newTag").text, change.at("digest").text
    if new_tag or new_digest:
        tag, digest = new_tag, new_digest
    tag += change.at("tagSuffix").text
    name = change.at("newName").text or name
    said = name + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    where = change.at("digest") or change.at("newTag") or change.at("newName") or change
    return where.saying(said)


AFTER_PATCHES: tuple[Step, ...] = (namespace, affixes, labels, annotations)
AFTER_OPERATIONS: tuple[Step, ...] = (replicas, images)

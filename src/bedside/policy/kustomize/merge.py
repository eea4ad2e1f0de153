"""Strategic merge patches, as kustomize merges them: maps key by key, lists of the API's own by their merge key."""

from collections.abc import Iterator

from bedside.policy.yamltree import Node

MERGE_KEYS = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "volumes": ("name",),
    "env": ("name",),
    "imagePullSecrets": ("name",),
    "secrets": ("name",),
    "resourceClaims": ("name",),
    "schedulingGates": ("name",),
    "ports": ("containerPort", "port"),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "hostAliases": ("ip",),
    "webhooks": ("name",),
    "matchConditions": ("name",),
    "variables": ("name",),
    "ownerReferences": ("uid",),
    "topologySpreadConstraints": ("topologyKey",),
}
"""Lists that are merged item by item, each with the key that tells its items apart (x-kubernetes-patch-merge-key)."""

_DIRECTIVE = "$patch"


def merged(base: Node, patch: Node, *, built_in: bool) -> Node:
    """``base`` with a strategic merge patch over it.

    Args:
        base: The object.
        patch: What changes it; ``null`` deletes a key, ``$patch: delete`` and ``$patch: replace`` do what they say.
        built_in: Whether the kind is the API server's own; lists of other kinds are replaced whole.
    """
    if base.kind != "map" or patch.kind != "map" or patch.at(_DIRECTIVE).text == "replace":
        return _plain(patch)
    for key, change in patch.pairs():
        if key.startswith("$"):
            continue
        before = base.at(key)
        if (change.kind == "scalar" and change.value is None) or change.at(_DIRECTIVE).text == "delete":
            base = base.without(key)
        elif before.kind == "list" and change.kind == "list" and built_in and key in MERGE_KEYS:
            base = base.put(key, _by_key(before, change, MERGE_KEYS[key]))
        elif before.kind == "map" and change.kind == "map":
            base = base.put(key, merged(before, change, built_in=built_in))
        else:
            base = base.put(key, _plain(change))
    return base


def _by_key(base: Node, patch: Node, keys: tuple[str, ...]) -> Node:
    """The patch's items first, merged into those of their key, then the rest; without keys the list is replaced."""
    key = next((name for name in keys if any(item.at(name) for item in (*base.items(), *patch.items()))), "")
    if any(item.at(_DIRECTIVE).text == "replace" and not item.at(key) for item in patch.items()):
        return _plain(patch)
    if not key or not all(item.at(key) for item in patch.items()):
        return _plain(patch)
    left = list(base.items())
    first: list[Node] = []
    for change in patch.items():
        same = next((item for item in left if _same(item, change, key)), None)
        left = [item for item in left if item is not same]
        if change.at(_DIRECTIVE).text != "delete":
            first.append(_plain(change) if same is None else merged(same, change, built_in=True))
    return base.listing([*first, *left])


def _same(item: Node, change: Node, key: str) -> bool:
    if item.at(key).text != change.at(key).text:
        return False
    return key not in ("containerPort", "port") or _protocol(item) == _protocol(change)


def _protocol(port: Node) -> str:
    return port.at("protocol").text or "TCP"


def _plain(patch: Node) -> Node:
    """A patch as a value: without directives, deletions and what is null."""
    if patch.kind == "map":
        return patch._replace(entries=tuple(_kept(patch)))
    if patch.kind == "list":
        kept = (item for item in patch.items() if item.at(_DIRECTIVE).text not in ("delete", "replace"))
        return patch.listing(_plain(item) for item in kept)
    return patch


def _kept(patch: Node) -> Iterator[tuple[str, Node]]:
    for key, child in patch.pairs():
        deleted = (child.kind == "scalar" and child.value is None) or child.at(_DIRECTIVE).text == "delete"
        if not key.startswith("$") and not deleted:
            yield key, _plain(child)

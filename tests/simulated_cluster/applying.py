"""Server-side apply as the API server does it, for the kinds that bedside writes: who owns which field, and conflicts.

A field is a path of keys. Lists of the API that are maps (`x-kubernetes-list-type: map`) are entered by their keys;
all others are one value.
"""

import copy
import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

Path = tuple[str, ...]

LIST_KEYS: dict[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "volumes": ("name",),
    "env": ("name",),
    "ports": ("containerPort", "port", "protocol"),
    "volumeMounts": ("mountPath",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "imagePullSecrets": ("name",),
    "conditions": ("type",),
}
"""By the name of the list; of the keys those count that its entries have."""


class Conflict(Exception):
    """Fields that other managers own."""

    def __init__(self, found: Mapping[Path, str]) -> None:
        super().__init__(str(found))
        self.found = found


def fields(item: Mapping[str, Any]) -> dict[Path, Any]:
    """Every field that somebody who applies ``item`` has an opinion about."""
    found = dict(
        _leaves((), {key: value for key, value in item.items() if key not in ("apiVersion", "kind", "status")})
    )
    for own in ("name", "namespace", "managedFields", "resourceVersion", "uid", "generation", "creationTimestamp"):
        for path in [path for path in found if path[:2] == ("metadata", own)]:
            del found[path]
    return found


def apply(
    before: Mapping[str, Any] | None,
    owners: Mapping[str, set[Path]],
    item: Mapping[str, Any],
    manager: str,
    force: bool,
) -> tuple[dict[str, Any], dict[str, set[Path]]]:
    """Return the object after ``manager`` applied ``item``, and who owns what then."""
    wanted = fields(item)
    there = fields(before) if before is not None else {}
    _refuse_conflicts(there, owners, wanted, manager, force)
    after = (
        copy.deepcopy(dict(before)) if before is not None else {"apiVersion": item["apiVersion"], "kind": item["kind"]}
    )
    others = {path for who, paths in owners.items() if who != manager for path in paths}
    for path in sorted(owners.get(manager, set()) - wanted.keys() - others, reverse=True):
        _remove(after, path)
    metadata = after.setdefault("metadata", {})
    for key in ("name", "namespace"):
        if key in item["metadata"]:
            metadata[key] = item["metadata"][key]
    for path, value in wanted.items():
        _put(after, path, copy.deepcopy(value))
    left = {who: paths - wanted.keys() if force else paths for who, paths in owners.items() if who != manager}
    return after, {**{who: paths for who, paths in left.items() if paths}, manager: set(wanted)}


def _refuse_conflicts(
    there: Mapping[Path, Any], owners: Mapping[str, set[Path]], wanted: Mapping[Path, Any], manager: str, force: bool
) -> None:
    found = {
        path: who
        for who, paths in owners.items()
        if who != manager
        for path in paths
        if path in wanted and path in there and there[path] != wanted[path]
    }
    if found and not force:
        raise Conflict(found)


def _leaves(path: Path, value: Any) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves((*path, key), item)
    elif isinstance(value, list) and value and path[-1] in LIST_KEYS and isinstance(value[0], Mapping):
        for item in value:
            yield from _leaves((*path, _name(path[-1], item)), item)
    else:
        yield path, value


def _name(kind: str, item: Mapping[str, Any]) -> str:
    return json.dumps({key: item[key] for key in LIST_KEYS[kind] if key in item}, sort_keys=True)


def _walk(root: dict[str, Any], path: Path) -> Any:
    """The container of the last step of ``path``, made where it is missing."""
    here: Any = root
    for step, following in itertools.pairwise(path):
        if isinstance(here, list):
            here = _entry(here, step)
        else:
            missing: Any = [] if following.startswith("{") else {}
            if here.get(step) is None:
                here[step] = missing
            here = here[step]
    return here


def _entry(items: list[Any], step: str) -> Any:
    keys = json.loads(step)
    for item in items:
        if keys.items() <= item.items():
            return item
    items.append(dict(keys))
    return items[-1]


def _put(root: dict[str, Any], path: Path, value: Any) -> None:
    here = _walk(root, path)
    if isinstance(here, list):
        _entry(here, path[-1])
    else:
        here[path[-1]] = value


def _remove(root: dict[str, Any], path: Path) -> None:
    here: Any = root
    trail = []
    for step in path[:-1]:
        trail.append((here, step))
        if isinstance(here, list):
            keys = json.loads(step)
            here = next((item for item in here if keys.items() <= item.items()), None)
        else:
            here = here.get(step) if isinstance(here, dict) else None
        if here is None:
            return
    if isinstance(here, dict):
        here.pop(path[-1], None)
    for parent, step in reversed(trail):  # an entry or a map of which nothing is left goes too
        if isinstance(parent, list):
            keys = json.loads(step)
            parent[:] = [item for item in parent if not (keys.items() <= item.items() and item.keys() == keys.keys())]
        elif parent.get(step) in ({}, []):
            del parent[step]

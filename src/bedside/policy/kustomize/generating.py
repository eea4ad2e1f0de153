"""ConfigMaps and Secrets that a kustomization makes, without the hash that is put behind their names."""

from collections.abc import Iterator

from bedside.policy.kustomize.kustomization import Kustomization
from bedside.policy.kustomize.transforming import Resource
from bedside.policy.yamltree import Node

KINDS = (("configMapGenerator", "ConfigMap"), ("secretGenerator", "Secret"))


def generated(one: Kustomization, found: list[Resource]) -> list[Resource]:
    """``found`` and what is generated; with ``behavior`` merge or replace, what was there is changed."""
    for field, kind in KINDS:
        for entry in one.node.at(field).items():
            made = _made(one.node, entry, kind)
            position = _position(found, made) if entry.at("behavior").text in ("merge", "replace") else None
            if position is None:
                found = [*found, made]
            else:
                found = [*found[:position], _over(found[position], made, entry), *found[position + 1 :]]
    return found


def _position(found: list[Resource], made: Resource) -> int | None:
    return next(
        (at for at, item in enumerate(found) if item.kind == made.kind and made.name in {*item.names, item.name}), None
    )


def _over(before: Resource, made: Resource, entry: Node) -> Resource:
    if entry.at("behavior").text == "replace":
        return Resource(before.node.put("data", made.node.at("data")), before.names, made.partial)
    data = before.node.at("data")
    for key, value in made.node.at("data").pairs():
        data = data.put(key, value)
    return Resource(before.node.put("data", data), before.names, before.partial or made.partial)


def _made(kustomization: Node, entry: Node, kind: str) -> Resource:
    text = entry.saying
    metadata = entry._replace(kind="map", value=None, entries=(("name", text(entry.at("name").text)),), written="")
    if entry.at("namespace").text:
        metadata = metadata.put("namespace", entry.at("namespace"))
    for field in ("labels", "annotations"):
        for options in (kustomization.at("generatorOptions"), entry.at("options")):
            held = metadata.at(field)
            for key, value in options.at(field).pairs():
                held = held.put(key, value)
            metadata = metadata.put(field, held) if held.pairs() else metadata
    data = tuple(_data(entry))
    held = entry._replace(kind="map", value=None, entries=data, written="")
    entries = [("apiVersion", text("v1")), ("kind", text(kind)), ("metadata", metadata), ("data", held)]
    if kind == "Secret":
        entries[-1] = ("stringData", held)
        entries.append(("type", text(entry.at("type").text or "Opaque")))
    node = entry._replace(kind="map", value=None, entries=tuple(entries), written="")
    return Resource(node, partial=bool(entry.at("envs").items() or entry.at("env").text))


def _data(entry: Node) -> Iterator[tuple[str, Node]]:
    """Keys with what they hold: literals as they are written, files as an empty text."""
    for item in entry.at("literals").items():
        key, equals, value = item.text.partition("=")
        if equals:
            yield key, item.saying(value.strip("\"'"))
    for item in entry.at("files").items():
        key, equals, _path = item.text.partition("=")
        yield (key if equals else key.rpartition("/")[2]), item.saying("")

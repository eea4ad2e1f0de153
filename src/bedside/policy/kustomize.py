"""What a kustomization changes in the objects it names: as much as the rules need to see the result."""

from dataclasses import dataclass, replace
from functools import cached_property

from bedside.policy.yamltree import Node


@dataclass(frozen=True)
class Kustomization:
    """One kustomization file, in its directory."""

    directory: str
    node: Node

    @cached_property
    def resources(self) -> frozenset[str]:
        """Paths of the files and directories that it names."""
        return frozenset(_joined(self.directory, item.text) for item in self.node.at("resources").items()) - {""}

    @property
    def lists_nothing(self) -> bool:
        """Whether it takes in nothing at all, which makes it useless."""
        fields = (
            "resources",
            "bases",
            "components",
            "generators",
            "helmCharts",
            "configMapGenerator",
            "secretGenerator",
        )
        return not any(self.node.at(field).items() for field in fields)

    def covers(self, path: str) -> bool:
        """Whether ``path`` lies in its directory, or is named in its ``resources`` from outside."""
        parts = path.split("/")
        if "/".join(parts[:-1]) == self.directory:
            return True
        return any("/".join(parts[:length]) in self.resources for length in range(1, len(parts) + 1))

    @property
    def relabels(self) -> bool:
        """Whether it adds labels to selectors, or is a component, whose objects are completed where it is used."""
        included = any(item.at("includeSelectors").true for item in self.node.at("labels").items())
        return included or bool(self.node.at("commonLabels").pairs()) or self.node.at("kind").text == "Component"

    @property
    def generated(self) -> tuple[tuple[str, str], ...]:
        """Kinds and names of what its generators make."""
        return tuple(
            (kind, item.at("name").text)
            for field, kind in (("configMapGenerator", "ConfigMap"), ("secretGenerator", "Secret"))
            for item in self.node.at(field).items()
        )

    @property
    def patches(self) -> frozenset[str]:
        """Files that hold patches, not objects of their own."""
        named = [item.at("path").text for item in self.node.at("patches").items()]
        named += [item.text for item in self.node.at("patchesStrategicMerge").items()]
        return frozenset(_joined(self.directory, name) for name in named if name and "\n" not in name)

    def apply(self, document: Node) -> Node:
        """The document with ``images`` written in."""
        overrides = {item.at("name").text: item for item in self.node.at("images").items()}
        return _rewritten(document, overrides) if overrides else document


def _joined(directory: str, relative: str) -> str:
    parts = directory.split("/") if directory else []
    for part in relative.split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part not in ("", ".", ".."):
            parts.append(part)
    return "/".join(parts)


def split_image(reference: str) -> tuple[str, str, str]:
    """Name, tag and digest of an image reference; missing ones are empty."""
    name, _, digest = reference.partition("@")
    head, colon, tag = name.rpartition(":")
    return (head, tag, digest) if colon and "/" not in tag else (name, "", digest)


def _rewritten(node: Node, overrides: dict[str, Node]) -> Node:
    entries = tuple(
        (
            key,
            _with_image(child, overrides)
            if key == "image" and child.kind == "scalar"
            else _rewritten(child, overrides),
        )
        for key, child in node.entries
    )
    return replace(node, entries=entries)


def _with_image(node: Node, overrides: dict[str, Node]) -> Node:
    name, tag, digest = split_image(node.text)
    change = overrides.get(name)
    if change is None:
        return node
    name = change.at("newName").text or name
    if change.at("digest"):
        tag, digest = "", change.at("digest").text
    elif change.at("newTag"):
        tag, digest = change.at("newTag").text, ""
    reference = name + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    return replace(node, value=reference, written=reference)

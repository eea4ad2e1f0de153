"""One kustomization file and what it names."""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from bedside.policy import yamltree
from bedside.policy.yamltree import Node

FILES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
"""Names that kustomize itself looks for."""

ADDING = ("helmCharts", "helmChartInflationGenerator", "generators")
CHANGING = ("transformers", "replacements", "vars")
ADVISING = ("configurations", "openapi", "crds")
"""Fields that run programs, render charts, copy values, or tell where names stand: not seen here."""


@dataclass(frozen=True)
class Kustomization:
    """One kustomization file, in its directory."""

    directory: str
    node: Node

    @property
    def component(self) -> bool:
        """Whether it is a component, which changes what it is used in and is never applied alone."""
        return self.node.at("kind").text == "Component"

    @cached_property
    def named(self) -> tuple[tuple[Node, str], ...]:
        """Entries that name files and directories of objects, each with its path; remote ones have none."""
        fields = ("resources", "bases", "components")
        return tuple(
            (item, "" if is_remote(item.text) else joined(self.directory, item.text))
            for field in fields
            for item in self.node.at(field).items()
            if item.text
        )

    @cached_property
    def resources(self) -> frozenset[str]:
        """Paths of the files and directories of objects that it names."""
        return frozenset(path for _, path in self.named) - {""}

    @property
    def lists_nothing(self) -> bool:
        """Whether it takes in nothing at all, which makes it useless."""
        fields = ("resources", "bases", "components", "configMapGenerator", "secretGenerator", *ADDING)
        return not any(self.node.at(field).items() for field in fields)

    @cached_property
    def patch_files(self) -> tuple[tuple[Node, str], ...]:
        """Entries that name files of patches, not of objects, each with its path."""
        listed = [item.at("path") for field in ("patches", "patchesJson6902") for item in self.node.at(field).items()]
        listed += [item for item in self.node.at("patchesStrategicMerge").items() if "\n" not in item.text]
        return tuple((item, joined(self.directory, item.text)) for item in listed if item.text)

    @property
    def needs(self) -> Iterator[tuple[Node, str]]:
        """Every entry that names something local, with its path; building it reads them all."""
        yield from ((entry, path) for entry, path in self.named if path)
        yield from self.patch_files


def needed(text: str, path: str) -> frozenset[str]:
    """Every local path that the kustomization in ``path`` needs for building it."""
    directory = posixpath.dirname(path)
    ones = [Kustomization(directory, node) for node in yamltree.load(text, path).nodes]
    return frozenset(needs for one in ones for _, needs in one.needs)


def is_remote(text: str) -> bool:
    """Whether kustomize would fetch it: a URL, or a host with a path behind it."""
    return (
        "://" in text or "?ref=" in text or re.match(r"(git@|git::|[\w-]+(\.[\w-]+)+(:\d+)?/[\w-]+/)", text) is not None
    )


def joined(directory: str, relative: str) -> str:
    """A path as it is seen from where ``directory`` is; ``..`` beyond the beginning stays."""
    path = posixpath.normpath(posixpath.join(directory, relative))
    return "" if path == "." else path

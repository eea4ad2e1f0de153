"""What is applied: every kustomization that no other takes in, built, each value with the line it comes from.

The order is kustomize's own: objects, generators, components; then patches, namespace, names, labels, annotations,
late patches, replicas and images.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from bedside.policy.kustomize import transforming
from bedside.policy.kustomize.generating import generated
from bedside.policy.kustomize.kustomization import ADDING, ADVISING, CHANGING, Kustomization
from bedside.policy.kustomize.patching import Notes, late_patches, patched, patches
from bedside.policy.kustomize.transforming import Resource
from bedside.policy.yamltree import Node

MAX_OBJECTS = 20_000
"""Most objects and kustomizations that are gone through: one that takes another in twice doubles them."""

MAX_NESTED = 32
"""How deep kustomizations may stand in each other."""


@dataclass(frozen=True, slots=True)
class Tree:
    """One kustomization, built.

    Attributes:
        name: Its directory, as the user named it; ``.`` where it has none.
        objects: What is applied, in order.
        files: The files that its objects and patches stand in.
        notes: What was found out on the way.
    """

    name: str
    objects: tuple[Resource, ...]
    files: frozenset[str]
    notes: Notes


Documents = Mapping[str, tuple[Node, ...]]


def grown(kustomizations: Iterable[Kustomization], objects: Documents, loaded: Documents) -> list[Tree]:
    """Build every kustomization that no other takes in.

    Args:
        kustomizations: All that were read.
        objects: The objects in every YAML file, by path.
        loaded: All documents of every YAML file, patches among them.
    """
    known = {one.directory: one for one in kustomizations}
    taken = {path for one in known.values() for path in one.resources}
    grower = _Grower(known, objects, loaded)
    roots = [*(name for name in known if name not in taken), *known]  # in a ring, nobody is outside
    return [tree for directory in roots if (tree := grower.plant(directory)) is not None]


class _Grower:
    def __init__(self, known: Mapping[str, Kustomization], objects: Documents, loaded: Documents) -> None:
        self.known = known
        self.objects = objects
        self.loaded = loaded
        self.count = 0
        self._seen: set[str] = set()
        self._notes = Notes()
        self._files: set[str] = set()

    def plant(self, directory: str) -> Tree | None:
        """The tree of one kustomization; ``None`` where another tree has it already."""
        if directory in self._seen:
            return None
        alone = self.known[directory].component  # what a component changes is not here
        self._notes, self._files = Notes(whole=not alone, partial=alone), set()
        found = self._built(directory, [], ())
        if self._notes.partial:
            found = [Resource(item.node, item.names, True) for item in found]
        return Tree(directory or ".", tuple(found), frozenset(self._files), self._notes)

    def _built(self, directory: str, found: list[Resource], above: tuple[str, ...]) -> list[Resource]:
        """``found`` and all that one kustomization adds, after what it changes."""
        one = self.known[directory]
        self.count += 1
        self._seen.add(directory)
        self._files |= {path for _, path in one.patch_files}
        inside = (*above, directory)
        self._say_what_is_not_seen(one)
        mine = generated(one, [*(found if one.component else ()), *self._listed(one, inside)])
        for component in self._components(one, inside):
            mine = self._built(component, mine, inside)
        for patch in patches(one, self.loaded, self._notes):
            mine = patched(patch, mine, self._notes)
        for step in transforming.AFTER_PATCHES:
            mine = step(one.node, mine)
        for patch in late_patches(one, self.loaded, self._notes):
            mine = patched(patch, mine, self._notes)
        for step in transforming.AFTER_OPERATIONS:
            mine = step(one.node, mine)
        return mine

    def _listed(self, one: Kustomization, inside: tuple[str, ...]) -> Iterator[Resource]:
        for entry, path in one.named:
            below = self.known.get(path)
            if below is None:
                yield from self._file(path)
            elif not below.component and self._may_enter(entry, path, inside):
                yield from self._built(path, [], inside)

    def _components(self, one: Kustomization, inside: tuple[str, ...]) -> Iterator[str]:
        for entry, path in one.named:
            below = self.known.get(path)
            if below is not None and below.component and self._may_enter(entry, path, inside):
                yield path

    def _may_enter(self, entry: Node, path: str, inside: tuple[str, ...]) -> bool:
        if path in inside:
            self._notes.no_use(entry, f"the kustomization in {path or '.'} takes itself in")
            return False
        if self.count > MAX_OBJECTS or len(inside) > MAX_NESTED:
            self._notes.whole = False
            self._notes.not_followed(entry, "more kustomizations stand in each other than are followed")
            return False
        return True

    def _file(self, path: str) -> Iterator[Resource]:
        documents = self.objects.get(path) if path else None
        if documents is None:
            self._notes.whole = False
            return
        self._files.add(path)
        for document in documents:
            self.count += 1
            yield Resource(document)

    def _say_what_is_not_seen(self, one: Kustomization) -> None:
        remote = [entry for entry, path in one.named if not path]
        if remote:
            more = f" and {len(remote) - 1} more" if len(remote) > 1 else ""
            self._notes.not_followed(remote[0], f"{remote[0].text}{more}, somewhere else, was not read")
        for name in (*ADDING, *CHANGING, *ADVISING):
            node = one.node.at(name)
            if node.items() or node.pairs():
                self._notes.not_followed(node, f"what {name} makes or changes is not seen here")
                self._notes.whole = self._notes.whole and name not in ADDING
                self._notes.partial = self._notes.partial or name in CHANGING

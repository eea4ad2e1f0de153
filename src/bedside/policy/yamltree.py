"""YAML as a tree that knows its lines, and that never fails under the rules that read it.

``Node.at`` always answers a node: where the path leads nowhere, one that is absent and carries the line of
its nearest present parent, so that a finding about something missing points at where it belongs.

Parsing runs on libyaml's event stream without recursion, bounded in depth and size, because the input may be
any bytes whatever.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import yaml

MAX_DEPTH = 64
"""Deepest nesting that is read; real manifests stay under 20."""

MAX_NODES = 200_000
"""Most nodes in one document once its aliases are written out."""

Scalar: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Node:
    """One YAML value and where it stands.

    Attributes:
        file: The file it was read from, as the user named it.
        line: The line of its key, or its own first line; from 1.
        kind: What it is; ``absent`` where the document has nothing at this place.
        value: The scalar.
        entries: Keys and values of a map; values alone, under empty keys, of a list.
        end: Last line that it covers.
        size: How many nodes it holds, itself included.
        quoted: Whether a scalar was written in quotes, or as a block.
        written: A scalar as it was written, so that a key ``on`` stays ``on``.
    """

    file: str
    line: int
    kind: Literal["map", "list", "scalar", "absent"]
    value: Scalar = None
    entries: tuple[tuple[str, "Node"], ...] = ()
    end: int = 0
    size: int = 1
    quoted: bool = False
    written: str = ""

    def __bool__(self) -> bool:
        return self.kind != "absent" and not (self.kind == "scalar" and self.value is None)

    def at(self, *path: str | int) -> "Node":
        """Follow keys and list positions; an absent node where one of them does not exist."""
        here = self
        for step in path:
            here = here._child(step)
        return here

    def _child(self, step: str | int) -> "Node":
        if self.kind == "map" and isinstance(step, str):
            for key, node in self.entries:
                if key == step:
                    return node
        elif self.kind == "list" and isinstance(step, int) and 0 <= step < len(self.entries):
            return self.entries[step][1]
        return Node(self.file, self.line, "absent")

    def items(self) -> tuple["Node", ...]:
        """The values of a list, nothing for anything else."""
        return tuple(node for _, node in self.entries) if self.kind == "list" else ()

    def pairs(self) -> tuple[tuple[str, "Node"], ...]:
        """Keys and values of a map, nothing for anything else."""
        return self.entries if self.kind == "map" else ()

    @property
    def text(self) -> str:
        """A scalar as it was written; empty for null and for anything else."""
        return "" if self.value is None else self.written

    @property
    def number(self) -> int | None:
        """A whole number, as YAML or as digits in quotes; ``None`` for anything else."""
        if isinstance(self.value, bool):
            return None
        if isinstance(self.value, int):
            return self.value
        return int(self.value) if isinstance(self.value, str) and re.fullmatch(r"\d{1,9}", self.value) else None

    @property
    def true(self) -> bool:
        """Whether it says true."""
        return self.value is True

    @property
    def false(self) -> bool:
        """Whether it says false (an absent one says nothing)."""
        return self.value is False

    def strings(self) -> dict[str, str]:
        """A flat map of text, as labels are."""
        return {key: node.text for key, node in self.pairs() if node.kind == "scalar"}

    def walk(self) -> Iterator["Node"]:
        """This node and all below it."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += [child for _, child in reversed(node.entries)]

    def plain(self) -> Any:  # noqa: ANN401 - any YAML value
        """The value as Python's own dictionaries, lists and scalars."""
        match self.kind:
            case "map":
                return {key: node.plain() for key, node in self.entries}
            case "list":
                return [node.plain() for _, node in self.entries]
            case _:
                return self.value


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a file, or a place in it, could not be read as meant.

    Attributes:
        duplicate: A key is written twice.
        template: A key is itself a map, as in ``{{name}}``: the file is meant to be filled in first.
    """

    line: int
    message: str
    duplicate: bool = False
    template: bool = False


@dataclass(frozen=True, slots=True)
class Documents:
    """All documents of a file up to the first error, and what is wrong with it."""

    nodes: tuple[Node, ...]
    problems: tuple[Problem, ...]


@dataclass(slots=True)
class _Open:
    kind: Literal["map", "list"]
    line: int
    anchor: str | None
    entries: list[tuple[str, Node]] = field(default_factory=list)
    key: tuple[str, int] | None = None


class _Unreadable(Exception):
    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def load(text: str, file: str) -> Documents:
    """Read every document of ``text``. Never raises; what is wrong comes back beside what was read."""
    reader = _Reader(file)
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            reader.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reader.problems.append(Problem(mark.line + 1 if mark else 0, f"not YAML: {error.problem}"))
    except yaml.YAMLError as error:
        reader.problems.append(Problem(0, f"not YAML: {str(error).splitlines()[0]}"))
    except _Unreadable as error:
        reader.problems.append(Problem(error.line, str(error)))
    return Documents(tuple(reader.documents), tuple(reader.problems))


class _Reader:
    """Builds nodes from events, on a stack of its own."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.documents: list[Node] = []
        self.problems: list[Problem] = []
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node] = {}

    def take(self, event: yaml.Event) -> None:
        """Work in one event.

        Raises:
            _Unreadable: Too deep, too large, or an alias to nothing.
        """
        line = _line(event)
        match event:
            case yaml.DocumentStartEvent():
                self._anchors = {}
            case yaml.MappingStartEvent():
                self._open(_Open("map", line, event.anchor))
            case yaml.SequenceStartEvent():
                self._open(_Open("list", line, event.anchor))
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._close(line)
            case yaml.ScalarEvent():
                self._put(self._scalar(event, line), event.anchor)
            case yaml.AliasEvent():
                if event.anchor not in self._anchors:
                    raise _Unreadable(line, "an alias names an anchor that does not exist, or holds itself")
                self._put(replace(self._anchors[event.anchor], line=line), None)
            case _:
                pass

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> Node:
        plain = event.implicit[0]
        value: Scalar = _resolve(event.value) if plain else event.value
        return Node(
            self.file,
            line,
            "scalar",
            value,
            end=event.end_mark.line + 1 if event.end_mark is not None else line,
            quoted=not plain,
            written=event.value,
        )

    def _open(self, node: _Open) -> None:
        if len(self._stack) >= MAX_DEPTH:
            raise _Unreadable(node.line, f"nested deeper than {MAX_DEPTH}")
        self._stack.append(node)

    def _close(self, line: int) -> None:
        done = self._stack.pop()
        entries = self._merged(done) if done.kind == "map" else done.entries
        size = 1 + sum(node.size for _, node in entries)
        if size > MAX_NODES:
            raise _Unreadable(done.line, f"more than {MAX_NODES} values once its aliases are written out")
        end = max([done.line, *(node.end for _, node in entries)])
        self._put(
            Node(self.file, done.line, done.kind, None, tuple(entries), max(end, min(line, end)), size), done.anchor
        )

    def _merged(self, done: _Open) -> list[tuple[str, Node]]:
        seen: dict[str, Node] = {}
        for key, node in done.entries:
            if key in seen and key != "<<":
                self.problems.append(Problem(node.line, f"the key {key!r} is written twice", duplicate=True))
            seen[key] = node
        merge = seen.pop("<<", None)
        if merge is not None:
            for source in merge.items() or (merge,):
                for key, node in source.pairs():
                    seen.setdefault(key, node)
        return list(seen.items())

    def _put(self, node: Node, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._stack:
            self.documents.append(node)
            return
        parent = self._stack[-1]
        if parent.kind == "list":
            parent.entries.append(("", node))
        elif parent.key is None:
            if node.kind != "scalar":
                self.problems.append(Problem(node.line, "a key is itself a map or list", template=True))
            parent.key = (node.written, node.line)
        else:
            name, line = parent.key
            parent.entries.append((name, replace(node, line=line)))
            parent.key = None


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 0


_INTEGER = re.compile(r"[-+]?[0-9][0-9_]{0,17}")
_FLOAT = re.compile(r"[-+]?(\d[\d_]{0,30}\.[\d_]{0,30}([eE][-+]?\d{1,3})?|\.\d{1,30}|\d{1,17}[eE][-+]?\d{1,3})")
_WORDS: Mapping[str, Scalar] = {"": None, "~": None} | {
    form: value
    for word, value in {"null": None, "true": True, "false": False, "yes": True, "no": False}.items()
    for form in (word, word.capitalize(), word.upper())
}


def _resolve(text: str) -> Scalar:
    """A plain scalar's value, as Kubernetes reads it (YAML 1.1 without dates, octals and base 60)."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text) and not (len(text) > 1 and text[0] == "0"):
        return int(text.replace("_", ""))
    if _FLOAT.fullmatch(text):
        return float(text.replace("_", ""))
    return text

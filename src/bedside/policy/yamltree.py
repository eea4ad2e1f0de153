"""YAML as a tree that knows its lines, and that never fails under the rules that read it.

``Node.at`` always answers a node: where the path leads nowhere, one that is absent and carries the line of
its nearest present parent, so that a finding about something missing points at where it belongs.

Parsing runs on libyaml's event stream without recursion, bounded in depth and size, because the input may be
any bytes whatever.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

import yaml

MAX_DEPTH = 64
"""Deepest nesting that is read; real manifests stay under 20."""

MAX_NODES = 200_000
"""Most nodes in one document once its aliases are written out."""

Scalar: TypeAlias = str | int | float | bool | None


class Node(NamedTuple):
    """One YAML value and where it stands. A named tuple, because a large file has a million of them.

    Attributes:
        file: The file it was read from, as the user named it.
        line: The line of its key, or its own first line; from 1.
        kind: What it is; ``absent`` where the document has nothing at this place.
        value: The scalar.
        entries: Keys and values of a map; values alone, under empty keys, of a list.
        end: Last line that it covers.
        size: How many nodes it held when it was read, itself included.
        quoted: Whether a scalar was written in quotes, or as a block.
        written: A scalar as it was written, so that a key ``on`` stays ``on``.
        block: Whether a scalar is a block, whose text begins on the next line.
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
    block: bool = False

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

    def put(self, key: str, child: "Node") -> "Node":
        """This map with ``key`` set to ``child``; where this is no map, a map of that alone."""
        if self.kind != "map":
            return self._replace(kind="map", value=None, entries=((key, child),), written="")
        kept = tuple((name, child if name == key else node) for name, node in self.entries)
        return self._replace(entries=kept if any(name == key for name, _ in kept) else (*kept, (key, child)))

    def without(self, key: str) -> "Node":
        """This map without ``key``."""
        return self._replace(entries=tuple(entry for entry in self.entries if entry[0] != key))

    def listing(self, items: Iterable["Node"]) -> "Node":
        """A list of these items in this node's place."""
        return self._replace(kind="list", value=None, entries=tuple(("", item) for item in items), written="")

    def saying(self, text: str) -> "Node":
        """A scalar of this text in this node's place."""
        return self._replace(kind="scalar", value=text, entries=(), written=text)

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


def load(text: str, file: str, above: int = 0) -> Documents:
    """Read every document of ``text``. Never raises; what is wrong comes back beside what was read.

    Args:
        text: YAML.
        file: Its name, for the places of what is in it.
        above: Lines of the file before it, where it is a text inside another document.
    """
    reader = _Reader(file, above)
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            reader.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reader.problems.append(Problem(mark.line + 1 + above if mark else 0, f"not YAML: {error.problem}"))
    except yaml.YAMLError as error:
        reader.problems.append(Problem(0, f"not YAML: {str(error).splitlines()[0]}"))
    except _Unreadable as error:
        reader.problems.append(Problem(error.line, str(error)))
    return Documents(tuple(reader.documents), tuple(reader.problems))


class _Reader:
    """Builds nodes from events, on a stack of its own."""

    def __init__(self, file: str, above: int) -> None:
        self.file = file
        self.above = above + 1  # marks count from 0
        self.documents: list[Node] = []
        self.problems: list[Problem] = []
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._takers: Mapping[type, Callable[[Any, int], None]] = {
            yaml.ScalarEvent: self._scalar,
            yaml.MappingStartEvent: self._open_map,
            yaml.SequenceStartEvent: self._open_list,
            yaml.MappingEndEvent: self._close,
            yaml.SequenceEndEvent: self._close,
            yaml.AliasEvent: self._alias,
            yaml.DocumentStartEvent: self._start,
        }

    def take(self, event: yaml.Event) -> None:
        """Work in one event.

        Raises:
            _Unreadable: Too deep, too large, or an alias to nothing.
        """
        taker = self._takers.get(type(event))
        if taker is not None:
            mark = event.start_mark
            taker(event, mark.line + self.above if mark is not None else 0)

    def _start(self, _event: yaml.DocumentStartEvent, _line: int) -> None:
        self._anchors = {}

    def _alias(self, event: yaml.AliasEvent, line: int) -> None:
        if event.anchor not in self._anchors:
            raise _Unreadable(line, "an alias names an anchor that does not exist, or holds itself")
        self._put(self._anchors[event.anchor]._replace(line=self._key_line(line)), None)

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        written = event.value
        plain = event.implicit[0]
        value: Scalar = _resolve(written) if plain else written
        end = event.end_mark.line + self.above if event.end_mark is not None else line
        node = Node(
            self.file, self._key_line(line), "scalar", value, (), end, 1, not plain, written, event.style in _BLOCK
        )
        self._put(node, event.anchor)

    def _open_map(self, event: yaml.MappingStartEvent, line: int) -> None:
        self._open("map", line, event.anchor)

    def _open_list(self, event: yaml.SequenceStartEvent, line: int) -> None:
        self._open("list", line, event.anchor)

    def _open(self, kind: Literal["map", "list"], line: int, anchor: str | None) -> None:
        if len(self._stack) >= MAX_DEPTH:
            raise _Unreadable(line, f"nested deeper than {MAX_DEPTH}")
        self._stack.append(_Open(kind, self._key_line(line), anchor))

    def _key_line(self, line: int) -> int:
        """The line of the key that the next value belongs to; the value's own where it has none."""
        key = self._stack[-1].key if self._stack else None
        return line if key is None else key[1]

    def _close(self, _event: yaml.Event, line: int) -> None:
        done = self._stack.pop()
        entries = self._merged(done) if done.kind == "map" else done.entries
        size, end = 1, done.line
        for _, node in entries:
            size += node.size
            end = max(end, node.end)
        if size > MAX_NODES:
            raise _Unreadable(done.line, f"more than {MAX_NODES} values once its aliases are written out")
        self._put(
            Node(self.file, done.line, done.kind, None, tuple(entries), max(end, min(line, end)), size), done.anchor
        )

    def _merged(self, done: _Open) -> list[tuple[str, Node]]:
        seen = dict(done.entries)
        if len(seen) == len(done.entries) and "<<" not in seen:
            return done.entries
        seen = {}
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
            parent.entries.append((parent.key[0], node))
            parent.key = None


_INTEGER = re.compile(r"[-+]?[0-9][0-9_]{0,17}")
_OTHER_BASE = re.compile(r"0(o?[0-7]{1,20}|x[0-9a-fA-F]{1,16}|b[01]{1,64})")
_FLOAT = re.compile(r"[-+]?(\d[\d_]{0,30}\.[\d_]{0,30}([eE][-+]?\d{1,3})?|\.\d{1,30}|\d{1,17}[eE][-+]?\d{1,3})")
_BLOCK = ("|", ">")
_NUMERIC = frozenset("+-.0123456789")
_WORDS: Mapping[str, Scalar] = {"": None, "~": None} | {
    form: value
    for word, value in {"null": None, "true": True, "false": False, "yes": True, "no": False}.items()
    for form in (word, word.capitalize(), word.upper())
}


def _resolve(text: str) -> Scalar:
    """A plain scalar's value, as Kubernetes reads it (YAML 1.1 without dates and base 60)."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMERIC:
        return text
    if _INTEGER.fullmatch(text) and not (len(text) > 1 and text[0] == "0"):
        return int(text.replace("_", ""))
    if _OTHER_BASE.fullmatch(text):
        return int(text, 8) if text[1].isdigit() else int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text.replace("_", ""))
    return text

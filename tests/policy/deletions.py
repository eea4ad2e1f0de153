"""Every way to take one thing out of a deployment: a YAML node, a line, an instruction, a statement."""

import ast
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from bedside.policy import yamltree

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Deletion:
    """One thing taken out of one file.

    Attributes:
        what: The file and what was in it, ``k8s/service.yaml: spec.selector``.
        files: The deployment without it.
    """

    file: str
    what: str
    files: Mapping[str, str]


def deletions(files: Mapping[str, str], among: Collection[str]) -> Iterator[Deletion]:
    """Every deletion in every file ``among`` these, the files themselves included."""
    for file, text in ((file, files[file]) for file in among):
        yield Deletion(file, f"FILE {file}", {name: other for name, other in files.items() if name != file})
        for what, left in _ways(file, text):
            yield Deletion(file, f"{file}: {what}", {**files, file: left})


def _ways(file: str, text: str) -> Iterator[tuple[str, str]]:
    if file.endswith((".yaml", ".yml")):
        return _nodes(file, text)
    return _statements(text) if file.endswith(".py") else _lines(text)


def _nodes(file: str, text: str) -> Iterator[tuple[str, str]]:
    documents = [node.plain() for node in yamltree.load(text, file).nodes]
    for position, document in enumerate(documents):
        for path in _paths(document):
            left = json.loads(json.dumps(document))
            _delete(left, path)
            rest = [*documents[:position], left, *documents[position + 1 :]]
            name = ".".join(str(step) for step in ((position, *path) if position else path))
            yield name, yaml.safe_dump_all(rest, sort_keys=False)


def _paths(value: Any, path: Path = ()) -> Iterator[Path]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in entries:
        yield (*path, key)
        yield from _paths(child, (*path, key))


def _delete(value: Any, path: Path) -> None:
    for step in path[:-1]:
        value = value[step]
    del value[path[-1]]


def _statements(text: str) -> Iterator[tuple[str, str]]:
    lines = text.split("\n")
    for node in ast.walk(ast.parse(text)):
        for body in (getattr(node, name, ()) for name in ("body", "orelse", "handlers")):
            for statement in body if isinstance(body, list) else ():
                first = min([statement.lineno, *(item.lineno for item in getattr(statement, "decorator_list", ()))])
                left = [*lines[: first - 1], *lines[statement.end_lineno :]]
                if len(body) == 1:
                    left.insert(first - 1, " " * statement.col_offset + "pass")
                yield lines[first - 1].strip(), "\n".join(left)


def _lines(text: str) -> Iterator[tuple[str, str]]:
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if line.strip():
            yield line.strip(), "\n".join([*lines[:number], *lines[number + 1 :]])

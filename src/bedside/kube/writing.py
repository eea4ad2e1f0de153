"""Objects as YAML that people review: one order, one form, and the reason beside every computed value."""

import re
from collections.abc import Iterator
from typing import Final

from bedside.kube.objects import Plain
from bedside.kube.reasons import Number, Text

_PLAIN: Final = re.compile(r"[A-Za-z/][A-Za-z0-9_./@-]*(?::[A-Za-z0-9_./@-]+)*")
"""Texts that need no quotes, whichever YAML 1.1 or 1.2 parser reads them."""

_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", "nan", "inf"})
"""Texts, lowercase, that some parser takes for something else."""


def document(value: dict[str, Plain]) -> str:
    """Return ``value`` as one YAML document that ends with a newline."""
    return "".join(f"{line}\n" for line in _mapping(value, "")) if value else "{}\n"


def _mapping(value: dict[str, Plain], indent: str) -> Iterator[str]:
    for key, item in value.items():
        if isinstance(item, Number | Text):
            yield f"{indent}# {item.why}"
        yield from _entry(f"{indent}{_text(key)}:", item, indent)


def _entry(head: str, item: Plain, indent: str) -> Iterator[str]:
    """``head`` with ``item`` beside or below it."""
    if isinstance(item, dict) and item:
        yield head
        yield from _mapping(item, f"{indent}  ")
    elif isinstance(item, list) and item:
        yield head
        yield from _sequence(item, f"{indent}  ")
    elif isinstance(item, str) and "\n" in item and _literal(item):
        yield f"{head} |-" if not item.endswith("\n") else f"{head} |"
        yield from (f"{indent}  {line}" if line else "" for line in item.removesuffix("\n").split("\n"))
    else:
        yield f"{head} {_scalar(item)}"


def _sequence(value: list[Plain], indent: str) -> Iterator[str]:
    for item in value:
        if isinstance(item, dict) and item:
            first, *rest = _mapping(item, f"{indent}  ")
            while first.lstrip().startswith("#"):
                yield f"{indent}{first.lstrip()}"
                first, *rest = rest
            yield f"{indent}- {first[len(indent) + 2 :]}"
            yield from rest
        elif isinstance(item, list) and item:
            raise TypeError("no object of the API holds a list in a list")
        else:
            yield f"{indent}- {_scalar(item)}"


def _scalar(value: Plain) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(int(value))
        case str():
            return _text(value)
        case dict():
            return "{}"
        case list():
            return "[]"


def _text(value: str) -> str:
    """``value`` without quotes where no parser can mistake it, else in double quotes."""
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return f'"{"".join(map(_character, value))}"'


def _character(character: str) -> str:
    match character:
        case '"' | "\\":
            return f"\\{character}"
        case "\n":
            return "\\n"
        case _:
            return character if character.isprintable() else f"\\U{ord(character):08x}"


def _literal(text: str) -> bool:
    """Whether a block keeps ``text`` as it is: printable lines, no space before the first or at an end of a line."""
    lines = text.removesuffix("\n").split("\n")
    sound = all(line == line.rstrip() and (line.isprintable() or not line) for line in lines)
    return sound and bool(lines[0]) and not lines[0].startswith(" ") and not text.endswith("\n\n")

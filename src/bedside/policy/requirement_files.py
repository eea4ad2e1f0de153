"""A requirements file as its entries, each with its line; pip's own format, PEP 508 by ``packaging``."""

import re
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from bedside.policy.place import Hit, Place


@dataclass(frozen=True, slots=True)
class Entry:
    """One requirement. ``version`` is set where ``==`` or ``===`` names exactly one; ``extras`` stand in brackets."""

    name: str
    version: str | None
    hashed: bool
    url: str | None
    place: Place
    extras: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RequirementsFile:
    """One file: its requirements, its option lines, and what could not be read."""

    path: str
    entries: tuple[Entry, ...]
    options: tuple[tuple[str, Place], ...]
    problems: tuple[Hit, ...]

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def names(self) -> frozenset[str]:
        """Every distribution in it, normalized."""
        return frozenset(entry.name for entry in self.entries)

    @property
    def abstract(self) -> bool:
        """Whether it is an input of a resolver (``.in``), made to float."""
        return self.path.endswith(".in")

    @property
    def hashed(self) -> bool:
        """Whether every entry has a hash."""
        return bool(self.entries) and all(entry.hashed for entry in self.entries)


def parse(text: str, path: str) -> RequirementsFile:
    """Read a requirements file; a line that is none becomes a problem."""
    entries: list[Entry] = []
    options: list[tuple[str, Place]] = []
    problems: list[Hit] = []
    for line, end, logical in _logical_lines(text):
        place = Place(path, line, end)
        if logical.startswith("-"):
            options.append((logical, place))
            continue
        requirement, *rest = re.split(r"\s+(?=--)", logical)
        try:
            parsed = Requirement(requirement)
        except InvalidRequirement:
            problems.append(Hit(place, "this line is no requirement that pip can read"))
            continue
        entries.append(_entry(parsed, any(item.startswith("--hash=") for item in rest), place))
    return RequirementsFile(path, tuple(entries), tuple(options), tuple(problems))


def _entry(parsed: Requirement, hashed: bool, place: Place) -> Entry:
    exact = [item.version for item in parsed.specifier if item.operator in ("==", "===") and "*" not in item.version]
    version = exact[0] if len(exact) == 1 else None
    return Entry(canonicalize_name(parsed.name), version, hashed, parsed.url, place, frozenset(parsed.extras))


def _logical_lines(text: str) -> list[tuple[int, int, str]]:
    found: list[tuple[int, int, str]] = []
    held, start = "", 0
    for number, raw in enumerate(text.split("\n"), start=1):
        start = start or number
        line = re.sub(r"(^|\s)#.*$", "", raw).strip()
        held = f"{held} {line.removesuffix(chr(92)).strip()}".strip()
        if line.endswith("\\"):
            continue
        if held:
            found.append((start, number, held))
        held, start = "", 0
    return [*found, (start, start, held)] if held else found

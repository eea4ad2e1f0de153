"""The tutorial as data: what a reader types, what she writes into a file, and what comes back."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial.md"

_HEADING = re.compile(r"## ([0-9]+)\. ")
_EXIT = re.compile(r"# exit code ([0-9]+)$|# exit code ([0-9]+);", re.MULTILINE)
_VARIES = re.compile(
    r"(?P<any>\.\.\.)"
    r"|(?P<digest>sha256:[0-9a-f]{8,})"
    r"|(?P<figure>(?<![\d.])\d+\.\d+(?:e-?\d+)?(?![\d.]))"
)
_PATTERNS = {"any": ".*", "digest": "sha256:[0-9a-f]+", "figure": r"[\d.,]+(?:e-?\d+)?"}


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        section: Number of the section that it stands in.
        kind: ``sh`` is typed, ``text`` is shown, ``toml`` and ``yaml`` stand in files.
        text: What is between the fences.
    """

    section: int
    kind: str
    text: str

    @property
    def exit_codes(self) -> list[int]:
        """Exit codes other than 0, in order, that the block announces."""
        return [int(first or second) for first, second in _EXIT.findall(self.text)]


def blocks(document: Path = TUTORIAL) -> list[Block]:
    """Return every fenced block, in order."""
    return list(_blocks(document.read_text().splitlines(keepends=True)))


def _blocks(lines: list[str]) -> Iterator[Block]:
    section, kind, kept = 0, None, list[str]()
    for line in lines:
        if kind is None:
            if found := _HEADING.match(line):
                section = int(found[1])
            elif line.startswith("```"):
                kind, kept = line[3:].strip(), []
        elif line.startswith("```"):
            yield Block(section, kind, "".join(kept))
            kind = None
        else:
            kept.append(line)


def shown(text: str) -> Iterator[re.Pattern[str]]:
    """Return a pattern for each line: digests and figures with a point may be others, ``...`` is anything."""
    for line in text.splitlines():
        if line.strip():
            yield re.compile(_pattern(line.rstrip()))


def _pattern(line: str) -> str:
    made, at = "", 0
    for found in _VARIES.finditer(line):
        made += re.escape(line[at : found.start()]) + _PATTERNS[str(found.lastgroup)]
        at = found.end()
    return made + re.escape(line[at:])

"""On which line of a TOML document a key stands."""

import re
from collections import Counter
from collections.abc import Mapping

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(
    r"""^\s*((?:[A-Za-z0-9_-]+|"[^"\\]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"\\]*"|'[^']*'))*)\s*="""
)


def lines(text: str) -> dict[str, int]:
    """Return the line, from 1, of every table header and key by its path, ``inputs[2].valid``.

    Keys inside inline tables and arrays have the line of the key that holds them. Where nothing is known, the
    path is absent: no line is better than a wrong one.
    """
    found: dict[str, int] = {}
    counts: Counter[str] = Counter()
    prefix, inside = "", ""
    for number, line in enumerate(text.splitlines(), 1):
        if inside:
            inside = "" if inside in line else inside
            continue
        if header := _HEADER.match(line):
            prefix = _path(header[2])
            if header[1] == "[[":
                counts[prefix] += 1
                prefix = f"{prefix}[{counts[prefix] - 1}]"
            found.setdefault(prefix, number)
        elif key := _KEY.match(line):
            path = _path(key[1])
            found.setdefault(f"{prefix}.{path}" if prefix else path, number)
        inside = _opens(line)
    return found


def line_of(found: Mapping[str, int], path: str) -> int:
    """Return the line of ``path``, else of the nearest key around it, else 0."""
    while path:
        if path in found:
            return found[path]
        path = re.sub(r"(\.[^.\[]+|\[\d+\]|^[^.\[]+)$", "", path)
    return 0


def _path(key: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in key.split("."))


def _opens(line: str) -> str:
    """Return the delimiter of a multi-line string that ``line`` leaves open."""
    for delimiter in ('"""', "'''"):
        if line.count(delimiter) % 2:
            return delimiter
    return ""

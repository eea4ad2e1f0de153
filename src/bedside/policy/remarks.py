"""What people wrote beside the settings: how long the model takes to load, in a comment, a docstring or a README."""

import re
from collections.abc import Iterable

from bedside.policy.place import Place

Remark = tuple[float, Place]
"""Seconds, and where they are said."""

_ABOUT = re.compile(r"(?i)\b(model|weights|checkpoint|ensemble|booster)\b")
_LOADING = re.compile(r"(?i)\b(load|loads|loading|start|starts|startup|warm[- ]?up)\b")
_TIME = re.compile(r"(?i)(\d{1,4}(?:\.\d{1,3})?)\s*(s|secs?|seconds?|min|mins|minutes?)\b")


def of_comments(text: str, path: str) -> list[Remark]:
    """Load times that comments (from ``#`` to the end of the line) say."""
    lines = ((number, line.partition("#")[2]) for number, line in enumerate(text.split("\n"), start=1) if "#" in line)
    return _said(lines, path)


def of_prose(text: str, path: str, first: int = 1) -> list[Remark]:
    """Load times that plain text says, line by line."""
    return _said(enumerate(text.split("\n"), start=first), path)


def _said(lines: Iterable[tuple[int, str]], path: str) -> list[Remark]:
    found: list[Remark] = []
    for number, line in lines:
        if len(line) < 400 and _ABOUT.search(line) and _LOADING.search(line):
            times = [float(amount) * (60 if unit[0] in "mM" else 1) for amount, unit in _TIME.findall(line)]
            found += [(max(times), Place(path, number, number))] if times else []
    return found

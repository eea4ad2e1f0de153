"""What people wrote beside the settings: how long the model takes to load, in a comment, a docstring or a README."""

import re
from collections.abc import Iterable

from bedside.policy.place import Place

Remark = tuple[float, Place]
"""Seconds, and where they are said."""

_TIME = r"(\d{1,4}(?:\.\d{1,3})?)\s*-?(s|secs?|seconds?|min|mins|minutes?)\b"
_ANY_TIME = re.compile(f"(?i){_TIME}")
_MODEL = r"\b(?:model|weights|checkpoint|ensemble|booster)(?:'s)?\b"
_LOADING = r"\b(?:load|loads|loading|start|starts|starting|startup|start-up|warm[- ]?up|warms up)\b"
_TAKES = r"(?:\b(?:takes?|needs?|lasts?|requires?|is|in|within|after)\b|[:=~])"
_NEAR = r"[^.;]{0,60}?"
_SAYS = tuple(
    re.compile(f"(?i){pattern}")
    for pattern in (
        rf"{_LOADING}{_NEAR}{_MODEL}{_NEAR}{_TAKES}{_NEAR}{_TIME}",  # loading the model takes 60 s
        rf"{_MODEL}{_NEAR}{_LOADING}{_NEAR}{_TAKES}{_NEAR}{_TIME}",  # the model loads in 60 s
        rf"{_MODEL}\s+(?:\w+\s+)?(?:takes?|needs?|requires?)\b{_NEAR}{_TIME}\s+(?:to|for|until|before)\b{_NEAR}{_LOADING}",
        rf"\b(?:takes?|needs?|requires?)\b{_NEAR}{_TIME}\s+(?:to|for)\s+{_LOADING}{_NEAR}{_MODEL}",
        rf"{_LOADING}{_NEAR}{_MODEL}\s*\((?:about|up to|around|~)?\s*{_TIME}",  # loads the model (about 60 s)
    )
)
"""A sentence that says how long loading takes; of all of its times the longest counts."""

_OTHERWISE = re.compile(
    r"(?i)\b(was|were|took|used to|formerly|previously|before|no longer|never|not|without|if|unless|should|must|may not"
    r"|allow\w*|giv(?:e|es|en)|wait\w*|time[sd]?[- ]?outs?|deadline|every|each|interval|per|poll\w*|retr(?:y|ies)"
    r"|restart\w*|cache\w*|keep\w*|kept|expire\w*|ttl|train\w*|test\w*|bench\w*|goal|target|limit|budget|probes?"
    r"|grace|goes? away)\b"
)
"""What makes a sentence one about the past, a wish, a limit, or something else that takes time."""

_ASIDE = re.compile(r"\((?=[^()]*\b(?:was|were|before|formerly|previously|instead of|not)\b)[^()]*\)")
MOST_SECONDS = 3600.0
"""No model is loaded for longer: such a number is about something else."""


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
        if len(line) < 400 and _ANY_TIME.search(line):
            times = [seconds for sentence in _sentences(line) for seconds in _times(sentence)]
            found += [(max(times), Place(path, number, number))] if times else []
    return found


def _sentences(line: str) -> list[str]:
    return re.split(r"[.;!?](?:\s|$)|, (?:and|but|while|then)\b", _ASIDE.sub("", line))


def _times(sentence: str) -> list[float]:
    if _OTHERWISE.search(sentence) or not any(says.search(sentence) for says in _SAYS):
        return []
    times = [float(amount) * (60 if unit[0] in "mM" else 1) for amount, unit in _ANY_TIME.findall(sentence)]
    return [seconds for seconds in times if seconds <= MOST_SECONDS]

"""How the files of a log are named. Pure."""

import re
from typing import Final

UNPUBLISHED: Final = ".new-"
"""Leads the name of a file that has no durable genesis record yet. Nobody was answered from it."""

_NAME: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z.-]*-([0-9]{8})\.jsonl")


def segment_name(boot: str, number: int) -> str:
    """Return the file name of a segment."""
    return f"{boot}-{number:08d}.jsonl"


def segment_number(name: str) -> int | None:
    """Return the number in a segment's file name; ``None`` where the file is no segment."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None

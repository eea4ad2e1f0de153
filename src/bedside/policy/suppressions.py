"""Findings that somebody accepted for a time: a comment with the rule, the last day and the reason.

    # bedside: ignore BED-K8S-010 until 2027-03-31: one node in the test ward

The comment covers its own line or, standing alone, the next line that is none; ``ignore-file`` covers the file.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from bedside import acceptance
from bedside.acceptance import SaysTooLittle
from bedside.findings import Finding
from bedside.policy.place import Hit, Place, SourceFile
from bedside.policy.rulebook import finding, rules

_MARK = re.compile(r"#\s*bedside:\s*(ignore\S*)\s*(.*)$")


@dataclass(frozen=True, slots=True)
class Suppression:
    """One accepted rule in one place.

    Attributes:
        line: The line that it covers; 0 for the whole file.
        place: Where the comment itself stands.
    """

    rule: str
    file: str
    line: int
    until: date
    reason: str
    place: Place


@dataclass(frozen=True, slots=True)
class Accepted:
    """A finding that a suppression covers today."""

    finding: Finding
    reason: str
    until: date


def read(sources: Iterable[SourceFile]) -> tuple[list[Suppression], list[Finding]]:
    """Every suppression in these files, and what is wrong with those that say too little."""
    found: list[Suppression] = []
    problems: list[Finding] = []
    for source in sources:
        if b"bedside:" not in source.data:
            continue
        lines = source.data.decode("utf-8", "replace").splitlines()
        for number, line in enumerate(lines, start=1):
            mark = _MARK.search(line)
            if mark is None:
                continue
            where = Place(source.path, number, number)
            covers = _covered(lines, number) if mark[1] == "ignore" else 0
            parsed = _parse(mark[1], mark[2].strip(), where, covers)
            if isinstance(parsed, str):
                problems.append(finding("BED-INP-005", Hit(where, parsed)))
            else:
                found += parsed
    return found, problems


def _covered(lines: Sequence[str], number: int) -> int:
    if not lines[number - 1].lstrip().startswith("#"):
        return number
    for later in range(number, len(lines)):
        if lines[later].strip() and not lines[later].lstrip().startswith("#"):
            return later + 1
    return number


def _parse(verb: str, text: str, where: Place, covers: int) -> list[Suppression] | str:
    try:
        said = acceptance.parse(text)
    except SaysTooLittle as error:
        return f"this suppression says too little: {error}"
    if verb not in ("ignore", "ignore-file") or said.place is not None:
        return "a suppression covers its line or its file, and says so with ignore or ignore-file"
    unknown = [name for name in said.rules if name.startswith("BED-") and name not in rules()]
    if unknown:
        return f"there is no rule {unknown[0]}"
    return [Suppression(name, where.file, covers, said.until, said.reason, where) for name in said.rules]


def apply(
    found: Iterable[Finding], suppressions: Sequence[Suppression], today: date
) -> tuple[list[Finding], list[Accepted]]:
    """Take out what is accepted today; expired suppressions and those that cover nothing become findings."""
    kept: list[Finding] = []
    accepted: list[Accepted] = []
    used: set[Suppression] = set()
    by_place: dict[tuple[str, str, int], list[Suppression]] = {}
    for one in suppressions:
        by_place.setdefault((one.rule, one.file, one.line), []).append(one)
    for item in found:
        lines = sorted({0, item.line})
        covering = [one for line in lines for one in by_place.get((item.rule, item.file, line), ())]
        used |= set(covering)
        valid = next((one for one in covering if one.until >= today), None)
        if valid is None:
            kept.append(item)
        else:
            accepted.append(Accepted(item, valid.reason, valid.until))
    for one in suppressions:
        if one.until < today:
            kept.append(finding("BED-INP-006", Hit(one.place, f"the suppression of {one.rule} ended on {one.until}")))
        elif one not in used:
            kept.append(finding("BED-INP-009", Hit(one.place, f"nothing here is a finding of {one.rule}")))
    return kept, accepted

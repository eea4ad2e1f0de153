"""The list of findings that somebody accepts for a time, one a line, as `bedside check` reads it in comments. Pure.

    # the base has no fix yet; the pod opens no TLS connection
    ignore CVE-2026-1234 in libssl3 until 2027-03-31: no TLS ends in this pod
    ignore BED-SCN-012 in /opt/bedside/lib/*/pydicom/data/* until 2027-12-31: synthetic objects of the library

Whatever is found in a file is accepted for named files only: nobody accepts patients wherever they may turn up.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date

from bedside import acceptance
from bedside.acceptance import Acceptance, SaysTooLittle
from bedside.findings import Finding
from bedside.provenance import rules


@dataclass(frozen=True, slots=True)
class Accepted:
    """A finding that is accepted today."""

    finding: Finding
    reason: str
    until: date


def read(text: str, file: str) -> tuple[list[tuple[int, Acceptance]], list[Finding]]:
    """Return what a list accepts, by line, and what is wrong with it.

    Args:
        text: The list.
        file: How the user named it.
    """
    found: list[tuple[int, Acceptance]] = []
    problems: list[Finding] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            found.append((number, _line(line)))
        except SaysTooLittle as error:
            problems.append(_finding("BED-SCN-033", f"this line accepts nothing: {error}", file, number))
    return found, problems


def _line(text: str) -> Acceptance:
    verb, _, rest = text.strip().partition(" ")
    if verb != "ignore":
        raise SaysTooLittle("it begins with the word ignore")
    said = acceptance.parse(rest)
    unknown = [name for name in said.rules if name.startswith("BED-") and name not in rules.rules()]
    if unknown:
        raise SaysTooLittle(f"there is no finding {unknown[0]}")
    if said.place is None and any(rules.is_about_a_file(name) for name in said.rules):
        raise SaysTooLittle("what is found in files is accepted for named ones: write in /PATH")
    return said


def apply(
    found: Iterable[Finding], accepting: Iterable[tuple[int, Acceptance]], file: str, today: date
) -> tuple[list[Finding], list[Accepted]]:
    """Take out what is accepted today; what has ended and what accepts nothing become findings."""
    lines = list(accepting)
    kept: list[Finding] = []
    accepted: list[Accepted] = []
    used: set[int] = set()
    for item in found:
        covering = [(number, one) for number, one in lines if _covers(one, item)]
        used |= {number for number, _ in covering}
        valid = next((one for _, one in covering if one.until >= today), None)
        if valid is None:
            kept.append(item)
        else:
            accepted.append(Accepted(item, valid.reason, valid.until))
    return [*kept, *_stale(lines, used, file, today)], accepted


def _covers(one: Acceptance, item: Finding) -> bool:
    return item.rule in one.rules and one.names(item.file, item.path, item.path.partition("@")[0])


def _stale(lines: Iterable[tuple[int, Acceptance]], used: set[int], file: str, today: date) -> Iterator[Finding]:
    for number, one in lines:
        if one.until < today:
            yield _finding("BED-SCN-031", f"what is accepted here ended on {one.until}", file, number)
        elif number not in used:
            yield _finding("BED-SCN-032", f"nothing of {', '.join(one.rules)} was found", file, number)


def _finding(rule: str, message: str, file: str, line: int) -> Finding:
    return rules.finding(rule, message, file=file, line=line)

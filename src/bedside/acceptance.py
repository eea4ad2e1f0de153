"""What somebody accepts for a time, as one line: which finding, where, until when and why. Pure.

    BED-K8S-010 until 2027-03-31: one node in the test ward
    CVE-2026-1234, CVE-2026-1235 in libssl3 until 2027-03-31: no TLS ends in this pod

`bedside check` reads it in comments, `bedside scan` in a file of its own.
"""

import re
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from typing import Final

_FORM: Final = re.compile(
    r"([A-Za-z0-9-]+(?:\s*,\s*[A-Za-z0-9-]+)*)(?:\s+in\s+(\S+))?\s+until\s+(\d{4}-\d{2}-\d{2})\s*:\s*(\S.*)"
)


class SaysTooLittle(ValueError):
    """The line names no finding, no last day or no reason."""


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Findings that are accepted.

    Attributes:
        rules: Their ids.
        until: Last day.
        reason: Why.
        place: A file, a package or a pattern of one (``*`` for anything); ``None`` where none is named.
    """

    rules: tuple[str, ...]
    until: date
    reason: str
    place: str | None = None

    def names(self, *places: str) -> bool:
        """Whether one of ``places`` is what the line names; a line that names none is about every place."""
        return self.place is None or any(fnmatchcase(one, self.place) for one in places if one)


def parse(text: str) -> Acceptance:
    """Read one line.

    Raises:
        SaysTooLittle: See there.
    """
    form = _FORM.fullmatch(text.strip())
    if form is None:
        raise SaysTooLittle("it needs a finding, a last day and a reason")
    try:
        until = date.fromisoformat(form[3])
    except ValueError:
        raise SaysTooLittle("its last day is no date") from None
    rules = tuple(name.strip() for name in form[1].split(","))
    return Acceptance(rules, until, form[4].strip(), form[2])

"""One finding, whatever found it: a check, a lint rule, a scan or the parser of bedside.toml.

Text, JSON and SARIF are renderings of a sequence of these (rooms `reports` and `cli`); nothing here prints.
"""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad, and for whom. Ordered from the worst."""

    PATIENT_SAFETY = "patient-safety"
    SECURITY = "security"
    OPERATIONS = "operations"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        rule: Stable id, ``BED-SPEC-004``; documented in the rules reference.
        severity: Whom it endangers.
        message: What is wrong, one sentence, without a patient's values.
        remedy: What to do, one sentence.
        file: Path as the user named it; empty where no file is to blame.
        line: First line of the place, from 1; 0 where the whole file is meant.
        end: Last line of the place; 0 where it is one line.
        path: Place inside the document, ``inputs[2].valid``; empty where the line says it all.
    """

    rule: str
    severity: Severity
    message: str
    remedy: str = ""
    file: str = ""
    line: int = 0
    end: int = 0
    path: str = ""

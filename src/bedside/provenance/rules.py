"""The findings of this room: every id with its texts, in ``data/rules.toml``. Pure but for reading that file once."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from bedside.findings import Finding, Severity


@dataclass(frozen=True, slots=True)
class Rule:
    """What a finding is called, whom it endangers, why it is there and what to do."""

    title: str
    severity: Severity
    reason: str
    remedy: str


@cache
def rules() -> dict[str, Rule]:
    """Every rule of this room, by id."""
    text = files("bedside.provenance").joinpath("data/rules.toml").read_text(encoding="utf-8")
    return {
        name: Rule(item["title"], Severity(item["severity"]), item["reason"], item["remedy"])
        for name, item in tomllib.loads(text).items()
    }


def is_about_a_file(rule: str) -> bool:
    """Whether what ``rule`` finds is a file of the image."""
    return rule.startswith("BED-SCN-0") and rule < "BED-SCN-020"


def finding(
    rule: str, message: str, *, file: str = "", line: int = 0, path: str = "", severity: Severity | None = None
) -> Finding:
    """Return a finding of ``rule``.

    Args:
        rule: Its id.
        message: What is wrong here, without a patient's values and without a secret.
        file: Path in the image, or of what the user gave.
        line: Line of it.
        path: Where that is: a layer, a package.
        severity: Where this one is less or more than the rule's.
    """
    text = rules()[rule]
    return Finding(
        rule=rule,
        severity=severity or text.severity,
        message=message,
        remedy=text.remedy,
        file=file,
        line=line,
        path=path,
    )

"""What is rendered: findings, what was accepted, and what the rules mean."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from bedside.findings import Finding, Severity


@dataclass(frozen=True, slots=True)
class RuleText:
    """What a rule is called and why it is there."""

    title: str
    severity: Severity
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """A finding that somebody accepted, why, and for how long."""

    finding: Finding
    reason: str
    until: date


@dataclass(frozen=True, slots=True)
class StockTool:
    """A tool of others that was asked.

    Attributes:
        name: What it is called.
        added: Findings that no rule here had.
        seconds: How long it took, beside the rules and the other tools.
    """

    name: str
    added: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that one check found.

    Attributes:
        findings: What stands, by file and line.
        accepted: What a suppression covers.
        files: How many files were read.
        rules: Texts of the rules that were applied, by id.
        tools: Stock tools that were asked and answered.
    """

    findings: tuple[Finding, ...]
    accepted: tuple[Accepted, ...] = ()
    files: int = 0
    rules: Mapping[str, RuleText] = field(default_factory=dict)
    tools: tuple[StockTool, ...] = ()

    def count(self, severity: Severity) -> int:
        """How many findings have this severity."""
        return sum(item.severity is severity for item in self.findings)

    def at_least(self, threshold: Severity) -> int:
        """How many findings are as bad as ``threshold`` or worse."""
        order = list(Severity)
        return sum(order.index(item.severity) <= order.index(threshold) for item in self.findings)

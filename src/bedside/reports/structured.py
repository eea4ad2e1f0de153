"""A report for scripts: one JSON document, stable keys."""

from typing import TypedDict

from bedside.findings import Finding, Severity
from bedside.reports.report import Report


class FindingRow(TypedDict):
    """One finding; ``line`` and ``end`` are 0 where the whole file is meant.

    ``path`` is a place inside the document, or the template that a rendered line comes from; mostly empty.
    """

    rule: str
    severity: str
    message: str
    remedy: str
    file: str
    line: int
    end: int
    path: str


class AcceptedRow(TypedDict):
    """One accepted finding."""

    finding: FindingRow
    reason: str
    until: str


class ToolRow(TypedDict):
    """One stock tool that was asked: findings that no rule here had, and its time in seconds."""

    name: str
    added: int
    seconds: float


class Document(TypedDict):
    """The whole."""

    schema: int
    files: int
    counts: dict[str, int]
    findings: list[FindingRow]
    accepted: list[AcceptedRow]
    tools: list[ToolRow]


def document(report: Report) -> Document:
    """The report as JSON values."""
    return {
        "schema": 1,
        "files": report.files,
        "counts": {severity.value: report.count(severity) for severity in Severity},
        "findings": [_row(item) for item in report.findings],
        "accepted": [
            {"finding": _row(one.finding), "reason": one.reason, "until": one.until.isoformat()}
            for one in report.accepted
        ],
        "tools": [{"name": tool.name, "added": tool.added, "seconds": round(tool.seconds, 1)} for tool in report.tools],
    }


def _row(item: Finding) -> FindingRow:
    return {
        "rule": item.rule,
        "severity": item.severity.value,
        "message": item.message,
        "remedy": item.remedy,
        "file": item.file,
        "line": item.line,
        "end": item.end,
        "path": item.path,
    }

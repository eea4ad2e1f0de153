"""A report in SARIF 2.1.0 (OASIS Standard), as code hosts show it beside the lines."""

from typing import Any
from urllib.parse import quote

from bedside.findings import Finding, Severity
from bedside.reports.report import Accepted, Report

_LEVELS = {
    Severity.PATIENT_SAFETY: ("error", "9.0"),
    Severity.SECURITY: ("error", "7.5"),
    Severity.OPERATIONS: ("warning", "5.0"),
    Severity.NOTE: ("note", "1.0"),
}
"""Level, and the number that GitHub sorts security findings by."""


def document(report: Report, version: str) -> dict[str, Any]:
    """The report as a SARIF log with one run.

    Args:
        report: What to render.
        version: Version of bedside, SemVer.
    """
    everything = [*report.findings, *(one.finding for one in report.accepted)]
    severities = {item.rule: item.severity for item in everything}
    used = sorted(severities)
    index = {rule: position for position, rule in enumerate(used)}
    driver = {
        "name": "bedside",
        "semanticVersion": version,
        "rules": [_rule(report, rule, severities[rule]) for rule in used],
    }
    results = [_result(item, index) for item in report.findings] + [_accepted(one, index) for one in report.accepted]
    return {
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}],
    }


def _rule(report: Report, rule: str, severity: Severity) -> dict[str, Any]:
    level, score = _LEVELS[severity]
    descriptor: dict[str, Any] = {
        "id": rule,
        "defaultConfiguration": {"level": level},
        "properties": {"tags": ["security", severity.value], "security-severity": score},
    }
    text = report.rules.get(rule)
    if text is not None:
        descriptor |= {
            "shortDescription": {"text": text.title},
            "fullDescription": {"text": text.reason},
            "help": {"text": text.remedy},
        }
    return descriptor


def _result(item: Finding, index: dict[str, int]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": item.rule,
        "ruleIndex": index[item.rule],
        "level": _LEVELS[item.severity][0],
        "message": {"text": f"{item.message}. {item.remedy}".strip()},
    }
    if item.file:
        physical: dict[str, Any] = {"artifactLocation": {"uri": quote(item.file)}}
        if item.line:
            physical["region"] = {"startLine": item.line, "endLine": max(item.line, item.end)}
        result["locations"] = [{"physicalLocation": physical}]
    return result


def _accepted(one: Accepted, index: dict[str, int]) -> dict[str, Any]:
    justification = f"{one.reason} (until {one.until.isoformat()})"
    return _result(one.finding, index) | {"suppressions": [{"kind": "inSource", "justification": justification}]}

"""A report for people: worst first, each with what to do."""

from collections.abc import Iterator

from bedside.findings import Finding, Severity
from bedside.reports.report import Report


def render(report: Report) -> str:
    """The report as plain text."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    for severity in Severity:
        found = [item for item in report.findings if item.severity is severity]
        if found:
            yield f"{severity.value} ({len(found)})"
            for item in found:
                yield from _finding(item)
            yield ""
    if report.accepted:
        yield f"accepted ({len(report.accepted)})"
        for one in report.accepted:
            yield f"  {_place(one.finding)}  {one.finding.rule}  until {one.until}: {_clean(one.reason)}"
        yield ""
    counts = ", ".join(f"{report.count(severity)} {severity.value}" for severity in Severity)
    for tool in report.tools:
        yield f"{tool.name}: {tool.added} of these, {tool.seconds:.1f} s"
    yield f"{report.files} files read: {counts}; {len(report.accepted)} accepted"


def _finding(item: Finding) -> Iterator[str]:
    yield f"  {_place(item)}  {item.rule}"
    yield f"      {_clean(item.message)}"
    if item.remedy:
        yield f"      {_clean(item.remedy)}"


def _place(item: Finding) -> str:
    place = f"{item.file}:{item.line}" if item.line else item.file
    return _clean(f"{place} ({item.path})" if item.path else place) or "(everything)"


def _clean(text: str) -> str:
    """Names come from files: a control character in one must not reach a terminal."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "\ufffd" for character in text)

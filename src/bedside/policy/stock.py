"""What hadolint, trivy and zizmor say, as findings of ours; and which of it we say already."""

import bisect
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from bedside.findings import Finding, Severity
from bedside.policy.rulebook import rules

OVERRULED = {
    "DS-0026": "Kubernetes does not read HEALTHCHECK; probes are rules of their own here",
    "KSV-0039": "it says of a right LimitRange, and of every object in its file, that there is none",
    "KSV-0040": "it says of a right ResourceQuota, and of every object in its file, that there is none",
    "KSV-0110": "it does not see the namespace that a kustomization or helm --namespace gives",
    "KSV-0125": "its list of trusted registries knows public ones only, not a hospital's own",
}
"""Ids that are wrong by themselves, or would have the author do what a rule here has them undo, each with why."""


class NotAReport(ValueError):
    """The tool's output is not what it is known to write."""


def hadolint(output: str) -> list[Finding]:
    """Findings of ``hadolint -f json``."""
    return [
        Finding(
            rule=_text(item, "code"),
            severity=Severity.NOTE if item.get("level") in ("info", "style") else Severity.OPERATIONS,
            message=_text(item, "message"),
            file=_text(item, "file"),
            line=_number(item, "line"),
        )
        for item in _rows(output)
    ]


def trivy(output: str, root: str) -> list[Finding]:
    """Findings of ``trivy config --format json``; its paths are relative to ``root``."""
    document = _json(output)
    results = document.get("Results") if isinstance(document, dict) else None
    found: list[Finding] = []
    for result in results if isinstance(results, list) else []:
        for item in result.get("Misconfigurations") or []:
            cause = item.get("CauseMetadata") or {}
            low = item.get("Severity") in ("LOW", "UNKNOWN")
            target = _text(result, "Target")
            found.append(
                Finding(
                    rule=_text(item, "ID"),
                    severity=Severity.NOTE if low else Severity.SECURITY,
                    message=_text(item, "Message") or _text(item, "Title"),
                    remedy=_text(item, "Resolution"),
                    file=f"{root}/{target}" if root else target,
                    line=_number(cause, "StartLine"),
                    end=_number(cause, "EndLine"),
                )
            )
    return found


def zizmor(output: str) -> list[Finding]:
    """Findings of ``zizmor --format json``."""
    found: list[Finding] = []
    for item in _rows(output):
        level = (item.get("determinations") or {}).get("severity")
        places = [place for place in item.get("locations") or [] if place["symbolic"].get("kind") == "Primary"]
        for place in places[:1]:
            point = place["concrete"]["location"]
            found.append(
                Finding(
                    rule=_text(item, "ident"),
                    severity=Severity.SECURITY if level in ("High", "Medium") else Severity.NOTE,
                    message=_text(item, "desc"),
                    remedy=f"See {_text(item, 'url')}",
                    file=place["symbolic"]["key"]["Local"]["verbatim_path"],
                    line=int(point["start_point"]["row"]) + 1,
                    end=int(point["end_point"]["row"]) + 1,
                )
            )
    return found


def added(own: Sequence[Finding], theirs: Iterable[Finding]) -> list[Finding]:
    """What they say, less what is overruled and what a rule of ours says of the same place."""
    said = _said(own)
    return sorted(
        {item for item in theirs if item.rule not in OVERRULED and not _is_said(item, said)},
        key=lambda item: (item.file, item.line, item.rule, item.message),
    )


_Said = dict[tuple[str, str], list[tuple[int, int]]]
"""Spans of lines, by file and stock tool's id: first and last line, sorted, none overlaps the next."""

_WHOLE = (0, sys.maxsize)


def _said(own: Iterable[Finding]) -> _Said:
    spans: _Said = {}
    for one in own:
        span = (one.line, max(one.end, one.line)) if one.line else _WHOLE
        for name in rules()[one.rule].same_as if one.rule in rules() else ():
            spans.setdefault((one.file, name), []).append(span)
    return {key: _merged(found) for key, found in spans.items()}


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def _is_said(item: Finding, said: _Said) -> bool:
    spans = said.get((item.file, item.rule), [])
    if not item.line:
        return bool(spans)
    at = bisect.bisect_right(spans, (max(item.end, item.line), sys.maxsize))
    return at > 0 and spans[at - 1][1] >= item.line


def _json(output: str) -> Any:  # noqa: ANN401 - another tool's document
    try:
        return json.loads(output)
    except ValueError:
        raise NotAReport("its output is not JSON") from None


def _rows(output: str) -> list[dict[str, Any]]:
    rows = _json(output)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise NotAReport("its output is not a list of findings")
    return rows


def _text(item: dict[str, Any], key: str) -> str:
    value = item.get(key)
    return value if isinstance(value, str) else ""


def _number(item: dict[str, Any], key: str) -> int:
    value = item.get(key)
    return value if isinstance(value, int) else 0

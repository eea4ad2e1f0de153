"""One report in its three renderings."""

import json
from datetime import date
from pathlib import Path

import jsonschema_rs

from bedside.findings import Finding, Severity
from bedside.reports import sarif, structured, text
from bedside.reports.report import Accepted, Report, RuleText, StockTool

SCHEMA = json.loads((Path(__file__).parent / "sarif-schema-2.1.0.json").read_text())

REPLICA = Finding(
    rule="BED-K8S-010",
    severity=Severity.PATIENT_SAFETY,
    message="Deployment icu runs as one pod",
    remedy="Run at least two.",
    file="k8s/my deployment.yaml",
    line=7,
    end=9,
)
EMPTY = Finding(rule="BED-INP-002", severity=Severity.OPERATIONS, message="nothing was checked", file="empty")
PLACELESS = Finding(rule="DL3008", severity=Severity.NOTE, message="a tool is missing")
REPORT = Report(
    (EMPTY, REPLICA, PLACELESS),
    (Accepted(REPLICA, "one node in the test ward", date(2027, 3, 31)),),
    3,
    {"BED-K8S-010": RuleText("A single replica", Severity.PATIENT_SAFETY, "One pod is no pod.", "Run at least two.")},
    (StockTool("trivy config", 1, 24.04),),
)


def test_text_shows_the_worst_first_with_its_remedy() -> None:
    shown = text.render(REPORT)
    assert shown.index("patient-safety (1)") < shown.index("operations (1)") < shown.index("note (1)")
    assert (
        "k8s/my deployment.yaml:7  BED-K8S-010\n      Deployment icu runs as one pod\n      Run at least two." in shown
    )


def test_text_lists_what_was_accepted_with_reason_and_end() -> None:
    assert (
        "accepted (1)\n  k8s/my deployment.yaml:7  BED-K8S-010  until 2027-03-31: one node in the test ward"
        in text.render(REPORT)
    )


def test_text_and_json_say_what_each_stock_tool_added_and_how_long_it_took() -> None:
    assert "trivy config: 1 of these, 24.0 s\n" in text.render(REPORT)
    assert structured.document(REPORT)["tools"] == [{"name": "trivy config", "added": 1, "seconds": 24.0}]


def test_text_lets_no_control_character_through() -> None:
    hostile = Finding(rule="BED-REF-001", severity=Severity.NOTE, message="name \x1b[2J", file="a\x07.yaml", line=1)
    assert not any(ord(character) < 32 and character != "\n" for character in text.render(Report((hostile,))))


def test_json_carries_every_field_and_counts() -> None:
    value = structured.document(REPORT)
    assert value["counts"] == {"patient-safety": 1, "security": 0, "operations": 1, "note": 1}
    assert value["findings"][1]["line"] == 7
    assert value["accepted"][0]["until"] == "2027-03-31"
    assert json.loads(json.dumps(value)) == value


def test_sarif_validates_against_the_schema() -> None:
    jsonschema_rs.Draft4Validator(SCHEMA).validate(sarif.document(REPORT, "0.1.0"))


def test_an_empty_sarif_validates_too() -> None:
    jsonschema_rs.Draft4Validator(SCHEMA).validate(sarif.document(Report(()), "0.1.0"))


def test_the_schema_refuses_what_is_no_sarif() -> None:
    broken = sarif.document(REPORT, "0.1.0") | {"version": "2.0.0"}
    assert not jsonschema_rs.Draft4Validator(SCHEMA).is_valid(broken)


def test_sarif_gives_place_level_and_rule() -> None:
    run = sarif.document(REPORT, "0.1.0")["runs"][0]
    result = run["results"][1]
    physical = result["locations"][0]["physicalLocation"]
    assert physical == {
        "artifactLocation": {"uri": "k8s/my%20deployment.yaml"},
        "region": {"startLine": 7, "endLine": 9},
    }
    assert result["level"] == "error"
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == "BED-K8S-010"


def test_sarif_marks_what_was_accepted() -> None:
    accepted = sarif.document(REPORT, "0.1.0")["runs"][0]["results"][-1]
    assert accepted["suppressions"] == [
        {"kind": "inSource", "justification": "one node in the test ward (until 2027-03-31)"}
    ]


def test_a_threshold_counts_what_is_as_bad_or_worse() -> None:
    assert [REPORT.at_least(severity) for severity in Severity] == [1, 1, 2, 3]

"""Accepting a finding takes a rule, a reason and an end."""

from datetime import date

import pytest

from bedside.findings import Finding, Severity
from bedside.policy import suppressions
from bedside.policy.place import SourceFile

TODAY = date(2026, 12, 1)
FOUND = Finding(rule="BED-K8S-010", severity=Severity.PATIENT_SAFETY, message="one pod", file="a.yaml", line=2)


def _apply(text: str, found: list[Finding] | None = None) -> tuple[list[str], int]:
    marks, problems = suppressions.read([SourceFile("a.yaml", text.encode())])
    kept, accepted = suppressions.apply([*(found if found is not None else [FOUND]), *problems], marks, TODAY)
    return [item.rule for item in kept], len(accepted)


def test_a_comment_on_the_line_accepts_the_finding() -> None:
    assert _apply("a: 1\nreplicas: 1 # bedside: ignore BED-K8S-010 until 2027-03-31: test ward\n") == ([], 1)


def test_a_comment_alone_covers_the_next_line_that_is_none() -> None:
    assert _apply("# bedside: ignore BED-K8S-010 until 2027-03-31: test ward\nreplicas: 1\n") == ([], 1)


def test_a_comment_elsewhere_covers_nothing_and_is_said_to() -> None:
    text = "a: 1\nb: 2\nc: 3 # bedside: ignore BED-K8S-010 until 2027-03-31: test ward\n"
    assert _apply(text) == (["BED-K8S-010", "BED-INP-009"], 0)


def test_a_comment_for_the_file_covers_every_line() -> None:
    assert _apply("a: 1\nb: 2\n# bedside: ignore-file BED-K8S-010 until 2027-03-31: test ward\n") == ([], 1)


def test_several_rules_may_share_a_comment() -> None:
    other = Finding(rule="BED-K8S-012", severity=Severity.OPERATIONS, message="no budget", file="a.yaml", line=2)
    text = "a: 1\nb: 2 # bedside: ignore BED-K8S-010, BED-K8S-012 until 2027-03-31: test ward\n"
    assert _apply(text, [FOUND, other]) == ([], 2)


def test_the_last_day_counts_and_the_day_after_does_not() -> None:
    assert _apply("a: 1\nb: 1 # bedside: ignore BED-K8S-010 until 2026-12-01: test ward\n") == ([], 1)
    assert _apply("a: 1\nb: 1 # bedside: ignore BED-K8S-010 until 2026-11-30: test ward\n") == (
        ["BED-K8S-010", "BED-INP-006"],
        0,
    )


@pytest.mark.parametrize(
    "comment",
    [
        "ignore BED-K8S-010",
        "ignore BED-K8S-010 until 2027-03-31",
        "ignore BED-K8S-010 until 2027-03-31:  ",
        "ignore BED-K8S-010: because",
        "ignore BED-K8S-010 until 2027-02-30: no such day",
        "ignore BED-K8S-999 until 2027-03-31: no such rule",
        "ignore-all BED-K8S-010 until 2027-03-31: no such verb",
        "ignore until 2027-03-31: everything",
    ],
)
def test_a_suppression_that_says_too_little_covers_nothing(comment: str) -> None:
    assert _apply(f"a: 1\nb: 1 # bedside: {comment}\n") == (["BED-K8S-010", "BED-INP-005"], 0)


def test_a_stock_tools_rule_can_be_accepted_too() -> None:
    theirs = Finding(rule="DL3008", severity=Severity.OPERATIONS, message="pin", file="a.yaml", line=2)
    assert _apply("a: 1\nb: 1 # bedside: ignore DL3008 until 2027-03-31: the base is pinned\n", [theirs]) == ([], 1)

"""The list of rules as a whole: every rule is tried, said in full, and told apart."""

import re
import tomllib
from pathlib import Path

import pytest
from tests.policy.deployments_of_cases import cases

from bedside.policy import rulebook

CASES = cases()
RAISED_ELSEWHERE = {f"BED-INP-{number:03}" for number in (2, 3, 5, 6, 7, 9, 14)}
"""Reading, suppressing and stock tools raise these: see test_suppressions.py and tests/stages/test_check.py."""

RULES = sorted(set(rulebook.rules()) - RAISED_ELSEWHERE)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_fires_on_a_case_made_for_it(rule: str) -> None:
    assert any(case.about == rule and rule in case.finds for case in CASES)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_silent_on_a_case_that_looks_like_its_mistake(rule: str) -> None:
    assert any(case.about == rule and rule not in case.finds for case in CASES)


def test_at_least_a_hundred_patches_take_away_exactly_one_safeguard() -> None:
    assert sum(case.finds == (case.about,) for case in CASES) >= 100


def test_every_text_belongs_to_a_rule_and_every_rule_has_its_texts() -> None:
    for name, rule in rulebook.rules().items():
        assert re.fullmatch(r"BED-[A-Z0-9]{2,3}-\d{3}", name)
        assert rule.title
        assert rule.remedy.endswith((".", "-"))
        assert rule.reason.endswith(".")


def test_no_two_rules_have_one_title() -> None:
    titles = [rule.title for rule in rulebook.rules().values()]
    assert len(titles) == len(set(titles))


def test_no_two_rules_share_one_function() -> None:
    assert len(set(rulebook.CHECKS.values())) == len(rulebook.CHECKS)


ITEMS = [
    item
    for family in tomllib.loads((Path(__file__).parent / "items.toml").read_text())["family"]
    for item in family["items"]
]


def test_every_item_that_is_looked_for_has_a_rule_that_is_there() -> None:
    known = set(rulebook.rules())
    assert [what for what, found_by in ITEMS if not found_by or set(found_by) - known] == []


def test_every_rule_is_there_for_an_item() -> None:
    assert set(rulebook.rules()) == {rule for _, found_by in ITEMS for rule in found_by}

"""The documentation of the rules is made from the rules and their cases, and is never older than they are."""

from pathlib import Path

import pytest
from scripts import rules_reference


def test_the_pages_are_those_that_the_rules_and_cases_make() -> None:
    for name, text in rules_reference.pages().items():
        assert (rules_reference.DIRECTORY / name).read_text() == text, f"docs/rules/{name} is stale: run `make docs`"


def test_a_page_that_was_changed_by_hand_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in rules_reference.pages().items():
        (tmp_path / name).write_text(text)
    (tmp_path / "ref.md").write_text("changed by hand")
    monkeypatch.setattr(rules_reference, "DIRECTORY", tmp_path)
    monkeypatch.setattr("sys.argv", ["rules_reference", "--check"])
    assert rules_reference.main() == 1
    assert "ref.md is stale" in capsys.readouterr().out

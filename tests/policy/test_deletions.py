"""A sweep: each thing that the good deployment says is taken out in turn, and a rule misses it."""

import tomllib
from collections import Counter
from pathlib import Path

import pytest
from tests.policy.deletions import deletions
from tests.policy.deployments_of_cases import fired, good

BASE = good()
GITLAB = good("gitlab")
SWEEPS = ((BASE, tuple(BASE)), (GITLAB, tuple(path for path in GITLAB if path not in BASE)))
FILES = [file for _, among in SWEEPS for file in among]
UNSEEN = [
    entry
    for row in tomllib.loads((Path(__file__).parent / "deletions.toml").read_text())["unseen"]
    for entry in row["what"]
]


@pytest.fixture(scope="module")
def silent() -> dict[str, list[str]]:
    """What no rule misses, by file."""
    found: dict[str, list[str]] = {file: [] for file in FILES}
    for files, among in SWEEPS:
        for one in deletions(files, among):
            if not fired(one.files):
                found[one.file].append(one.what)
    return found


def _stands_for(entry: str, what: str) -> bool:
    return what.startswith(entry[:-1]) if entry.endswith("*") and entry != ".dockerignore: *" else what == entry


@pytest.mark.parametrize("file", FILES)
def test_whatever_is_taken_out_is_missed_or_listed_with_the_reason_why_not(
    file: str, silent: dict[str, list[str]]
) -> None:
    unexplained = [what for what in silent[file] if not any(_stands_for(entry, what) for entry in UNSEEN)]
    assert unexplained == []


def test_the_list_of_reasons_holds_nothing_that_a_rule_does_miss(silent: dict[str, list[str]]) -> None:
    found = [what for each in silent.values() for what in each]
    assert [entry for entry in UNSEEN if not any(_stands_for(entry, what) for what in found)] == []


def test_the_sweep_takes_out_every_key_line_and_statement_and_most_are_missed(silent: dict[str, list[str]]) -> None:
    tried = Counter(one.file for files, among in SWEEPS for one in deletions(files, among))
    assert set(tried) == set(FILES)
    assert tried.total() >= 500
    assert sum(len(each) for each in silent.values()) < tried.total() * 0.3

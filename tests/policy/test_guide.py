"""A whole deployment as a guide would call it ready for production: all that it is known to get wrong, at once."""

import os
import shutil
import sys
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from bedside.findings import Finding
from bedside.process import Subprocess
from bedside.stages import check as stage

HERE = Path(__file__).parent
GUIDE = HERE / "deployments" / "guide"
FACTS = tomllib.loads((HERE / "guide.toml").read_text())["fact"]
TODAY = date(2026, 12, 1)


@pytest.fixture(scope="module")
def found() -> tuple[Finding, ...]:
    here = Path.cwd()
    os.chdir(GUIDE)
    try:
        return stage.check(["."], runner=None, today=TODAY).findings
    finally:
        os.chdir(here)


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact["says"])
def test_each_fact_is_found_in_its_place(fact: dict[str, Any], found: tuple[Finding, ...]) -> None:
    said = {(item.rule, item.file, item.line) for item in found}
    for one in fact["finds"]:
        assert (one["rule"], one["file"], one["line"]) in said


def test_the_number_of_packages_that_float_is_said(found: tuple[Finding, ...]) -> None:
    (message,) = (item.message for item in found if item.rule == "BED-DEP-003")
    assert message.startswith("requirements.txt pins 9 of at least 28 packages; ")


def test_nothing_is_found_twice_and_nothing_where_the_guide_is_right(found: tuple[Finding, ...]) -> None:
    assert len({(item.rule, item.file, item.line, item.message) for item in found}) == len(found)
    assert [
        item for item in found if item.file in ("k8s/service.yaml", "k8s/hpa.yaml", "README.md", "app/__init__.py")
    ] == []


def test_the_stock_tools_pass_every_fact(
    found: tuple[Finding, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    missing = [tool for tool in ("hadolint", "trivy", "zizmor") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{missing[0]} is not installed")
    shutil.copytree(GUIDE, tmp_path / "guide")
    monkeypatch.chdir(tmp_path / "guide")
    joined = stage.check(["."], runner=Subprocess(), today=TODAY).findings
    theirs = [item for item in joined if not item.rule.startswith("BED-")]
    assert theirs
    facts = [one for fact in FACTS for one in fact["finds"]]
    assert [item for item in theirs if any((item.file, item.line) == (one["file"], one["line"]) for one in facts)] == []

"""Every check of trivy for Kubernetes objects is a rule's here, overruled, or left to trivy with the reason."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from bedside.policy import rulebook, stock

HERE = Path(__file__).parent
LEFT = {name for row in tomllib.loads((HERE / "left_to_trivy.toml").read_text())["left"] for name in row["ids"]}
SAME = {name for rule in rulebook.rules().values() for name in rule.same_as}
CONTROL_PLANE = re.compile(r"KCV-00[0-8]\d|KCV-009[0-2]")
"""How the cluster's own API server, etcd and kubelets are started."""


@pytest.fixture(scope="module")
def checks() -> set[str]:
    """Ids that trivy tried on objects of every kind that it has checks for, passed or failed."""
    trivy = shutil.which("trivy", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if trivy is None:
        pytest.skip("trivy is not installed")
    options = [
        "--skip-check-update",
        "--misconfig-scanners",
        "kubernetes",
        "--include-non-failures",
        "--format",
        "json",
    ]
    shown = subprocess.run(
        [trivy, "config", *options, str(HERE / "survey")], check=True, capture_output=True, text=True
    )
    results = json.loads(shown.stdout)["Results"]
    return {item["ID"] for result in results for item in result.get("Misconfigurations", ())}


def test_every_check_is_judged(checks: set[str]) -> None:
    assert len(checks) > 100
    judged = SAME | LEFT | set(stock.OVERRULED)
    assert {name for name in checks if name not in judged and not CONTROL_PLANE.fullmatch(name)} == set()


def test_nothing_is_left_to_trivy_that_it_does_not_look_for(checks: set[str]) -> None:
    assert checks >= LEFT


def test_what_is_left_to_trivy_is_no_rule_and_not_overruled() -> None:
    assert not LEFT & (SAME | set(stock.OVERRULED))

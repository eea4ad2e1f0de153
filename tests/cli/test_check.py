"""`bedside check` as it is typed: exit codes and what goes to stdout."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from bedside.cli.main import run
from bedside.stages.check_stock import FEW_OBJECTS

GOOD = Path(__file__).parent.parent / "policy" / "deployments" / "icu"


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(GOOD, tmp_path / "icu")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "icu"


def _break(deployment: Path) -> None:
    service = deployment / "k8s/service.yaml"
    service.write_text(service.read_text().replace("targetPort: http", "targetPort: 8000"))


def test_a_good_deployment_exits_0(deployment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "--no-stock", "icu"]) == 0
    assert "19 files read: 0 patient-safety" in capsys.readouterr().out


def test_a_finding_exits_1_with_its_remedy(deployment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _break(deployment)
    assert run(["check", "--no-stock", "icu"]) == 1
    shown = capsys.readouterr().out
    assert "icu/k8s/service.yaml:14  BED-REF-018" in shown
    assert "Send to the container's port" in shown


def test_the_threshold_decides_the_exit_code(deployment: Path) -> None:
    _break(deployment)
    assert run(["check", "--no-stock", "--fail-on", "security", "icu"]) == 0
    assert run(["check", "--no-stock", "--fail-on", "operations", "icu"]) == 1
    assert run(["check", "--no-stock", "--fail-on", "never", "icu"]) == 0


def test_json_goes_to_stdout_whole(deployment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _break(deployment)
    assert run(["check", "--no-stock", "--json", "icu"]) == 1
    assert [item["rule"] for item in json.loads(capsys.readouterr().out)["findings"]] == ["BED-REF-018"]


def test_sarif_goes_to_stdout_whole(deployment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "--no-stock", "--sarif", "icu"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == "2.1.0"


def test_explain_says_why_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "--explain", "bed-app-001"]) == 0
    shown = capsys.readouterr().out
    assert "and answer 200" in shown
    assert "What to do: Return JSONResponse" in shown


@pytest.mark.parametrize("arguments", [[], ["--explain", "BED-XXX-001"], ["--json", "--sarif", "."], ["nowhere"]])
def test_a_wrong_call_exits_2(arguments: list[str]) -> None:
    assert run(["check", *arguments]) == 2


def test_strict_without_the_tools_exits_4(deployment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(deployment))
    monkeypatch.setattr(sys, "executable", str(deployment / "python"))  # tools that are wheels lie beside it
    assert run(["check", "--strict", "icu"]) == 4


def test_fix_shows_the_diff_and_writes_when_told(deployment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dockerfile = deployment / "Dockerfile"
    whole = dockerfile.read_text()
    dockerfile.write_text(whole.replace("EXPOSE 8080", "EXPOSE 8080\nHEALTHCHECK CMD true"))
    assert run(["check", "--fix", "--yes", "icu"]) == 0
    assert "-HEALTHCHECK CMD true" in capsys.readouterr().out
    assert dockerfile.read_text() == whole


def test_strict_and_without_the_stock_tools_exclude_each_other(
    deployment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", "--strict", "--no-stock", "icu"]) == 2
    assert "--strict and --no-stock exclude each other" in capsys.readouterr().err


def test_stock_asks_trivy_about_many_objects_too(deployment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(FEW_OBJECTS):
        (deployment / f"k8s/c{number}.yaml").write_text(
            f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{number}}}\n"
        )
    run(["check", "--json", "icu"])
    assert "BED-INP-014" in capsys.readouterr().out
    run(["check", "--json", "--stock", "icu"])
    assert "BED-INP-014" not in capsys.readouterr().out

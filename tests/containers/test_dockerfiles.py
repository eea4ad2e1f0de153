"""The Dockerfile of every example: nothing in hadolint, in trivy and in `bedside check`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests import built
from tests.built import ROOT, Registry

from bedside.cli.main import run

EXAMPLES = sorted(path.parent.name for path in (ROOT / "examples").glob("*/bedside.toml"))


@pytest.fixture(scope="module", params=EXAMPLES)
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "icu-mortality":
        found: Path = request.getfixturevalue("icu_release")
        return found
    return built.packaged(request.param, tmp_path_factory.mktemp("release"))


def tool(name: str) -> str:
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.mark.parametrize("kind", ["slim", "distroless"])
def test_nobody_has_anything_to_say_about_it(
    release: Path, kind: str, bases_registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = {"slim": bases_registry.slim, "distroless": bases_registry.distroless}[kind]
    installer = ["--installer", bases_registry.slim] if kind == "distroless" else []
    path = tmp_path / "Dockerfile"
    assert run(["dockerfile", str(release), "--base", base, *installer, "--plain-http", "-o", str(path)]) == 0
    by_hand = capsys.readouterr().out.splitlines()
    assert [line.partition(" build ")[0] for line in by_hand] == ["podman", "DOCKER_BUILDKIT=1 docker"]

    done = subprocess.run([tool("hadolint"), str(path)], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    words = [tool("trivy"), "config", "--quiet", "--skip-check-update", "--format=json", str(tmp_path)]
    report = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    assert [item for result in report["Results"] for item in result.get("Misconfigurations", [])] == []
    assert run(["check", str(path), "--strict"]) == 0
    assert "0 patient-safety, 0 security, 0 operations, 0 note" in capsys.readouterr().out


def test_it_can_be_printed_and_read(
    release: Path, bases_registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["dockerfile", str(release), "--base", bases_registry.slim, "--plain-http"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"# {release.name.rpartition('-')[0]} ")
    assert f"FROM {bases_registry.slim}" in text

"""A release with what a ward asks for, several workers, authentication and an audit log, is proven all the same."""

import shutil
from pathlib import Path

import pytest
from tests.built import ROOT, image

from bedside.cli.main import run
from bedside.image.attached import InLayout
from bedside.image.layout import open_layout
from bedside.stages import record

AUDIT = """
[audit]
payload = "hmac"
low_water_bytes = 1048576
segment_bytes = 1048576
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("guarded") / "icu"
    shutil.copytree(ROOT / "examples" / "icu-mortality", project, ignore=shutil.ignore_patterns("dist", "__pycache__"))
    path = project / "bedside.toml"
    text = path.read_text()
    assert "[serve.auth]" in text
    path.write_text(text.replace("[serve]\n", "[serve]\nworkers = 2\n") + AUDIT)
    assert run(["package", str(project)]) == 0
    return project / "dist" / "icu-mortality-1.0.0"


@pytest.mark.parametrize("host", ["podman", "runc"])
def test_it_is_proven_with_throw_away_keys_and_nobody_authenticated_on_loopback(
    guarded: Path, distroless: Path, podman: str, host: str
) -> None:
    made = image(guarded, "--base", str(distroless), "--engine", "assembled", "--prove-with", host)
    layout = open_layout(made.layout)
    measured = record.read(InLayout(layout, layout.find(made.name)))
    assert measured is not None
    assert measured["golden"]["cases"] == 65
    assert measured["host"].startswith(host)

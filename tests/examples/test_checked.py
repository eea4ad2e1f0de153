"""What bedside renders for its own examples, checked as anybody's deployment is: whole, and with every stock tool."""

import shutil
from datetime import date
from pathlib import Path

import pytest
from tests import built

from bedside.process import Subprocess
from bedside.release.reading import open_release
from bedside.stages.check import check
from bedside.stages.dockerfile import drafted
from bedside.stages.manifests import manifests

pytestmark = pytest.mark.package
EXAMPLES = sorted(path.parent.name for path in (built.ROOT / "examples").glob("*/bedside.toml"))
IMAGE = f"registry.example.org/icu/model@sha256:{'1' * 64}"
DEPLOY = """
[deploy]
namespace = "icu"
host      = "model.example.org"

[deploy.gateway]
name      = "public"
namespace = "gateway"
"""


@pytest.fixture(params=EXAMPLES)
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The project of an example, packaged."""
    if request.param == "icu-mortality":  # packaged once for all tests
        shared: Path = request.getfixturevalue("icu_release")
        return Path(shutil.copytree(shared.parents[1], tmp_path / request.param))
    return built.packaged(request.param, tmp_path).parents[1]


@pytest.mark.timeout(1200)
def test_nothing_is_found_in_what_is_rendered_for_an_example_beside_its_project(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (release,) = (path.parent for path in (project / "dist").glob("*/contract.json"))
    with (project / "bedside.toml").open("a") as spec:
        spec.write(DEPLOY)
    (project / "Dockerfile").write_text(drafted(open_release(release)))
    manifests(release, IMAGE, project / "k8s")
    monkeypatch.chdir(project)
    report = check(["."], runner=Subprocess(), today=date(2026, 12, 1), strict=True)
    callers = f"Deployment {project.name} reads the Secret {project.name}-auth-keys, which no file here defines"
    assert [(item.rule, item.message) for item in report.findings] == [("BED-REF-004", callers)]
    assert report.files > 15

"""The stage: what is refused, with the remedy and before anything is written; what is replaced."""

import hashlib
import json
from pathlib import Path

import pytest
from tests.kube import projects

from bedside.cli.main import run
from bedside.errors import BedsideError, GateRefused, SpecInvalid, UsageError, VerificationFailed
from bedside.stages.manifests import manifests

ONE = '[deploy]\nexposure = "none"\n'


def _refusal(tmp_path: Path, deploy: str = ONE, image: str = projects.IMAGE) -> BedsideError:
    release = projects.make(tmp_path / "project", deploy)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(BedsideError) as refused:
        manifests(release, image, tmp_path / "k8s")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "k8s").exists()
    assert refused.value.remedy
    return refused.value


@pytest.mark.parametrize(
    "image", ["registry.example.org/icu", "registry.example.org/icu:1.0.0", "icu", "ICU@sha256:12", "icu@sha256:12", ""]
)
def test_an_image_that_is_not_named_by_digest_is_refused(tmp_path: Path, image: str) -> None:
    assert _refusal(tmp_path, image=image).exit_code == 2


def test_the_tag_beside_a_digest_is_left_out(tmp_path: Path) -> None:
    release = projects.make(tmp_path / "project", ONE)
    image = projects.IMAGE.replace("@", ":1.0.0@")
    written = manifests(release, image, tmp_path / "k8s")
    assert f"image: {projects.IMAGE}\n" in (written.directory / "base/deployment.yaml").read_text()


@pytest.mark.parametrize(
    ("deploy", "rule"),
    [
        ("[deploy]\n", "BED-SPEC-060"),
        ('[deploy]\nhost = "icu.example.org"\n', "BED-SPEC-061"),
        *(
            (f'[deploy]\nhost = "{host}"\n[deploy.gateway]\nname = "a"\nnamespace = "b"\n', "BED-SPEC-062")
            for host in (
                *("icu", "https://icu.example.org", "icu.example.org:443", "icu.example.org/predict", "*.example.org"),
                *("10.0.0.1", "ICU.example.org", "icu_.example.org", "-icu.example.org", "a" * 64 + ".org", ""),
            )
        ),
        (ONE + "[deploy.replicas]\nmin = 1\n", "BED-SPEC-063"),
        (ONE + '[deploy.replicas]\nmin = 1\nbelow_two_because = " "\n', "BED-SPEC-063"),
        (ONE + "[deploy.replicas]\nmin = 0\n", "BED-SPEC-005"),
        (ONE + "[deploy.replicas]\nmin = 5\nmax = 4\n", "BED-SPEC-063"),
        (ONE + '[deploy.resources]\ncpu = "two"\n', "BED-SPEC-064"),
        (ONE + '[deploy.resources]\ncpu = "0.0"\n', "BED-SPEC-064"),
        (ONE + '[deploy.resources]\ncpu = "2Gi"\n', "BED-SPEC-064"),
        (ONE + '[deploy.resources]\nmemory = "500m"\n', "BED-SPEC-064"),
        ('[deploy]\nexposure = "none"\nnamespace = "ICU"\n', "BED-SPEC-065"),
        (f'[deploy]\nexposure = "none"\nnamespace = "{"n" * 64}"\n', "BED-SPEC-065"),
        (ONE + '[deploy.audit_volume]\naccess = "ReadWriteOnce"\n', "BED-SPEC-066"),
        (ONE + '[deploy.staging]\nnamespace = "icu-test"\n', "BED-SPEC-067"),
        (ONE + "[deploy.issuer]\n", "BED-SPEC-068"),
        (ONE + '[deploy.tracing]\nendpoint = "http://collector:4318"\n', "BED-SPEC-068"),
        (ONE + '[deploy.tracing]\nendpoint = "collector:4318"\nnamespace = "o"\n', "BED-SPEC-005"),
        (ONE + '[deploy.tracing]\nendpoint = "http://c:4318"\nnamespace = "o"\nratio = 2.0\n', "BED-SPEC-005"),
        (ONE + '[deploy.issuer]\ncidrs = ["0.0.0.0/0"]\n', "BED-SPEC-068"),
        (ONE + '[deploy.issuer]\ncidrs = ["login.example.org"]\n', "BED-SPEC-068"),
        (ONE + '[deploy.issuer]\nnamespace = "Keycloak"\n', "BED-SPEC-065"),
        (ONE + '[deploy.issuer]\nnamespace = "keycloak"\nport = 0\n', "BED-SPEC-005"),
        (ONE + '[deploy.staging]\nhosts = "a.b"\n', "BED-SPEC-003"),
        (ONE + "replica = 3\n", "BED-SPEC-003"),
        ("", "BED-SPEC-002"),
    ],
)
def test_what_no_cluster_could_take_is_refused_before_anything_is_written(
    tmp_path: Path, deploy: str, rule: str
) -> None:
    error = _refusal(tmp_path, deploy)
    assert isinstance(error, SpecInvalid)
    assert rule in [finding.rule for finding in error.findings]
    assert all(finding.remedy for finding in error.findings)


def test_one_pod_needs_a_reason_and_the_reason_stands_in_the_manifest(tmp_path: Path) -> None:
    deploy = ONE + '[deploy.replicas]\nmin = 1\nbelow_two_because = "a trial on the ward,\\nnobody decides by it"\n'
    tree = manifests(projects.make(tmp_path / "project", deploy), projects.IMAGE, tmp_path / "k8s").directory
    text = (tree / "overlays/production/horizontalpodautoscaler.yaml").read_text()
    assert "  # a trial on the ward, nobody decides by it\n  minReplicas: 1\n" in text


def test_a_release_that_was_altered_gets_no_manifests(tmp_path: Path) -> None:
    release = projects.make(tmp_path / "project")
    (release / "model/m.joblib").write_bytes(b"other")
    with pytest.raises(VerificationFailed):
        manifests(release, projects.IMAGE, tmp_path / "k8s")
    assert not (tmp_path / "k8s").exists()


def test_measurements_of_another_release_are_not_believed(tmp_path: Path) -> None:
    release = projects.make(tmp_path / "project")
    said = json.loads((release / "measurements.json").read_text())
    (release / "measurements.json").write_text(json.dumps({**said, "digest": hashlib.sha256().hexdigest()}))
    with pytest.raises(VerificationFailed, match="another release"):
        manifests(release, projects.IMAGE, tmp_path / "k8s")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"digest": 1}', "3"])
def test_measurements_that_packaging_did_not_write_are_refused(tmp_path: Path, text: str) -> None:
    release = projects.make(tmp_path / "project")
    (release / "measurements.json").write_text(text)
    with pytest.raises(BedsideError) as refused:
        manifests(release, projects.IMAGE, tmp_path / "k8s")
    assert "Package the release again" in refused.value.remedy


def test_settings_of_another_model_are_refused(tmp_path: Path) -> None:
    release = projects.make(tmp_path / "one")
    projects.make(tmp_path / "other", name="sepsis")
    with pytest.raises(UsageError, match="sepsis"):
        manifests(release, projects.IMAGE, tmp_path / "k8s", settings=tmp_path / "other" / "bedside.toml")


def test_a_release_outside_of_a_project_needs_its_settings_named(tmp_path: Path) -> None:
    release = projects.make(tmp_path / "project").rename(tmp_path / "release")
    with pytest.raises(UsageError) as refused:
        manifests(release, projects.IMAGE, tmp_path / "k8s")
    assert "--settings" in refused.value.remedy
    manifests(release, projects.IMAGE, tmp_path / "k8s", settings=tmp_path / "project" / "bedside.toml")


def test_a_tree_is_replaced_whole(tmp_path: Path) -> None:
    release = projects.make(tmp_path / "project")
    tree = manifests(release, projects.IMAGE, tmp_path / "k8s").directory
    assert (tree / "overlays/staging/namespace.yaml").is_file()
    (tmp_path / "project" / "bedside.toml").write_text('schema = 1\n[model]\nname = "icu-test"\n' + ONE)
    manifests(release, projects.IMAGE, tmp_path / "k8s")
    assert not (tree / "overlays/staging").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["k8s", "project"]


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_somebody_else_wrote_is_never_replaced(tmp_path: Path, kind: str) -> None:
    release = projects.make(tmp_path / "project")
    tree = manifests(release, projects.IMAGE, tmp_path / "k8s").directory
    own = tree / "overlays" / "own.yaml"
    if kind == "file":
        own.write_text("# mine\nkind: ConfigMap\n")
    else:
        own.symlink_to(tree / "base/service.yaml")
    before = sorted(tree.rglob("*"))
    with pytest.raises(GateRefused, match=r"own\.yaml"):
        manifests(release, projects.IMAGE, tmp_path / "k8s")
    assert sorted(tree.rglob("*")) == before


def test_the_verb_prints_where_the_tree_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    release = projects.make(tmp_path / "project")
    arguments = ["manifests", str(release), "--image", projects.IMAGE, "-o", str(tmp_path / "k8s")]
    assert run(arguments) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'k8s'}\n"
    assert run([*arguments, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["image"] == projects.IMAGE
    assert "base/deployment.yaml" in said["files"]
    (release / "golden.jsonl").unlink()
    assert run(arguments) == 3

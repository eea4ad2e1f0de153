"""One plan, two ways: what an engine builds from the Dockerfile behaves as what was assembled without one."""

import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import built
from tests.built import Image, Registry

from bedside import wiring
from bedside.cli.main import run
from bedside.image import contents, layers
from bedside.image.attached import InLayout
from bedside.image.contents import Entry
from bedside.image.layout import open_layout
from bedside.image.listings import ListingCache
from bedside.image.oci import ImageConfig
from bedside.provenance import sbom, statements
from bedside.stages import record
from bedside.stages.sbom import sbom_of


@pytest.fixture(scope="session")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A word in the certificates that a build is given, and the certificates of this machine for the rest."""
    word = f"canary-{uuid.uuid4().hex}"
    path = tmp_path_factory.mktemp("secret") / "certificates.pem"
    path.write_text(f"# {word}\n{Path('/etc/ssl/certs/ca-certificates.crt').read_text()}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(path))
        yield word


@pytest.fixture(scope="session")
def from_dockerfile(icu_release: Path, bases_registry: Registry, podman: str, canary: str) -> Image:
    """The ICU example's image on the distroless base, built by podman from the Dockerfile, proven and named."""
    bases = ("--base", bases_registry.distroless, "--installer", bases_registry.slim, "--plain-http")
    return built.image(icu_release, *bases, "--engine", podman, "--prove-with", podman)


def read(image: Image) -> tuple[ImageConfig, dict[str, Entry]]:
    layout = open_layout(image.layout)
    manifest = layout.manifest(layout.find(image.name))
    there = contents.read(layout, manifest, hashed=lambda path: path.startswith("opt/"))
    return layout.config(manifest), dict(there.below("opt/bedside"))


def plain(entries: dict[str, Entry]) -> dict[str, tuple[object, ...]]:
    return {
        path: (entry.kind, entry.mode, entry.user, entry.group, entry.size, entry.target, entry.sha256)
        for path, entry in entries.items()
    }


def test_both_ways_give_the_same_files_to_the_last_bit(icu_image: Image, from_dockerfile: Image) -> None:
    assembled, engine = (plain(read(image)[1]) for image in (icu_image, from_dockerfile))
    assert {path: (assembled.get(path), engine.get(path)) for path in assembled.keys() ^ engine.keys()} == {}
    assert {path for path in assembled if assembled[path] != engine[path]} == set()
    assert len(assembled) > 1000


def test_both_ways_start_in_the_same_way(icu_image: Image, from_dockerfile: Image) -> None:
    mine, theirs = (read(image)[0].config for image in (icu_image, from_dockerfile))
    for name in ("user", "entrypoint", "cmd", "working_dir", "stop_signal", "exposed_ports", "volumes"):
        assert getattr(mine, name) == getattr(theirs, name), name
    assert set(mine.env) == set(theirs.env)
    base_name = {"org.opencontainers.image.base.name"}
    assert mine.labels.items() <= theirs.labels.items()
    assert theirs.labels.keys() - mine.labels.keys() - base_name <= {"io.buildah.version"}


def test_both_ways_answer_the_same(icu_image: Image, from_dockerfile: Image) -> None:
    said = []
    for image in (icu_image, from_dockerfile):
        layout = open_layout(image.layout)
        measured = record.read(InLayout(layout, layout.find(image.name)))
        assert measured is not None
        said.append((measured["golden"], measured["environment"]))
    assert said[0] == said[1]


def test_both_ways_leave_proof_provenance_and_sbom_beside_the_image_and_say_which_way_it_was(
    icu_image: Image, from_dockerfile: Image
) -> None:
    for image, way in ((icu_image, "assembled"), (from_dockerfile, "dockerfile")):
        layout = open_layout(image.layout)
        place = InLayout(layout, layout.find(image.name))
        beside = tuple(place.beside())
        assert sorted(item.manifest.artifact_type or "" for item in beside) == sorted(
            [sbom.MEDIA_TYPE, *[statements.MEDIA_TYPE] * 2]
        )
        said = [
            statements.decode(place.read(item.manifest.layers[0]))
            for item in beside
            if item.manifest.artifact_type == statements.MEDIA_TYPE
        ]
        assert {item.predicate_type for item in said} == {statements.PROOF, statements.PROVENANCE}
        (provenance,) = (item.predicate for item in said if item.predicate_type == statements.PROVENANCE)
        assert provenance["buildDefinition"]["buildType"].endswith(f"/{way}/v1")


def test_what_was_described_while_it_was_built_is_what_its_layers_say_later(icu_image: Image) -> None:
    layout = open_layout(icu_image.layout)
    place = InLayout(layout, layout.find(icu_image.name))
    (beside,) = (item.manifest for item in place.beside() if item.manifest.artifact_type == sbom.MEDIA_TYPE)
    assert place.read(beside.layers[0]) == sbom_of(layout, place.descriptor)


def test_who_doubts_an_image_takes_nothing_that_was_kept_of_its_layers(
    icu_image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise AssertionError("a listing that was kept was asked for")

    monkeypatch.setattr(ListingCache, "__call__", fails)
    assert run(["verify", str(icu_image.layout), "--digests-only"]) == 0


def test_no_secret_of_the_build_is_in_the_image_or_in_what_the_engine_kept(
    from_dockerfile: Image, podman: str, canary: str
) -> None:
    layout = open_layout(from_dockerfile.layout)
    manifest = layout.manifest(layout.find(from_dockerfile.name))
    assert canary.encode() not in layout.read(manifest.config)
    for layer in manifest.layers:
        assert canary.encode() not in b"".join(layers.uncompressed(layout, layer))
    listed = subprocess.run(
        [podman, "images", "--all", "--quiet", "--no-trunc"], check=True, capture_output=True, text=True
    )
    kept = subprocess.run(
        [podman, "inspect", "--type=image", *set(listed.stdout.split())], check=True, capture_output=True, text=True
    ).stdout
    assert canary not in kept
    assert "SSL_CERT_FILE" not in kept
    assert "PIP_CERT=" not in "".join(json.dumps(item["Config"].get("Env", [])) for item in json.loads(kept))


def test_a_distroless_image_has_no_shell_and_no_installer(icu_image: Image) -> None:
    layout = open_layout(icu_image.layout)
    there = contents.read(layout, layout.manifest(layout.find(icu_image.name)))
    programs = {path.rpartition("/")[2] for path in there.entries if "/bin/" in f"/{path}" or "/sbin/" in f"/{path}"}
    assert not programs & {"sh", "bash", "dash", "busybox", "apt", "apt-get", "dpkg", "pip", "pip3", "curl", "wget"}
    assert not [path for path in there.entries if "/pip/" in path or "/setuptools/" in path]


@pytest.mark.parametrize("example", ["icu-mortality", "breast-cytology"])
def test_an_image_on_the_distroless_base_has_at_most_300_mb(
    example: str, icu_image: Image, request: pytest.FixtureRequest
) -> None:
    image = icu_image if example == "icu-mortality" else request.getfixturevalue("cytology_image")
    layout = open_layout(image.layout)
    unpacked = contents.read(layout, layout.manifest(layout.find(image.name))).unpacked
    assert sum(unpacked) <= 300e6


@pytest.fixture(scope="session")
def cytology_image(tmp_path_factory: pytest.TempPathFactory, distroless: Path, podman: str) -> Image:
    """The XGBoost example's image, assembled, proven by runc."""
    release = built.packaged("breast-cytology", tmp_path_factory.mktemp("cytology"))
    return built.image(release, "--base", str(distroless), "--engine", "assembled", "--prove-with", "runc")


def test_buildah_builds_and_runc_proves_it(
    icu_release: Path, bases_registry: Registry, podman: str, from_dockerfile: Image
) -> None:
    bases = ("--base", bases_registry.distroless, "--installer", bases_registry.slim, "--plain-http")
    image = built.image(icu_release, *bases, "--engine", "buildah", "--prove-with", "runc")
    assert plain(read(image)[1]) == plain(read(from_dockerfile)[1])


def test_docker_builds_it_proves_it_and_verifies_it_again(
    icu_release: Path, bases_registry: Registry, docker: str, icu_image: Image, capsys: pytest.CaptureFixture[str]
) -> None:
    bases = ("--base", bases_registry.distroless, "--installer", bases_registry.slim, "--plain-http")
    image = built.image(icu_release, *bases, "--engine", docker, "--prove-with", docker)
    assert plain(read(image)[1]) == plain(read(icu_image)[1])
    assert wiring.engines()["docker"].find(image.name) is not None
    assert run(["verify", str(image.layout), "--image", image.name, "--prove-with", docker]) == 0
    assert "65 golden cases answered in docker" in capsys.readouterr().err


WRITABLE = """
import os
for directory, _, files in os.walk("/opt/bedside"):
    for name in ["", *files]:
        if os.access(os.path.join(directory, name), os.W_OK):
            print(directory, name)
print(os.getuid())
"""


def test_the_user_of_the_image_can_write_no_file_of_it_on_a_disk_that_takes_writes(
    icu_image: Image, podman: str
) -> None:
    python = ("--entrypoint", "/opt/bedside/bin/python", icu_image.name, "-c", WRITABLE)
    done = subprocess.run([podman, "run", "--rm", *python], check=True, capture_output=True, text=True)
    assert done.stdout == "10001\n"


def test_a_proven_image_is_verified_again_by_its_name_in_the_engine(
    from_dockerfile: Image, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["verify", from_dockerfile.name, "--memory", "512Mi"]) == 0
    assert "65 golden cases answered in podman" in capsys.readouterr().err


def test_an_engine_that_is_asked_for_and_not_there_is_a_clear_error(
    icu_release: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert run(["build", str(icu_release), "--engine", "podman"]) == 4
    assert "podman is not installed" in capsys.readouterr().err


def test_without_anything_that_runs_a_container_an_image_gets_no_name(
    icu_release: Path,
    distroless: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    target = tmp_path / "x.oci"
    assert run(["build", str(icu_release), "--base", str(distroless), "-o", str(target)]) == 4
    said = capsys.readouterr().err
    assert "nothing here can run a container" in said
    assert "gets no name" in said
    assert not target.exists() or not open_layout(target).index().manifests


def test_an_engine_takes_no_base_from_a_file(
    icu_release: Path, distroless: Path, podman: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["build", str(icu_release), "--base", str(distroless), "--engine", podman]) == 2
    assert "takes its base from a registry" in capsys.readouterr().err
    assert wiring.engine("assembled") is None

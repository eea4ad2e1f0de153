"""A vulnerability database from a registry, as `oras copy` mirrors trivy's own."""

import io
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.image import simulated_registry
from tests.image.simulated_registry import altered, matching
from tests.provenance import advisories as made
from tests.provenance.images import image
from tests.provenance.keyring import NOW

from bedside.cli.main import run
from bedside.errors import ImageInvalid, ScanIncomplete
from bedside.image import layout as layouts
from bedside.image import oci
from bedside.image.layout import Layout
from bedside.image.oci import Descriptor, Manifest
from bedside.image.reference import Reference
from bedside.image.registry import Repository
from bedside.image.transport import Session
from bedside.provenance import database
from bedside.stages import advisories
from bedside.stages.push import push


@pytest.fixture
def registry() -> Iterator[simulated_registry.Registry]:
    with simulated_registry.running() as started:
        yield started


@pytest.fixture
def repository(registry: simulated_registry.Registry) -> Iterator[Repository]:
    with Session(registry.host, lambda: None, plain_http=True, pause=lambda _: None) as session:
        yield Repository(session, "trivy-db")


def artifact(layout: Layout, files: Mapping[str, bytes], media_type: str = database.LAYER) -> Descriptor:
    """Write what `ghcr.io/aquasecurity/trivy-db:2` is."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    config = layout.write(b"{}", "application/vnd.aquasec.trivy.config.v1+json")
    manifest = Manifest(media_type=oci.MANIFEST, config=config, layers=(layout.write(raw.getvalue(), media_type),))
    descriptor = layout.write_document(manifest)
    layout.add(descriptor, "db")
    return descriptor


@pytest.fixture
def mirrored(tmp_path: Path, repository: Repository) -> Reference:
    written = made.write(tmp_path / "db", NOW)
    files = {path.name: path.read_bytes() for path in written.iterdir()}
    return mirror(tmp_path, repository, {**files, "../../escaped": b"x", "other": b"x"})


def mirror(
    tmp_path: Path, repository: Repository, files: Mapping[str, bytes], media_type: str = database.LAYER
) -> Reference:
    layout = layouts.create(tmp_path / "mirror")
    target = Reference(repository.session.host, "trivy-db", "2")
    push(layout, artifact(layout, files, media_type), target, repository)
    return target


def test_the_database_of_a_mirror_is_unpacked_once_and_kept_by_its_digest(
    tmp_path: Path, repository: Repository, mirrored: Reference, registry: simulated_registry.Registry
) -> None:
    kept = tmp_path / "kept"
    found = advisories.pulled(repository, mirrored, kept)
    assert {path.name for path in found.iterdir()} == set(database.FILES)
    assert (found / "trivy.db").read_bytes() == (tmp_path / "db" / "trivy.db").read_bytes()
    asked = len(registry.seen)
    assert advisories.pulled(repository, mirrored, kept) == found
    assert [seen.path for seen in registry.seen[asked:]] == ["/v2/trivy-db/manifests/2"]
    assert not list(tmp_path.glob("**/escaped"))


def test_a_newer_database_takes_the_place_of_the_older(
    tmp_path: Path, repository: Repository, mirrored: Reference
) -> None:
    kept = tmp_path / "kept"
    old = advisories.pulled(repository, mirrored, kept)
    layout = layouts.create(tmp_path / "newer")
    newer = artifact(layout, {"trivy.db": b"newer", "metadata.json": b"{}"})
    push(layout, newer, Reference(repository.session.host, "trivy-db", "next"), repository, move_tag=True)
    found = advisories.pulled(repository, Reference(repository.session.host, "trivy-db", "next"), kept)
    assert (found / "trivy.db").read_bytes() == b"newer"
    assert not old.exists()


def test_what_is_no_database_is_refused(tmp_path: Path, repository: Repository) -> None:
    target = mirror(tmp_path, repository, {"x": b""}, oci.LAYER_GZIP)
    with pytest.raises(ScanIncomplete, match="no vulnerability database of trivy"):
        advisories.pulled(repository, target, tmp_path / "kept")


def test_a_registry_that_gives_other_bytes_leaves_no_database(
    tmp_path: Path, repository: Repository, mirrored: Reference, registry: simulated_registry.Registry
) -> None:
    registry.trouble.append(matching("GET", "/blobs/", altered(lambda data: data[:-1] + b"x")))
    with pytest.raises(ImageInvalid):
        advisories.pulled(repository, mirrored, tmp_path / "kept")
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_scan_takes_its_database_from_the_mirror(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import UTC, datetime

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    written = made.write(tmp_path / "db", datetime.now(UTC))
    target = mirror(tmp_path, repository, {path.name: path.read_bytes() for path in written.iterdir()})
    scanned = layouts.create(tmp_path / "image")
    image(scanned)
    assert run(["scan", str(scanned.directory), "--db", str(target), "--plain-http"]) == 0


def test_without_a_name_trivy_s_own_cache_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    scanned = layouts.create(tmp_path / "image")
    image(scanned)
    assert run(["scan", str(scanned.directory)]) == 4
    said = capsys.readouterr().err
    assert f"there is no vulnerability database in {tmp_path}/trivy" in said
    assert "oras copy" in said

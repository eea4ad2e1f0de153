"""The ICU example's image, assembled without an engine."""

import hashlib
import json
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bedside import wiring
from bedside.cli.main import run
from bedside.errors import VerificationFailed
from bedside.image import layers
from bedside.image import layout as layouts
from bedside.image.layout import Layout, open_layout
from bedside.image.reference import Reference
from bedside.image.registry import Repository
from bedside.locking import lockfile
from bedside.provenance import statements
from bedside.stages.assemble import Builder, Built, assembled
from bedside_runtime import canonical

pytestmark = [pytest.mark.package, pytest.mark.timeout(900)]  # the first one makes a base, a release and an image
TOOLS = wiring.tools()
TOOLS_CACHE = wiring.builder().cache  # layers that other tests built, or that will be there for them


@pytest.fixture(scope="module")
def release(icu_release: Path) -> Path:
    return icu_release


@pytest.fixture(scope="module")
def base(distroless: Path) -> Path:
    return distroless


@contextmanager
def no_registry(reference: Reference) -> Iterator[Repository]:
    raise AssertionError(f"{reference} was asked for")
    yield


def build(release: Path, base: Path, place: Path, cache: Layout | None = None) -> Built:
    layout = layouts.create(place / "image")
    return assembled(
        release, str(base), layout, Builder(TOOLS.uv, cache or layouts.create(place / "cache"), no_registry)
    )


@pytest.fixture(scope="module")
def built(release: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Built, Path]:
    place = tmp_path_factory.mktemp("one")
    return build(release, base, place, TOOLS_CACHE), place


def names(place: Path, built: Built) -> dict[str, tarfile.TarInfo]:
    layout = open_layout(place / "image")
    listed = layout.manifest(built.descriptor).layers
    return {member.name: member for layer in listed for member, _ in layers.members(layout, layer)}


def test_the_image_holds_the_distributions_of_the_lock_and_no_other(built: tuple[Built, Path]) -> None:
    image, place = built
    found = {name.split("/")[-2] for name in names(place, image) if name.endswith(".dist-info/METADATA")}
    locked = lockfile.parse(image.release.lock.read_text())
    assert {name.removesuffix(".dist-info").replace("_", "-").lower() for name in found} == {
        f"{item.name}-{item.version}" for item in locked
    }


def test_nobody_but_root_can_write_a_file_of_the_application(built: tuple[Built, Path]) -> None:
    own = [item for name, item in names(built[1], built[0]).items() if name.startswith("opt/bedside")]
    assert len(own) > 1000
    assert all((item.uid, item.gid) == (0, 0) and (item.issym() or not item.mode & 0o022) for item in own)


def test_no_path_of_the_building_machine_is_in_the_image(release: Path, built: tuple[Built, Path]) -> None:
    image, place = built
    layout = open_layout(place / "image")
    for layer in layout.manifest(image.descriptor).layers:
        data = b"".join(layers.uncompressed(layout, layer))
        assert str(place.parent).encode() not in data
        assert str(release.parent).encode() not in data


def test_an_image_has_no_name_before_it_was_proven(built: tuple[Built, Path]) -> None:
    listed = open_layout(built[1] / "image").index().manifests
    assert [item.annotations for item in listed if item.artifact_type is None] == [{}]
    assert [item.artifact_type for item in listed if item.artifact_type is not None] == [statements.MEDIA_TYPE]


def test_a_new_model_moves_its_layer_alone(
    release: Path, base: Path, built: tuple[Built, Path], tmp_path: Path
) -> None:
    before, _ = built
    other = retrained(release, tmp_path)
    after = build(other, base, tmp_path, TOOLS_CACHE)
    assert [layer.name for layer in after.layers if not layer.cached] == ["model"]
    moved = [old.descriptor != new.descriptor for old, new in zip(before.layers, after.layers, strict=True)]
    assert dict(zip((layer.name for layer in after.layers), moved, strict=True)) == {
        "base": False,
        "dependencies": False,
        "runtime": False,
        "bytecode": False,
        "code": False,
        "model": True,
    }


def retrained(release: Path, place: Path) -> Path:
    """Copy a release with another model file and the digests that go with it; nobody replays it here."""
    other = place / "retrained"
    shutil.copytree(release, other)
    (other / "model" / "icu.joblib").write_bytes(b"another model")
    contract = json.loads((other / "contract.json").read_bytes())
    for file in contract["files"]:
        if file["path"] == "model/icu.joblib":
            file.update(size=13, sha256=hashlib.sha256(b"another model").hexdigest())
    (other / "contract.json").write_bytes(canonical.encode(contract))
    return other


def test_a_release_with_a_flipped_byte_gives_no_image(release: Path, base: Path, tmp_path: Path) -> None:
    other = tmp_path / release.name
    shutil.copytree(release, other)
    model = other / "model" / "icu.joblib"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    with pytest.raises(VerificationFailed, match="is not what was validated"):
        build(other, base, tmp_path)
    assert not open_layout(tmp_path / "image").index().manifests


def test_a_time_that_is_none_is_refused(release: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    assert run(["build", str(release), "--base", str(base)]) == 2

"""Building the ICU example's image directly, as the command line does it."""

import hashlib
import io
import json
import shutil
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
from bedside.stages.build import Assembled, Builder, assembled
from bedside.stages.package import package
from bedside_runtime import canonical

pytestmark = pytest.mark.package
ICU = Path(__file__).parents[2] / "examples" / "icu-mortality"
TOOLS = wiring.tools()


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("project") / "icu"
    shutil.copytree(ICU, target, ignore=shutil.ignore_patterns("dist", "__pycache__"))
    return package(target, runner=TOOLS.runner, uv=TOOLS.uv).release.directory


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("base") / "root.tar"
    with tarfile.open(path, "w") as tar:
        tar.addfile(tarfile.TarInfo("./usr/bin/python3.11"), io.BytesIO())
    return path


@contextmanager
def no_registry(reference: Reference) -> Iterator[Repository]:
    raise AssertionError(f"{reference} was asked for")
    yield


def build(release: Path, base: Path, place: Path, cache: Layout | None = None) -> Assembled:
    layout = layouts.create(place / "image")
    return assembled(
        release, str(base), layout, Builder(TOOLS.uv, cache or layouts.create(place / "cache"), no_registry)
    )


@pytest.fixture(scope="module")
def built(release: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Assembled, Path]:
    place = tmp_path_factory.mktemp("one")
    return build(release, base, place), place


def names(place: Path, built: Assembled) -> dict[str, tarfile.TarInfo]:
    layout = open_layout(place / "image")
    listed = layout.manifest(built.descriptor).layers
    return {member.name: member for layer in listed for member, _ in layers.members(layout, layer)}


def test_two_builds_in_other_places_on_another_day_give_one_digest(
    release: Path, base: Path, built: tuple[Assembled, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "deep" / "elsewhere" / release.name
    shutil.copytree(release, elsewhere, copy_function=shutil.copyfile)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 86_400 * 40)
    assert build(elsewhere, base, tmp_path).descriptor == built[0].descriptor


def test_the_image_holds_the_distributions_of_the_lock_and_no_other(built: tuple[Assembled, Path]) -> None:
    image, place = built
    found = {name.split("/")[-2] for name in names(place, image) if name.endswith(".dist-info/METADATA")}
    locked = lockfile.parse(image.release.lock.read_text())
    assert {name.removesuffix(".dist-info").replace("_", "-").lower() for name in found} == {
        f"{item.name}-{item.version}" for item in locked
    }


def test_nobody_but_root_can_write_a_file_of_the_application(built: tuple[Assembled, Path]) -> None:
    own = [item for name, item in names(built[1], built[0]).items() if name.startswith("opt/bedside")]
    assert len(own) > 1000
    assert all((item.uid, item.gid) == (0, 0) and (item.issym() or not item.mode & 0o022) for item in own)


def test_no_path_of_the_building_machine_is_in_the_image(built: tuple[Assembled, Path]) -> None:
    image, place = built
    layout = open_layout(place / "image")
    for layer in layout.manifest(image.descriptor).layers:
        data = b"".join(layers.uncompressed(layout, layer))
        assert str(place.parent).encode() not in data
        assert str(ICU).encode() not in data


def test_an_image_has_no_name_before_it_was_proven(built: tuple[Assembled, Path]) -> None:
    listed = open_layout(built[1] / "image").index().manifests
    assert [item.annotations for item in listed if item.artifact_type is None] == [{}]
    assert [item.artifact_type for item in listed if item.artifact_type is not None] == [statements.MEDIA_TYPE]


def test_a_new_model_is_built_in_seconds_and_moves_its_layer_alone(
    release: Path, base: Path, built: tuple[Assembled, Path], tmp_path: Path
) -> None:
    before, place = built
    other = retrained(release, tmp_path)
    started = time.monotonic()
    after = build(other, base, tmp_path, open_layout(place / "cache"))
    assert time.monotonic() - started < 5
    moved = [old.descriptor != new.descriptor for old, new in zip(before.layers, after.layers, strict=True)]
    assert dict(zip((layer.name for layer in after.layers), moved, strict=True)) == {
        "base": False,
        "dependencies": False,
        "runtime": False,
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


def test_the_command_says_the_digest_and_shows_the_layers(
    release: Path, base: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert run(["build", str(release), "--base", str(base), "-o", str(tmp_path / "icu.oci")]) == 0
    said = capsys.readouterr()
    assert said.out.strip() == open_layout(tmp_path / "icu.oci").find().digest
    assert all(name in said.err for name in ("base", "dependencies", "runtime", "code", "model"))


def test_a_time_that_is_none_is_refused(release: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    assert run(["build", str(release), "--base", str(base)]) == 2

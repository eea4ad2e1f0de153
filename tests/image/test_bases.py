"""Bases: by digest, in every form that they come in."""

import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.image.images import LINUX
from tests.image.simulated_registry import running

from bedside.errors import ImageInvalid, UsageError
from bedside.image import archive, bases, layers, oci
from bedside.image import layout as layouts
from bedside.image.bases import FoundBase
from bedside.image.layers import Entries, File, Link
from bedside.image.layout import Layout
from bedside.image.oci import Descriptor, Execution, ImageConfig, Manifest, Platform, RootFS
from bedside.image.reference import Reference
from bedside.image.registry import Repository
from bedside.image.transport import Session
from bedside.stages.push import push

PYTHON: Entries = {"usr/bin/python3.11": File(b"elf", executable=True), "bin": Link("usr/bin"), "etc/x": File(b"12345")}


@contextmanager
def no_registry(reference: Reference) -> Iterator[Repository]:
    raise AssertionError(f"{reference} was asked for")
    yield


@pytest.fixture
def cache(tmp_path: Path) -> Layout:
    return layouts.create(tmp_path / "cache")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return layouts.create(tmp_path / "base")


def write(layout: Layout, *contents: Entries, env: tuple[str, ...] = ("PATH=/usr/bin",)) -> Descriptor:
    made = [layers.write(entries, layout) for entries in contents]
    config = ImageConfig(
        architecture="amd64",
        os="linux",
        rootfs=RootFS(diff_ids=tuple(layer.diff_id for layer in made)),
        config=Execution(env=env),
    )
    manifest = Manifest(
        media_type=oci.MANIFEST,
        config=layout.write_document(config),
        layers=tuple(layer.descriptor for layer in made),
    )
    written = layout.write_document(manifest)
    layout.add(written, "base")
    return written


def find(source: object, cache: Layout, platform: Platform = LINUX, python: str = "3.11") -> FoundBase:
    return bases.find(str(source), platform, python, cache, no_registry)


def root_file_system(path: Path, *programs: str) -> Path:
    with tarfile.open(path, "w") as tar:
        for program in programs:
            tar.addfile(tarfile.TarInfo(f"./{program}"), io.BytesIO())
    return path


def test_a_layout_gives_its_image_and_says_what_is_in_it(layout: Layout, cache: Layout) -> None:
    written = write(layout, PYTHON, {"usr/bin/sh": File(b"")})
    found = find(layout.directory, cache)
    assert (found.base.digest, found.base.interpreter, found.tools) == (written.digest, "/usr/bin/python3.11", ("sh",))
    assert found.unpacked == (8, 0)
    assert find(f"{layout.directory}@{written.digest}", cache).base == found.base


def test_the_first_directory_of_the_path_wins_and_links_of_directories_are_followed(
    layout: Layout, cache: Layout
) -> None:
    write(layout, PYTHON, env=("PATH=/usr/local/bin:/bin:/usr/bin",))
    assert find(layout.directory, cache).base.interpreter == "/bin/python3.11"


def test_a_program_that_an_upper_layer_removes_is_not_there(layout: Layout, cache: Layout) -> None:
    whiteout = io.BytesIO()
    with tarfile.open(fileobj=whiteout, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("usr/bin/.wh.sh"))
    lower = layers.write({**PYTHON, "usr/bin/sh": File(b"")}, layout)
    upper, diff_id = layers.compress([whiteout.getvalue()], layout)
    config = ImageConfig(architecture="amd64", os="linux", rootfs=RootFS(diff_ids=(lower.diff_id, diff_id)))
    manifest = Manifest(media_type=oci.MANIFEST, config=layout.write_document(config), layers=(lower.descriptor, upper))
    layout.add(layout.write_document(manifest))
    assert find(layout.directory, cache).tools == ()


def test_a_base_without_the_release_s_python_is_refused(layout: Layout, cache: Layout) -> None:
    write(layout, PYTHON)
    with pytest.raises(UsageError, match=r"no Python 3\.12"):
        find(layout.directory, cache, python="3.12")


def test_a_base_for_another_platform_is_refused(layout: Layout, cache: Layout) -> None:
    write(layout, PYTHON)
    with pytest.raises(UsageError, match="linux/amd64; the release needs linux/arm64"):
        find(layout.directory, cache, Platform(architecture="arm64", os="linux"))


def test_a_root_file_system_becomes_an_image_whose_digest_follows_from_it(tmp_path: Path, cache: Layout) -> None:
    path = root_file_system(tmp_path / "root.tar", "usr/bin/python3.11", "usr/bin/apt")
    found, again = find(path, cache), find(path, layouts.create(tmp_path / "other"))
    assert found.base.digest == again.base.digest
    assert found.base.env[0].startswith("PATH=/usr/local/sbin:")
    assert found.tools == ("apt",)


def test_what_an_earlier_bedside_made_of_the_same_file_is_not_taken(
    tmp_path: Path, cache: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = root_file_system(tmp_path / "root.tar", "usr/bin/python3.11")
    with monkeypatch.context() as earlier:
        earlier.setattr(bases, "_FORMAT", bases._FORMAT - 1)
        earlier.setattr(bases, "SEARCH", ("/usr/bin",))  # one of the things that it did otherwise
        before = find(path, cache)
    assert find(path, cache).base.digest == find(path, layouts.create(tmp_path / "new")).base.digest
    assert find(path, cache).base.digest != before.base.digest


def test_a_conversion_that_gives_other_bytes_than_before_has_another_format(tmp_path: Path, cache: Layout) -> None:
    """Where this fails, raise `bases._FORMAT` and put the new config here: else two machines give two images."""
    found = find(root_file_system(tmp_path / "root.tar", "usr/bin/python3.11"), cache)
    assert (bases._FORMAT, str(found.manifest.config.digest)[:19]) == (2, "sha256:1af66528203b")


def test_an_archive_gives_the_layers_and_the_config_of_its_image(layout: Layout, tmp_path: Path, cache: Layout) -> None:
    written = write(layout, PYTHON, {"etc/y": File(b"2")})
    archive.write(layout, written, tmp_path / "both.tar")
    found = find(tmp_path / "both.tar", cache)
    original = layout.config(layout.manifest(written))
    assert found.config == original
    assert find(tmp_path / "both.tar", cache).base == found.base


def test_a_docker_archive_whose_layer_is_not_what_its_config_says_is_refused(
    layout: Layout, tmp_path: Path, cache: Layout
) -> None:
    config = layout.read(layout.manifest(write(layout, PYTHON)).config)
    members = {"c.json": config, "l.tar": b"\0" * 10240, "manifest.json": b'[{"Config":"c.json","Layers":["l.tar"]}]'}
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        for name, data in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    with pytest.raises(ImageInvalid, match="its config says"):
        find(tmp_path / "bad.tar", cache)
    assert not cache.index().manifests


def test_a_file_that_is_no_tar_is_refused(tmp_path: Path, cache: Layout) -> None:
    (tmp_path / "notes.txt").write_text("no tar")
    with pytest.raises(ImageInvalid, match="no tar file"):
        find(tmp_path / "notes.txt", cache)


def test_a_name_that_is_neither_a_file_nor_a_reference_is_refused(cache: Layout) -> None:
    with pytest.raises(UsageError, match="no file, no image layout and no reference"):
        find("./NoSuchDirectory", cache)


def test_from_a_registry_a_base_comes_by_digest_once_and_a_tag_is_refused_with_today_s_digest(
    layout: Layout, cache: Layout
) -> None:
    written = write(layout, PYTHON)
    with running() as registry:

        @contextmanager
        def repositories(reference: Reference) -> Iterator[Repository]:
            with Session(reference.host, lambda: None, plain_http=True) as session:
                yield Repository(session, reference.repository)

        target = Reference(registry.host, "python", "3.11")
        with repositories(target) as repository:
            push(layout, written, target, repository)
        pinned = f"{registry.host}/python@{written.digest}"
        with pytest.raises(UsageError, match="named by a tag") as refused:
            bases.find(str(target), LINUX, "3.11", cache, repositories)
        assert refused.value.remedy.endswith(f"--base {pinned}")
        found = bases.find(pinned, LINUX, "3.11", cache, repositories)
    assert str(found.base.reference) == pinned
    assert bases.find(pinned, LINUX, "3.11", cache, no_registry).base == found.base


def test_what_the_archive_names_is_what_engines_read(layout: Layout, tmp_path: Path) -> None:
    written = write(layout, PYTHON)
    archive.write(layout, written, tmp_path / "image.tar", "icu:1.0.0")
    with tarfile.open(tmp_path / "image.tar") as tar:
        files = {name: file.read() for name in tar.getnames() if (file := tar.extractfile(name)) is not None}
    listed = json.loads(files["manifest.json"])[0]
    assert listed["RepoTags"] == ["icu:1.0.0"]
    assert files[listed["Config"]] == layout.read(layout.manifest(written).config)
    assert json.loads(files["index.json"])["manifests"][0]["digest"] == written.digest

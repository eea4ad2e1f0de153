import hashlib
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from bedside.errors import ImageInvalid, ToolFailed, UsageError
from bedside.image import layout as layouts
from bedside.image import oci
from bedside.image.layout import CHUNK, Layout
from bedside.image.oci import Execution, ImageConfig, Manifest, Platform, RootFS
from bedside.image.reference import Digest

LINUX = Platform(architecture="amd64", os="linux")
LARGE = bytes(range(256)) * (3 * CHUNK // 256) + b"end"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return layouts.create(tmp_path / "images")


def _image(layout: Layout, text: str, name: str | None = None) -> oci.Descriptor:
    layer = layout.write(text.encode(), oci.LAYER)
    rootfs = RootFS(diff_ids=(layer.digest,))
    config = layout.write_document(
        ImageConfig(architecture="amd64", os="linux", rootfs=rootfs, config=Execution(user="10001"))
    )
    manifest = layout.write_document(Manifest(media_type=oci.MANIFEST, config=config, layers=(layer,)))
    layout.add(manifest, name)
    return manifest


def _entries(layout: Layout) -> set[str]:
    return {str(path.relative_to(layout.directory)) for path in layout.directory.rglob("*") if path.is_file()}


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """Files may grow to ``size`` bytes: the real write fails in the middle, as on a full disk."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_what_was_written_is_read_back(layout: Layout) -> None:
    written = _image(layout, "tar", "icu:1.0.0")
    found = layouts.open_layout(layout.directory).find("icu:1.0.0")
    descriptor, manifest = layout.image(found, LINUX)
    assert descriptor.digest == written.digest
    assert layout.config(manifest).config.user == "10001"
    assert b"".join(layout.chunks(manifest.layers[0])) == b"tar"


def test_a_layout_holds_several_images(layout: Layout) -> None:
    first, second = _image(layout, "one", "one"), _image(layout, "two", "two")
    assert layout.find("one").digest == first.digest
    assert layout.find(str(second.digest)).digest == second.digest
    with pytest.raises(UsageError, match="one, two"):
        layout.find()


def test_a_name_moves_to_what_is_added_last(layout: Layout) -> None:
    _image(layout, "one", "latest")
    second = _image(layout, "two", "latest")
    assert [item.digest for item in layout.index().manifests] == [second.digest]


def test_the_only_image_needs_no_name(layout: Layout) -> None:
    assert _image(layout, "one", "a").digest == layout.find().digest


def test_the_image_of_a_platform_is_found_in_an_index(layout: Layout) -> None:
    manifest = msgspec.structs.replace(_image(layout, "one"), platform=LINUX)
    index = layout.write_document(oci.Index(media_type=oci.INDEX, manifests=(manifest,)))
    assert layout.image(index, LINUX)[0].digest == manifest.digest


def test_a_blob_of_many_pieces_comes_back_whole(layout: Layout) -> None:
    with layout.new_blob() as file:
        for start in range(0, len(LARGE), 70_000):
            file.write(LARGE[start : start + 70_000])
        digest = file.publish()
    descriptor = oci.describe(LARGE, oci.LAYER)
    assert digest == descriptor.digest
    assert b"".join(layout.chunks(descriptor)) == LARGE


@pytest.mark.parametrize("place", [0, CHUNK, len(LARGE) - 1])
def test_the_last_piece_of_an_altered_blob_is_never_given(layout: Layout, place: int) -> None:
    descriptor = layout.write(LARGE, oci.LAYER)
    altered = bytearray(LARGE)
    altered[place] ^= 1
    layout.path(descriptor.digest).write_bytes(altered)
    seen: list[bytes] = []
    with pytest.raises(ImageInvalid, match="another digest"):
        seen.extend(layout.chunks(descriptor))
    assert not b"".join(seen).endswith(b"end")


@pytest.mark.parametrize("altered", [LARGE[:-1], LARGE + b"x", b""])
def test_a_blob_of_another_size_is_refused(layout: Layout, altered: bytes) -> None:
    descriptor = layout.write(LARGE, oci.LAYER)
    layout.path(descriptor.digest).write_bytes(altered)
    assert not layout.holds(descriptor)
    with pytest.raises(ImageInvalid, match="bytes"):
        list(layout.chunks(descriptor))


def test_a_stream_that_is_not_what_was_expected_leaves_nothing(layout: Layout) -> None:
    before = _entries(layout)
    with pytest.raises(ImageInvalid):
        layout.write_stream([b"lie"], oci.describe(b"yes", oci.LAYER))
    assert _entries(layout) == before


def test_a_full_disk_is_said_and_leaves_nothing(layout: Layout) -> None:
    before = _entries(layout)
    with disk_of(CHUNK), pytest.raises(ToolFailed, match="cannot be written") as refused:
        layout.write(LARGE, oci.LAYER)
    assert "Make room" in refused.value.remedy
    assert _entries(layout) == before


def test_a_full_disk_keeps_the_index_as_it_was(layout: Layout) -> None:
    _image(layout, "one", "one")
    second = layout.write(b"x", oci.MANIFEST)
    before = (layout.directory / "index.json").read_bytes()
    with disk_of(100), pytest.raises(ToolFailed):
        layout.add(second, "two")
    assert (layout.directory / "index.json").read_bytes() == before
    assert not list(layout.directory.glob(".*"))


def test_nothing_is_named_that_is_not_there(layout: Layout) -> None:
    with pytest.raises(ImageInvalid, match="no blob"):
        layout.add(oci.describe(b"gone", oci.MANIFEST), "gone")


def test_an_artifact_is_no_image(layout: Layout) -> None:
    layout.write(b"{}", oci.EMPTY)
    artifact = Manifest(media_type=oci.MANIFEST, config=oci.EMPTY_CONFIG, layers=(), artifact_type="text/x")
    descriptor = layout.write_document(artifact)
    with pytest.raises(ImageInvalid, match="no image"):
        layout.config(layout.manifest(descriptor))


def test_creating_twice_keeps_what_is_there(layout: Layout) -> None:
    _image(layout, "one", "one")
    assert layouts.create(layout.directory).find("one")


def test_a_directory_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="no image layout"):
        layouts.create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("marker", [b"{}", b'{"imageLayoutVersion":"2.0.0"}', b"[]", b"{"])
def test_a_layout_of_another_version_is_refused(layout: Layout, marker: bytes) -> None:
    (layout.directory / "oci-layout").write_bytes(marker)
    with pytest.raises(ImageInvalid):
        layouts.open_layout(layout.directory)


def test_a_directory_without_a_layout_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no image layout"):
        layouts.open_layout(tmp_path)


def test_sha512_is_compared_as_well(layout: Layout) -> None:
    digest = Digest(f"sha512:{hashlib.sha512(b'x').hexdigest()}")
    descriptor = oci.Descriptor(media_type=oci.LAYER, digest=digest, size=1)
    layout.write_stream([b"x"], descriptor)
    assert list(layout.chunks(descriptor)) == [b"x"]
    layout.path(digest).write_bytes(b"y")
    with pytest.raises(ImageInvalid):
        list(layout.chunks(descriptor))

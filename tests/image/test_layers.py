"""Layers: the content decides every byte, and nothing of the disk or the clock does."""

import hashlib
import os
import tarfile
from pathlib import Path

import pytest

from bedside.errors import ImageInvalid, ToolFailed
from bedside.image import layers, oci
from bedside.image import layout as layouts
from bedside.image.layers import Directory, Entries, File, Link
from bedside.image.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return layouts.create(tmp_path / "images")


def headers(layout: Layout, entries: Entries) -> list[tarfile.TarInfo]:
    return [member for member, _ in layers.members(layout, layers.write(entries, layout).descriptor)]


def test_the_disk_s_times_owners_modes_and_order_leave_no_trace(layout: Layout, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"same")
    other.write_bytes(b"same")
    other.chmod(0o666)
    os.utime(other, (1, 2))
    first = layers.write({"a/x": File(one), "b": File(b"2")}, layout)
    second = layers.write({"b": File(b"2"), "a/x": File(other)}, layout)
    assert first == second


def test_nothing_in_a_layer_can_be_written_by_anybody_but_root(layout: Layout) -> None:
    entries: Entries = {"opt/app/run": File(b"1", executable=True), "opt/app/data": File(b"2"), "opt/l": Link("/bin")}
    for header in headers(layout, entries):
        assert (header.uid, header.gid, header.mtime) == (0, 0, layers.TIME)
        assert header.issym() or not header.mode & 0o022


def test_a_directory_for_a_volume_belongs_to_its_user_and_what_it_lies_in_to_root(layout: Layout) -> None:
    found = headers(layout, {"var/log/model": Directory(10001, 0o750)})
    assert [(item.name, item.isdir(), item.uid, item.gid, item.mode) for item in found] == [
        ("var", True, 0, 0, 0o755),
        ("var/log", True, 0, 0, 0o755),
        ("var/log/model", True, 10001, 10001, 0o750),
    ]


def test_directories_follow_from_paths_and_stand_before_what_they_hold(layout: Layout) -> None:
    names = [header.name for header in headers(layout, {"b/c/d": File(b""), "b/a": File(b""), "b.c": File(b"")})]
    assert names == ["b", "b/a", "b/c", "b/c/d", "b.c"]


def test_the_diff_id_is_the_digest_of_the_uncompressed_tar(layout: Layout) -> None:
    layer = layers.write({"data": File(os.urandom(3 << 20))}, layout)
    digest = hashlib.sha256(b"".join(layers.uncompressed(layout, layer.descriptor))).hexdigest()
    assert layer.diff_id == f"sha256:{digest}"
    assert layer.unpacked == 3 << 20


def test_a_file_that_changed_since_it_was_validated_is_refused_and_leaves_no_blob(
    layout: Layout, tmp_path: Path
) -> None:
    path = tmp_path / "model.ubj"
    path.write_bytes(b"another model")
    with pytest.raises(ImageInvalid, match=r"release/model\.ubj is not the file that was validated"):
        layers.write({"release/model.ubj": File(path, sha256="0" * 64)}, layout)
    assert not list(layout.directory.glob(".blob-*"))
    assert not [item for item in (layout.directory / "blobs").rglob("*") if item.is_file()]


def test_a_file_that_is_gone_is_a_failure_of_the_disk(layout: Layout, tmp_path: Path) -> None:
    with pytest.raises(ToolFailed, match="opt/gone cannot be read"):
        layers.write({"opt/gone": File(tmp_path / "gone")}, layout)


@pytest.mark.parametrize("path", ["/etc/passwd", "../etc/passwd", "opt/../../etc", "opt/.wh.app", ""])
def test_a_path_that_leaves_the_root_or_hides_a_file_is_refused(layout: Layout, path: str) -> None:
    with pytest.raises(ImageInvalid, match="cannot stand in a layer"):
        layers.write({path: File(b"")}, layout)


@pytest.mark.parametrize("size", [0, 1, layouts.CHUNK - 512, layouts.CHUNK, 3 * layouts.CHUNK + 7])
def test_what_was_compressed_is_read_again_whole(layout: Layout, size: int) -> None:
    layer = layers.write({"zeros": File(bytes(size)), "after": File(b"end")}, layout)
    read = {member.name: tar.extractfile(member) for member, tar in layers.members(layout, layer.descriptor)}
    assert set(read) == {"after", "zeros"}
    assert len(b"".join(layers.uncompressed(layout, layer.descriptor))) % 10240 == 0


@pytest.mark.parametrize("size", [1, 7, 512, 10_240, 1 << 20])
def test_a_stream_of_chunks_is_read_in_any_portion(size: int) -> None:
    data = os.urandom(100_003)
    cuts = (data[:3], data[3:5000], data[5000:5001], data[5001:])
    stream = layers.TarStream(iter(cuts))
    portions = list(iter(lambda: stream.read(size), b""))
    assert b"".join(portions) == data
    assert {len(portion) for portion in portions[:-1]} <= {size}
    assert layers.TarStream(iter(cuts)).read() == data


def test_a_flipped_byte_in_a_compressed_layer_is_found_while_it_is_read(layout: Layout) -> None:
    layer = layers.write({"data": File(os.urandom(100_000))}, layout)
    path = layout.path(layer.descriptor.digest)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ImageInvalid):
        list(layers.members(layout, layer.descriptor))


def test_a_compression_that_is_not_read_here_is_refused_with_a_remedy(layout: Layout) -> None:
    blob = layout.write(b"x", oci.LAYER_ZSTD)
    with pytest.raises(ImageInvalid, match="not read here") as refused:
        list(layers.uncompressed(layout, blob))
    assert "gzip" in refused.value.remedy

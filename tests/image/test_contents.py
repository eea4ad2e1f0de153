"""An image's layers put on each other: as names, as files, and unpacked on disk."""

import hashlib
import io
import stat
import tarfile
from pathlib import Path

import pytest

from bedside.errors import ImageInvalid
from bedside.image import contents, layers, listings, oci, rootfs
from bedside.image import layout as layouts
from bedside.image.layers import Entries, File, Link, Twin
from bedside.image.layout import Layout
from bedside.image.oci import Descriptor, Manifest


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return layouts.create(tmp_path / "images")


def raw(layout: Layout, *entries: tuple[str, bytes, dict[str, object]]) -> Descriptor:
    """A layer with headers as they are given, which `layers.write` would not write."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data, fields in entries:
            header = tarfile.TarInfo(name)
            header.size = len(data)
            for key, value in fields.items():
                setattr(header, key, value)
            tar.addfile(header, io.BytesIO(data))
    return layers.compress([out.getvalue()], layout)[0]


def stack(layout: Layout, *made: Entries | Descriptor) -> Manifest:
    found = tuple(item if isinstance(item, Descriptor) else layers.write(item, layout).descriptor for item in made)
    return Manifest(media_type=oci.MANIFEST, config=oci.EMPTY_CONFIG, layers=found)


def unpacked(layout: Layout, manifest: Manifest, place: Path) -> dict[str, bytes]:
    rootfs.unpack(layout, manifest.layers, place)
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def names(layout: Layout, manifest: Manifest) -> set[str]:
    return {path for path, entry in contents.read(layout, manifest).entries.items() if entry.kind != "directory"}


def test_an_upper_layer_covers_what_lies_below(layout: Layout, tmp_path: Path) -> None:
    manifest = stack(layout, {"a/x": File(b"1"), "a/y": File(b"2")}, {"a/x": File(b"3")})
    there = contents.read(layout, manifest, hashed=lambda _: True, kept=lambda path: path.startswith("a/"))
    assert there.entries["a/x"].layer == 1
    assert there.kept == {"a/x": b"3", "a/y": b"2"}
    assert there.entries["a/x"].sha256 == hashlib.sha256(b"3").hexdigest()
    assert unpacked(layout, manifest, tmp_path / "root") == {"a/x": b"3", "a/y": b"2"}


def test_a_file_that_an_upper_layer_removes_or_links_elsewhere_is_not_kept_as_it_was(layout: Layout) -> None:
    over = raw(layout, ("a/.wh.x", b"", {}), ("b/other", b"new", {}))
    linked = raw(layout, ("b/y", b"", {"type": tarfile.LNKTYPE, "linkname": "b/other"}))
    manifest = stack(layout, {"a/x": File(b"1"), "b/y": File(b"old")}, over, linked)
    there = contents.read(layout, manifest, kept=lambda _: True)
    assert there.kept == {"b/other": b"new", "b/y": b"new"}


def test_a_file_that_is_too_large_is_not_kept(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listings, "LARGEST_KEPT", 3)
    manifest = stack(layout, {"a": File(b"123"), "b": File(b"1234")})
    assert contents.read(layout, manifest, kept=lambda _: True).kept == {"a": b"123"}


def test_a_whiteout_takes_away_what_lower_layers_have_and_nothing_else(layout: Layout, tmp_path: Path) -> None:
    over = raw(layout, ("a/.wh.x", b"", {}), ("a/z", b"9", {}), ("b/.wh..wh..opq", b"", {}), ("b/new", b"8", {}))
    manifest = stack(layout, {"a/x": File(b"1"), "a/y": File(b"2"), "b/old": File(b"3")}, over)
    assert names(layout, manifest) == {"a/y", "a/z", "b/new"}
    assert unpacked(layout, manifest, tmp_path / "root").keys() == {"a/y", "a/z", "b/new"}


def test_a_file_in_the_place_of_a_directory_takes_it_away(layout: Layout, tmp_path: Path) -> None:
    manifest = stack(layout, {"a/x/deep": File(b"1")}, {"a/x": File(b"2")})
    assert names(layout, manifest) == {"a/x"}
    assert unpacked(layout, manifest, tmp_path / "root") == {"a/x": b"2"}


def test_a_twin_is_the_same_file_at_two_paths(layout: Layout, tmp_path: Path) -> None:
    manifest = stack(layout, {"a/one.so": File(b"elf", executable=True), "b/two.so": Twin("a/one.so", executable=True)})
    there = contents.read(layout, manifest, hashed=lambda _: True)
    assert there.entries["b/two.so"].sha256 == there.entries["a/one.so"].sha256
    assert there.unpacked == (3,)
    rootfs.unpack(layout, manifest.layers, tmp_path / "root")
    one, two = ((tmp_path / "root" / name).stat() for name in ("a/one.so", "b/two.so"))
    assert one.st_ino == two.st_ino
    assert stat.S_IMODE(two.st_mode) == 0o755


def test_links_are_followed_inside_of_the_image(layout: Layout, tmp_path: Path) -> None:
    manifest = stack(layout, {"usr/lib/x": File(b"1"), "lib": Link("/usr/lib"), "etc/l": Link("../lib/x")})
    there = contents.read(layout, manifest)
    assert there.resolved("/lib/x") == there.resolved("etc/l") == "usr/lib/x"
    rootfs.unpack(layout, manifest.layers, tmp_path / "root")
    assert rootfs.inside(tmp_path / "root", "/etc/l") == tmp_path / "root" / "usr" / "lib" / "x"


def test_a_file_behind_a_link_of_a_lower_layer_stays_inside_of_the_directory(layout: Layout, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    manifest = stack(layout, {"trap": Link(str(outside))}, raw(layout, ("trap/x", b"1", {})))
    rootfs.unpack(layout, manifest.layers, tmp_path / "root")
    assert list(outside.iterdir()) == []
    assert (tmp_path / "root" / str(outside).lstrip("/") / "x").read_bytes() == b"1"


@pytest.mark.parametrize("name", ["../x", "a/../../x"])
def test_a_name_that_climbs_out_is_refused(layout: Layout, tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageInvalid, match="cannot stand in a layer"):
        rootfs.unpack(layout, [raw(layout, (name, b"1", {}))], tmp_path / "root")


def test_links_without_end_are_refused(layout: Layout, tmp_path: Path) -> None:
    manifest = stack(layout, {"a": Link("/b"), "b": Link("/a")}, raw(layout, ("a/x", b"1", {})))
    with pytest.raises(ImageInvalid, match="no end"):
        contents.read(layout, manifest).resolved("a/x")
    with pytest.raises(ImageInvalid, match="no end"):
        rootfs.unpack(layout, manifest.layers, tmp_path / "root")


def test_devices_are_left_out(layout: Layout, tmp_path: Path) -> None:
    manifest = stack(layout, raw(layout, ("dev/null", b"", {"type": tarfile.CHRTYPE})))
    assert contents.read(layout, manifest).entries["dev/null"].kind == "other"
    assert unpacked(layout, manifest, tmp_path / "root") == {}


def test_a_layer_that_is_not_what_the_config_says_is_refused(layout: Layout) -> None:
    manifest = stack(layout, {"a": File(b"1")})
    other = layers.write({"a": File(b"2")}, layout).diff_id
    with pytest.raises(ImageInvalid, match="the config says"):
        contents.read(layout, manifest, [other])
    with pytest.raises(ImageInvalid, match="1 layers, the config 2"):
        contents.read(layout, manifest, [other, other])


def test_files_come_out_as_a_container_would_read_them(layout: Layout, tmp_path: Path) -> None:
    manifest = stack(
        layout, {"opt/r/a": File(b"1"), "opt/r/b/c": File(b"2"), "etc/x": File(b"3")}, {"opt/r/a": File(b"4")}
    )
    there = contents.read(layout, manifest)
    contents.extract(layout, manifest, there, "/opt/r", tmp_path / "out")
    assert (tmp_path / "out" / "a").read_bytes() == b"4"
    assert (tmp_path / "out" / "b" / "c").read_bytes() == b"2"
    assert not (tmp_path / "out" / "x").exists()


def test_cuda_libraries_are_seen_by_their_names(layout: Layout) -> None:
    manifest = stack(
        layout, {"v/libcudart.so.12": File(b""), "v/libnccl.so.2": File(b""), "v/libcudinary.txt": File(b"")}
    )
    assert contents.cuda(contents.read(layout, manifest)) == ("v/libcudart.so.12", "v/libnccl.so.2")

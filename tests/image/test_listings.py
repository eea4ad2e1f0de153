"""Listings of layers: what is listed, and when what was kept is taken."""

import hashlib
from pathlib import Path

import pytest

from bedside.errors import ImageInvalid
from bedside.image import layers, listings
from bedside.image import layout as layouts
from bedside.image.layers import Directory, File, Layer, Link
from bedside.image.layout import Layout
from bedside.image.listings import Listing, ListingCache
from bedside.image.reference import Digest


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return layouts.create(tmp_path / "layout")


@pytest.fixture
def layer(layout: Layout) -> Layer:
    entries = {"a/code.py": File(b"code"), "a/RECORD": File(b"rows"), "l": Link("a"), "log": Directory(7, 0o700)}
    return layers.write(entries, layout)


@pytest.fixture
def cache(tmp_path: Path) -> ListingCache:
    return ListingCache(tmp_path / "cache" / "listings")


def everything(_: str) -> bool:
    return True


def record(path: str) -> bool:
    return path.endswith("RECORD")


def listed(cache: ListingCache, layout: Layout, layer: Layer) -> Listing:
    return cache(layout, layer.descriptor, layer.diff_id, hashed=everything, kept=record)


def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on reading a layer fails: what is answered was kept."""

    def fails(*_: object, **__: object) -> Listing:
        raise AssertionError("the layer was read")

    monkeypatch.setattr(listings, "read", fails)


def kept(cache: ListingCache) -> Path:
    (path,) = cache.directory.iterdir()
    return path


def test_every_entry_is_listed_with_what_was_asked_for(cache: ListingCache, layout: Layout, layer: Layer) -> None:
    found = {item.name: item for item in listed(cache, layout, layer).members}
    assert list(found) == ["a", "a/RECORD", "a/code.py", "l", "log"]
    assert found["a/code.py"].sha256 == hashlib.sha256(b"code").hexdigest()
    assert (found["a/code.py"].data, found["a/RECORD"].data) == (None, b"rows")
    assert (found["l"].kind, found["l"].target) == ("link", "a")
    assert (found["log"].kind, found["log"].user, found["log"].mode) == ("directory", 7, 0o700)


def test_a_layer_is_read_once(
    cache: ListingCache, layout: Layout, layer: Layer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = listed(cache, layout, layer)
    unread(monkeypatch)
    assert listed(cache, layout, layer) == first


def test_who_asks_for_more_than_was_kept_reads_the_layer_again(
    cache: ListingCache, layout: Layout, layer: Layer, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache(layout, layer.descriptor, None, hashed=lambda _: False, kept=lambda _: False)
    assert listed(cache, layout, layer) == listings.read(
        layout, layer.descriptor, layer.diff_id, hashed=everything, kept=record
    )
    unread(monkeypatch)
    listed(cache, layout, layer)
    with pytest.raises(AssertionError, match="was read"):
        cache(layout, layer.descriptor, layer.diff_id, hashed=everything, kept=everything)


def test_a_blob_that_is_not_what_its_digest_says_is_found_although_its_listing_was_kept(
    cache: ListingCache, layout: Layout, layer: Layer
) -> None:
    listed(cache, layout, layer)
    path = layout.path(layer.descriptor.digest)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ImageInvalid, match="have another digest"):
        listed(cache, layout, layer)


def test_a_config_that_says_another_diff_id_is_found_although_the_listing_was_kept(
    cache: ListingCache, layout: Layout, layer: Layer
) -> None:
    listed(cache, layout, layer)
    other = Digest("sha256:" + "0" * 64)
    with pytest.raises(ImageInvalid, match="the config says"):
        cache(layout, layer.descriptor, other, hashed=everything, kept=record)


@pytest.mark.parametrize("place", ["file", "directory"])
@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_what_others_could_have_written_is_not_taken(
    cache: ListingCache, layout: Layout, layer: Layer, monkeypatch: pytest.MonkeyPatch, place: str, mode: int
) -> None:
    listed(cache, layout, layer)
    (kept(cache) if place == "file" else cache.directory).chmod(mode)
    unread(monkeypatch)
    with pytest.raises(AssertionError, match="was read"):
        listed(cache, layout, layer)


def test_what_another_user_owns_is_not_taken(
    cache: ListingCache, layout: Layout, layer: Layer, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed(cache, layout, layer)
    monkeypatch.setattr("os.geteuid", lambda: 4711)
    unread(monkeypatch)
    with pytest.raises(AssertionError, match="was read"):
        listed(cache, layout, layer)


def test_a_link_to_a_listing_is_not_taken(
    cache: ListingCache, layout: Layout, layer: Layer, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed(cache, layout, layer)
    elsewhere = cache.directory.with_name("elsewhere")
    path = kept(cache)
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    unread(monkeypatch)
    with pytest.raises(AssertionError, match="was read"):
        listed(cache, layout, layer)


@pytest.mark.parametrize(("whole", "other"), [(b"a/code.py", b"a/c0de.py"), (b"rows", b"rowz"), (b"a/code.py", b"a/")])
def test_a_listing_that_is_not_as_it_was_written_is_not_taken(
    cache: ListingCache, layout: Layout, layer: Layer, whole: bytes, other: bytes
) -> None:
    first, data = listed(cache, layout, layer), kept(cache).read_bytes()
    assert data.count(whole) == 1
    kept(cache).write_bytes(data.replace(whole, other))
    assert listed(cache, layout, layer) == first


def test_nobody_else_can_read_or_write_what_is_kept_and_no_scratch_stays(
    cache: ListingCache, layout: Layout, layer: Layer
) -> None:
    listed(cache, layout, layer)
    assert cache.directory.stat().st_mode & 0o777 == 0o700
    assert kept(cache).stat().st_mode & 0o777 == 0o600


def test_a_disk_that_takes_no_listing_takes_nothing_away(cache: ListingCache, layout: Layout, layer: Layer) -> None:
    cache.directory.parent.write_text("a file where the directory should be")
    assert len(listed(cache, layout, layer).members) == 5

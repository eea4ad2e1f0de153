"""Layers that were built before."""

from pathlib import Path

import pytest

from bedside.image import layers
from bedside.image import layout as layouts
from bedside.image.layer_cache import LayerCache
from bedside.image.layers import File, Layer
from bedside.image.layout import Layout

KEY = "a" * 64


@pytest.fixture
def cache(tmp_path: Path) -> LayerCache:
    return LayerCache(layouts.create(tmp_path / "cache"))


def build(layout: Layout) -> Layer:
    return layers.write({"x": File(b"1")}, layout)


def fail(_: Layout) -> Layer:
    raise AssertionError("built again")


def test_a_layer_is_built_once_for_one_key(cache: LayerCache) -> None:
    first, again = cache.layer(KEY, build), cache.layer(KEY, fail)
    assert (first[1], again[1]) == (False, True)
    assert first[0] == again[0]


def test_another_key_is_another_layer(cache: LayerCache) -> None:
    cache.layer(KEY, build)
    assert not cache.layer("b" * 64, build)[1]


def test_a_layer_whose_blob_is_gone_is_built_again(cache: LayerCache) -> None:
    layer, _ = cache.layer(KEY, build)
    cache.layout.path(layer.descriptor.digest).unlink()
    assert cache.layer(KEY, build) == (layer, False)


def test_an_entry_that_was_cut_off_is_one_that_is_not_there(cache: LayerCache) -> None:
    layer, _ = cache.layer(KEY, build)
    entry = cache.layout.directory / "keys" / f"{KEY}.json"
    entry.write_bytes(entry.read_bytes()[:20])
    assert cache.layer(KEY, build) == (layer, False)


def test_a_build_that_fails_leaves_no_entry(cache: LayerCache) -> None:
    with pytest.raises(AssertionError):
        cache.layer(KEY, fail)
    assert not cache.layer(KEY, build)[1]

import pytest

from bedside.errors import ImageInvalid, TagTaken
from bedside.image import oci, shipment
from bedside.image.oci import Descriptor, Manifest
from bedside.image.reference import Digest, Reference
from bedside.image.shipment import Stored

TARGET = Reference("example.org", "icu")
LAYERS = tuple(oci.describe(data, oci.LAYER) for data in (b"base", b"base", b"code"))
CONFIG = oci.describe(b"{}", oci.CONFIG)
A, B = Digest.of(b"a"), Digest.of(b"b")


def _stored(manifest: Manifest) -> Stored:
    data = oci.encode(manifest)
    return Stored(oci.describe(data, oci.MANIFEST), data)


def test_each_blob_is_brought_once_layers_before_the_config() -> None:
    planned = shipment.plan([_stored(Manifest(media_type=oci.MANIFEST, config=CONFIG, layers=LAYERS))], TARGET)
    assert planned.blobs == (LAYERS[0], LAYERS[2], CONFIG)
    assert planned.missing({LAYERS[0].digest}) == (LAYERS[2], CONFIG)


def test_a_layer_that_is_somewhere_else_is_refused() -> None:
    foreign = Descriptor(media_type=oci.LAYER, digest=A, size=1, urls=("https://elsewhere.example/x",))
    with pytest.raises(ImageInvalid, match="not distributed"):
        shipment.needed(Manifest(media_type=oci.MANIFEST, config=CONFIG, layers=(foreign,)))


@pytest.mark.parametrize(
    ("base", "source"),
    [
        ("example.org/bases/python:3.11", "bases/python"),
        ("example.org/icu:1", None),
        ("other.org/bases/python:3.11", None),
        ("python:3.11-slim", None),
    ],
)
def test_layers_are_mounted_from_the_base_of_the_same_registry(base: str, source: str | None) -> None:
    assert shipment.mount_source({"org.opencontainers.image.base.name": base}, TARGET) == source


@pytest.mark.parametrize("tag", ["1.0.0", "v1.2.3", "1.0.0-rc.1", "1.0.0_build.7"])
def test_a_version_stays_where_it_is(tag: str) -> None:
    assert shipment.is_version(tag)
    assert shipment.may_name(tag, None, A, move=False)
    assert not shipment.may_name(tag, A, A, move=False)
    with pytest.raises(TagTaken, match=tag) as refused:
        shipment.may_name(tag, B, A, move=True)
    assert "Raise [model] version" in refused.value.remedy


@pytest.mark.parametrize("tag", ["latest", "candidate", "1.0", "main-1.0.0"])
def test_another_tag_moves_when_told(tag: str) -> None:
    assert shipment.may_name(tag, B, A, move=True)
    with pytest.raises(TagTaken):
        shipment.may_name(tag, B, A, move=False)

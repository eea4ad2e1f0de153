"""What stands beside an image, in a layout and in a registry: one behaviour in both."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.image import simulated_registry
from tests.image.images import image
from tests.image.simulated_registry import matching, status

from bedside.errors import ImageInvalid, RegistryFailed, UsageError
from bedside.image import attached, oci
from bedside.image import layout as layouts
from bedside.image.attached import InLayout, InRegistry, Place
from bedside.image.layout import Layout
from bedside.image.oci import Index, Manifest
from bedside.image.reference import Reference
from bedside.image.registry import Repository
from bedside.image.transport import Session
from bedside.stages.push import push


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return layouts.create(tmp_path / "images")


@pytest.fixture
def registry() -> Iterator[simulated_registry.Registry]:
    with simulated_registry.running() as started:
        yield started


@pytest.fixture
def repository(registry: simulated_registry.Registry) -> Iterator[Repository]:
    with Session(registry.host, lambda: None, plain_http=True, pause=lambda _: None) as session:
        yield Repository(session, "icu")


@pytest.fixture(params=["layout", "registry", "registry without referrers"])
def place(request: pytest.FixtureRequest, layout: Layout, registry: simulated_registry.Registry) -> Iterator[Place]:
    found = image(layout)
    if request.param == "layout":
        yield InLayout(layout, found)
        return
    registry.referrers_api = "without" not in request.param
    repository: Repository = request.getfixturevalue("repository")
    push(layout, found, Reference(registry.host, "icu", "1.0.0"), repository)
    yield InRegistry(repository, repository.get("1.0.0"))


def signatures(place: Place, *payloads: bytes) -> Manifest:
    layers = tuple(oci.describe(data, "application/x-payload", annotations={"n": str(len(data))}) for data in payloads)
    config = oci.describe(b"{}", oci.CONFIG)
    manifest = Manifest(media_type=oci.MANIFEST, config=config, layers=layers)
    contents = tuple((attached.bare(layer), data) for layer, data in zip(layers, payloads, strict=True))
    place.name("sig", manifest, ((config, b"{}"), *contents))
    return manifest


def test_beside_a_new_image_stands_nothing(place: Place) -> None:
    assert tuple(place.beside()) == ()


def test_what_is_attached_is_found_and_read_and_once_only_however_often_it_is_attached(place: Place) -> None:
    for _ in range(2):
        place.attach(*attached.artifact(place.descriptor, "application/x-sbom", b"parts", "text/plain", {"a": "b"}))
    (found,) = place.beside()
    assert (found.manifest.artifact_type, found.manifest.annotations, found.suffix) == (
        "application/x-sbom",
        {"a": "b"},
        None,
    )
    assert place.read(found.manifest.layers[0]) == b"parts"


def test_what_is_named_by_a_tag_is_found_and_the_newest_has_the_name(place: Place) -> None:
    signatures(place, b"one")
    wanted = signatures(place, b"one", b"second")
    (found,) = place.beside()
    assert (found.suffix, found.manifest) == ("sig", wanted)
    assert [place.read(layer) for layer in found.manifest.layers] == [b"one", b"second"]


def test_what_is_about_another_image_is_not_beside_this_one(layout: Layout) -> None:
    one, other = image(layout, name="one"), image(layout, "model 2", name="other")
    place = InLayout(layout, other)
    place.attach(*attached.artifact(other, "application/x-sbom", b"parts", "text/plain"))
    signatures(place, b"payload")
    assert tuple(InLayout(layout, one).beside()) == ()
    assert len(tuple(place.beside())) == 2


def test_an_image_with_signatures_beside_it_is_still_the_only_image_of_its_layout(layout: Layout) -> None:
    found = image(layout)
    place = InLayout(layout, found)
    place.attach(*attached.artifact(found, "application/x-sbom", b"parts", "text/plain"))
    signatures(place, b"payload")
    assert layout.find().digest == found.digest


def test_what_was_attached_in_the_layout_goes_with_a_push(layout: Layout, repository: Repository) -> None:
    found = image(layout)
    local = InLayout(layout, found)
    local.attach(*attached.artifact(found, "application/x-sbom", b"parts", "text/plain"))
    signatures(local, b"payload")
    push(layout, found, Reference(repository.session.host, "icu", "1.0.0"), repository)
    remote = InRegistry(repository, repository.get("1.0.0"))
    assert [item.manifest for item in remote.beside()] == [item.manifest for item in local.beside()]


def test_a_registry_that_fails_while_something_is_attached_lists_nothing_of_it(
    layout: Layout, registry: simulated_registry.Registry, repository: Repository
) -> None:
    push(layout, image(layout), Reference(registry.host, "icu", "1.0.0"), repository)
    place = InRegistry(repository, repository.get("1.0.0"))
    registry.trouble.append(matching("PUT", "/manifests/", status(403, "DENIED")))
    with pytest.raises(RegistryFailed):
        place.attach(*attached.artifact(place.descriptor, "application/x-sbom", b"parts", "text/plain"))
    assert tuple(place.beside()) == ()


def test_an_index_of_several_platforms_is_refused(layout: Layout) -> None:
    index = layout.write_document(Index(media_type=oci.INDEX, manifests=(image(layout),)))
    with pytest.raises(UsageError, match="several platforms"):
        InLayout(layout, index)


def test_more_than_anybody_needs_beside_an_image_is_refused(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    found = image(layout)
    place = InLayout(layout, found)
    monkeypatch.setattr(attached, "MOST", 3)
    for count in range(3):
        place.attach(*attached.artifact(found, "application/x-sbom", b"%d" % count, "text/plain"))
    with pytest.raises(ImageInvalid, match="at most 3"):
        tuple(place.beside())


def test_a_blob_that_is_too_large_is_not_read(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    found = image(layout)
    monkeypatch.setattr(attached, "LARGEST", 4)
    place = InLayout(layout, found)
    with pytest.raises(ImageInvalid, match="at most 4"):
        place.read(place.manifest.layers[0])

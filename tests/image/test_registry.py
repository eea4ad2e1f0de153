"""Reading a registry, and attaching to what is in it; a registry that breaks and one that lies."""

import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from tests.image.images import LARGE, LINUX, artifact, image
from tests.image.simulated_registry import (
    Handler,
    Registry,
    altered,
    drop_unread,
    matching,
    numbered,
    running,
    status,
)
from tests.image.test_layout import disk_of

from bedside.errors import BedsideError, ImageInvalid, RegistryFailed, RegistryInterrupted, ToolFailed
from bedside.image import layout as layouts
from bedside.image import oci
from bedside.image.layout import Layout
from bedside.image.oci import Descriptor, Platform
from bedside.image.pulling import pull
from bedside.image.reference import Digest, Reference
from bedside.image.registry import Repository, referrers_tag
from bedside.image.shipment import Stored
from bedside.image.transport import Session
from bedside.stages.push import push

NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
ARM = Platform(architecture="arm64", os="linux")


@pytest.fixture
def registry() -> Iterator[Registry]:
    with running() as started:
        yield started


@pytest.fixture
def repository(registry: Registry) -> Iterator[Repository]:
    with Session(registry.host, lambda: None, trust=NOBODY, plain_http=True, pause=lambda _: None) as session:
        yield Repository(session, "icu")


@pytest.fixture
def source(tmp_path: Path) -> Layout:
    return layouts.create(tmp_path / "source")


@pytest.fixture
def target(tmp_path: Path) -> Layout:
    return layouts.create(tmp_path / "target")


@pytest.fixture
def pushed(registry: Registry, repository: Repository, source: Layout) -> Descriptor:
    what = image(source)
    push(source, what, Reference(registry.host, "icu", "1.0.0"), repository)
    registry.seen.clear()
    return what


def _reference(registry: Registry, tag: str = "1.0.0") -> Reference:
    return Reference(registry.host, "icu", tag)


def _files(layout: Layout) -> set[Path]:
    return {path for path in layout.directory.rglob("*") if path.is_file()}


def test_an_image_is_pulled_as_it_was_pushed(
    registry: Registry, repository: Repository, pushed: Descriptor, target: Layout
) -> None:
    told: list[int] = []
    pulled = pull(repository, _reference(registry), target, LINUX, name="base", on_bytes=told.append)
    manifest = target.manifest(target.find("base"))
    assert pulled.digest == pushed.digest
    assert b"".join(target.chunks(manifest.layers[0])) == LARGE
    assert sum(told) == sum(blob.size for blob in (*manifest.layers, manifest.config))


def test_what_is_there_is_not_pulled_again(
    registry: Registry, repository: Repository, pushed: Descriptor, target: Layout
) -> None:
    pull(repository, _reference(registry), target, LINUX)
    registry.seen.clear()
    pull(repository, repository.reference(pushed.digest), target, LINUX)
    assert [item.path for item in registry.seen] == [f"/v2/icu/manifests/{pushed.digest}"]


def test_the_image_of_the_platform_is_pulled_from_an_index(
    registry: Registry, repository: Repository, source: Layout, target: Layout
) -> None:
    children = tuple(
        msgspec.structs.replace(image(source, str(platform), str(platform), platform=platform), platform=platform)
        for platform in (ARM, LINUX)
    )
    index = source.write_document(oci.Index(media_type=oci.INDEX, manifests=children))
    push(source, index, _reference(registry), repository)
    assert pull(repository, _reference(registry), target, LINUX).digest == children[1].digest
    with pytest.raises(ImageInvalid, match="linux/amd64, linux/arm64"):
        pull(repository, _reference(registry), target, Platform(architecture="s390x", os="linux"))


def test_an_image_for_another_platform_is_refused_before_its_layers_come(
    registry: Registry, repository: Repository, pushed: Descriptor, target: Layout
) -> None:
    with pytest.raises(ImageInvalid, match="is for linux/amd64; linux/arm64 is needed"):
        pull(repository, _reference(registry), target, ARM)
    assert len([item for item in registry.seen if "/blobs/" in item.path]) == 1
    assert target.index().manifests == ()


@pytest.mark.parametrize("act", [drop_unread, status(500), status(429), altered(bytes, cut=3)])
def test_one_failure_at_any_request_of_a_pull_is_overcome(
    registry: Registry, repository: Repository, pushed: Descriptor, tmp_path: Path, act: Callable[[Handler], None]
) -> None:
    for number in range(5):
        registry.trouble[:] = [numbered(number, act)]
        target = layouts.create(tmp_path / f"target-{number}")
        assert pull(repository, _reference(registry), target, LINUX, name="base").digest == pushed.digest
        assert b"".join(target.chunks(target.manifest(target.find("base")).layers[0])) == LARGE


def test_a_layer_that_breaks_off_goes_on_where_it_was(
    registry: Registry, repository: Repository, pushed: Descriptor, target: Layout
) -> None:
    registry.trouble.append(matching("GET", str(Digest.of(LARGE)), altered(bytes, cut=len(LARGE) // 2)))
    pull(repository, _reference(registry), target, LINUX)
    ranges = [item.headers.get("Range") for item in registry.seen if Digest.of(LARGE) in item.path]
    assert ranges[0] is None
    assert (ranges[1] or "").startswith("bytes=")


@pytest.mark.parametrize("part", ["manifests/", str(Digest.of(LARGE))])
def test_bytes_that_lie_are_refused_and_leave_nothing(
    registry: Registry, repository: Repository, pushed: Descriptor, target: Layout, part: str
) -> None:
    before = _files(target)
    registry.trouble.append(matching("GET", part, altered(lambda body: body[:-1] + b"~"), times=100))
    with pytest.raises(ImageInvalid):
        pull(repository, repository.reference(pushed.digest), target, LINUX, name="base")
    small = {target.path(blob.digest) for blob in (*_manifest(registry).layers, _manifest(registry).config)}
    assert _files(target) - before <= small - {target.path(Digest.of(LARGE))}
    registry.trouble.clear()
    assert pull(repository, repository.reference(pushed.digest), target, LINUX, name="base")


def _manifest(registry: Registry) -> oci.Manifest:
    held = registry.repository("icu")
    return oci.decode_manifest(held.manifests[held.tags["1.0.0"]][1])


@pytest.mark.parametrize("change", [lambda body: body[:-5], lambda body: body + b"more"])
def test_a_layer_of_another_length_is_refused(
    registry: Registry,
    repository: Repository,
    pushed: Descriptor,
    target: Layout,
    change: Callable[[bytes], bytes],
) -> None:
    registry.trouble.append(matching("GET", str(Digest.of(LARGE)), altered(change), times=100))
    with pytest.raises(ImageInvalid, match="bytes"):
        pull(repository, _reference(registry), target, LINUX)


def test_a_digest_in_the_header_that_the_bytes_have_not_is_refused(
    registry: Registry, repository: Repository, pushed: Descriptor
) -> None:
    held = registry.repository("icu")
    media_type, data = held.manifests[held.tags["1.0.0"]]
    held.manifests[pushed.digest] = (media_type, data.replace(b"amd64", b"arm64") + b"\n")
    with pytest.raises(ImageInvalid, match="that its bytes have not"):
        repository.get("1.0.0")


def test_a_layer_that_never_comes_is_said(
    registry: Registry, repository: Repository, pushed: Descriptor, target: Layout
) -> None:
    registry.trouble.append(matching("GET", "/blobs/", drop_unread, times=100))
    with pytest.raises(RegistryInterrupted, match="dropped the connection when it should give sha256"):
        pull(repository, _reference(registry), target, LINUX, name="base")
    assert target.index().manifests == ()


def test_a_full_disk_is_said_and_the_pull_repeated(
    registry: Registry, repository: Repository, pushed: Descriptor, target: Layout
) -> None:
    with disk_of(1 << 20), pytest.raises(ToolFailed, match="cannot be written"):
        pull(repository, _reference(registry), target, LINUX, name="base")
    assert target.index().manifests == ()
    assert not list(target.directory.glob(".*"))
    assert pull(repository, _reference(registry), target, LINUX, name="base").digest == pushed.digest


def test_what_is_not_there_is_said(repository: Repository, pushed: Descriptor) -> None:
    assert repository.find("2.0.0") is None
    with pytest.raises(RegistryFailed, match=r"has no 2\.0\.0 in icu"):
        repository.get("2.0.0")


def test_a_manifest_of_another_kind_is_refused(registry: Registry, repository: Repository) -> None:
    held = registry.repository("icu")
    held.manifests["old"] = ("application/vnd.docker.distribution.manifest.v1+prettyjws", b"{}")
    with pytest.raises(BedsideError):
        repository.get("old")


def test_a_document_without_end_is_not_kept_in_memory(
    registry: Registry, repository: Repository, pushed: Descriptor
) -> None:
    registry.trouble.append(matching("GET", "manifests", altered(lambda _: b" " * (oci.LARGEST_DOCUMENT + 1))))
    with pytest.raises(RegistryFailed, match="more than 4194304 bytes"):
        repository.get("1.0.0")


# What is attached.


@pytest.mark.parametrize("api", [True, False])
def test_what_is_attached_is_listed(
    registry: Registry, repository: Repository, source: Layout, pushed: Descriptor, api: bool
) -> None:
    registry.referrers_api = api
    kinds = (("one", "a/sbom"), ("two", "a/signature"), ("three", "a/sbom"))
    made = [artifact(source, pushed, text, kind).digest for text, kind in kinds]
    push(source, pushed, _reference(registry), repository)
    assert {item.digest for item in repository.referrers(pushed.digest)} == set(made)
    assert [item.digest for item in repository.referrers(pushed.digest, "a/signature")] == [made[1]]
    assert (referrers_tag(pushed.digest) in registry.repository("icu").tags) is not api


def test_nothing_is_attached_twice(
    registry: Registry, repository: Repository, source: Layout, pushed: Descriptor
) -> None:
    what = artifact(source, pushed, "one")
    for _ in range(2):
        push(source, pushed, _reference(registry), repository)
    assert [item.digest for item in repository.referrers(pushed.digest)] == [what.digest]


def test_somebody_who_attaches_at_the_same_time_is_not_lost(
    registry: Registry, repository: Repository, source: Layout, pushed: Descriptor
) -> None:
    tag = referrers_tag(pushed.digest)
    mine = artifact(source, pushed, "mine")
    other = oci.describe(b"other", oci.MANIFEST)

    def overwritten(handler: Handler) -> None:
        """Another writer, who read the list before, writes his right after."""
        handler.route(handler.path, {})
        data = oci.encode(oci.Index(media_type=oci.INDEX, manifests=(other,)))
        held = registry.repository("icu")
        held.manifests[Digest.of(data)], held.tags[tag] = (oci.INDEX, data), Digest.of(data)

    registry.trouble.append(matching("PUT", f"manifests/{tag}", overwritten))
    push(source, pushed, _reference(registry), repository)
    assert {item.digest for item in repository.referrers(pushed.digest)} == {mine.digest, other.digest}


def test_nothing_attached_is_an_empty_list(repository: Repository, pushed: Descriptor) -> None:
    assert repository.referrers(pushed.digest) == ()


def test_an_image_is_attached_to_nothing(repository: Repository, source: Layout, pushed: Descriptor) -> None:
    with pytest.raises(ImageInvalid, match="about no other manifest"):
        repository.attach(Stored(pushed, source.read(pushed)))


def test_a_list_of_referrers_that_is_none_is_refused(
    registry: Registry, repository: Repository, pushed: Descriptor
) -> None:
    registry.referrers_api = True
    registry.trouble.append(matching("GET", "referrers", altered(lambda _: json.dumps({"a": 1}).encode())))
    with pytest.raises(ImageInvalid):
        repository.referrers(pushed.digest)

"""The connection to a registry is cut in every phase of a push and a pull, in either direction, once or for good."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.image.images import LINUX, artifact, image
from tests.real_registry.server import Server
from tests.real_registry.wire import Way, Wire, laid

from bedside.errors import RegistryFailed
from bedside.image import layout as layouts
from bedside.image import oci, pulling, uploading
from bedside.image.layout import Layout
from bedside.image.oci import Descriptor
from bedside.image.reference import Reference
from bedside.image.registry import Repository
from bedside.stages.push import Watch, push

IN_EACH = 20 if os.environ.get("BEDSIDE_FAULTS") == "long" else 1
"""Places where each phase is cut."""


@dataclass(frozen=True)
class Cut:
    """After how many bytes, and in which phase that is."""

    after: int
    phase: str


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    with laid(Wire(server.port)) as running:
        yield running


@pytest.fixture
def what(layout: Layout) -> Descriptor:
    made = image(layout)
    artifact(layout, made, "sbom")
    return made


def _push(
    server: Server, wire: Wire, layout: Layout, what: Descriptor, name: str, watch: Watch | None = None
) -> dict[Way, int]:
    """Push, and return the bytes that were carried by the end."""
    with server.repository(name, wire.port) as repository:
        push(layout, what, Reference(repository.session.host, name, "1.0.0"), repository, watch=watch)
        return dict(wire.carried)


def _cuts(server: Server, wire: Wire, layout: Layout, what: Descriptor, name: str, way: Way) -> list[Cut]:
    """Push once, write down how many bytes each phase ends at, and choose the places in each.

    ``name`` is as long as those that are pushed to then: the same push sends as many bytes.
    """
    begun: list[tuple[str, int]] = []
    wire.cut(way, 1 << 40)
    watch = Watch(step=lambda phase: begun.append((phase, wire.carried[way])))
    last = _push(server, wire, layout, what, name, watch)[way]
    wire.heal()
    ends = [*(at for _, at in begun[1:]), last]
    return [
        Cut(start + (end - start) * (2 * number + 1) // (2 * IN_EACH), phase)
        for (phase, start), end in zip(begun, ends, strict=True)
        for number in range(IN_EACH)
        if end > start
    ]


def _named(repository: Repository, what: Descriptor) -> bool:
    """Whether the tag is there; where it is, it names the image, and everything below the image is there."""
    found = repository.find("1.0.0")
    if found is None:
        return False
    assert found.descriptor.digest == what.digest
    manifest = oci.decode_manifest(found.data)
    assert all(
        uploading.holds(repository.session, repository.name, blob) for blob in (*manifest.layers, manifest.config)
    )
    return True


@pytest.mark.parametrize("way", Way)
def test_cut_for_good_in_any_phase_nothing_is_half_named_and_the_repeat_succeeds(
    server: Server, wire: Wire, layout: Layout, what: Descriptor, repository_name: str, way: Way
) -> None:
    for number, cut in enumerate(_cuts(server, wire, layout, what, f"{repository_name}/first", way)):
        name = f"{repository_name}/{number:05}"
        wire.cut(way, cut.after)
        with pytest.raises(RegistryFailed) as failed:
            _push(server, wire, layout, what, name)
        assert (failed.value.exit_code, "again" in failed.value.remedy) == (4, True)
        wire.heal()
        with server.repository(name) as repository:
            assert not _named(repository, what) or cut.phase == "writing the tag"
            _push(server, wire, layout, what, name)
            assert _named(repository, what)
            assert len(repository.referrers(what.digest)) == 1


@pytest.mark.parametrize("way", Way)
def test_cut_once_in_any_phase_the_push_goes_on_by_itself(
    server: Server, wire: Wire, layout: Layout, what: Descriptor, repository_name: str, way: Way
) -> None:
    for number, cut in enumerate(_cuts(server, wire, layout, what, f"{repository_name}/first", way)):
        wire.cut(way, cut.after, once=True)
        name = f"{repository_name}/{number:05}"
        _push(server, wire, layout, what, name)
        with server.repository(name) as repository:
            assert _named(repository, what)
            assert len(repository.referrers(what.digest)) == 1


def test_a_pull_cut_anywhere_names_nothing_and_the_repeat_succeeds(
    server: Server, wire: Wire, layout: Layout, what: Descriptor, repository_name: str
) -> None:
    _push(server, wire, layout, what, repository_name)
    reference = Reference(server.host, repository_name, digest=what.digest)

    def pull(target: Layout) -> None:
        with server.repository(repository_name, wire.port) as repository:
            pulling.pull(repository, reference, target, LINUX, name="base")

    wire.cut(Way.BACK, 1 << 40)
    pull(layouts.create(layout.directory / "first"))
    total = wire.carried[Way.BACK]
    for number in range(8 * IN_EACH):
        target = layouts.create(layout.directory / str(number))
        wire.cut(Way.BACK, total * number // (8 * IN_EACH) + 1)
        with pytest.raises(RegistryFailed):
            pull(target)
        assert target.index().manifests == ()
        wire.heal()
        pull(target)
        assert target.find("base").digest == what.digest

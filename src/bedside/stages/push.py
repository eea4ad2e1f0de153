"""`bedside push`: an image from a layout to a registry, named only when everything of it is there."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from bedside.errors import RegistryFailed, UsageError
from bedside.image import oci, shipment
from bedside.image.layout import Layout
from bedside.image.oci import Descriptor
from bedside.image.reference import Digest, Reference
from bedside.image.registry import Repository
from bedside.image.shipment import Shipment, Stored
from bedside.image.uploading import Blob, How, Upload, holds


@dataclass(frozen=True, slots=True)
class Moved:
    """A blob of the image, and how it came to be in the repository."""

    blob: Descriptor
    how: How


@dataclass(frozen=True, slots=True)
class Pushed:
    """An image that a registry has, as was read back from it.

    Attributes:
        reference: Host, repository and digest: what manifests name.
        tag: The tag that names it now, ``None`` where none was asked for.
        blobs: Everything below it.
        attached: Digests of the signatures and statements that went with it.
    """

    reference: Reference
    tag: str | None
    blobs: tuple[Moved, ...]
    attached: tuple[Digest, ...]

    @property
    def bytes_sent(self) -> int:
        """Bytes of the blobs that were sent."""
        return sum(item.blob.size for item in self.blobs if item.how is How.SENT)


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told how a push goes: each step, and with each piece the bytes sent further and those to send in all."""

    step: Callable[[str], None] = lambda _: None
    sent: Callable[[int, int], None] = lambda _further, _total: None


def push(
    layout: Layout,
    image: Descriptor,
    target: Reference,
    repository: Repository,
    *,
    move_tag: bool = False,
    watch: Watch | None = None,
) -> Pushed:
    """Bring ``image`` and what is attached to it to ``repository``, and name it ``target``.

    Args:
        layout: Where the image lies.
        image: A manifest or index in it.
        target: Where it goes; with a tag, it is named so; with a digest, it must have it.
        repository: Of ``target``.
        move_tag: Let a tag that is no version go from another image to this one.
        watch: Told how it goes.

    Raises:
        TagTaken: The tag names another image; nothing was sent.
        ImageInvalid: The layout, or the registry, has other bytes than a digest says.
        RegistryFailed: The registry refused something or cannot be reached; the tag is as it was.
    """
    # 1. Read every manifest of the image and of what is attached to it.
    # 2. Ask what the tag names. Another image: refuse, before anything is sent.
    # 3. Send the blobs that the repository has not got.
    # 4. Store the manifests, children before parents, then what is attached, each under its digest.
    # 5. Read the manifests back by digest.
    # 6. Ask about the tag again, write it, and read it back.
    watch = watch or Watch()
    if target.digest not in (None, image.digest):
        raise UsageError(f"the image has the digest {image.digest}; {target.digest} was asked for")
    watch.step("reading the image")  # 1
    main = shipment.plan(_family(layout, image), target)
    extras = tuple(_attached(layout, main, target))
    if main.mount_from is not None:
        repository.session.more_scopes = (f"repository:{main.mount_from}:pull",)
    watch.step("asking the registry")  # 2
    _to_write(repository, target, image.digest, move=move_tag)
    moved = tuple(_send(layout, (main, *(extra for extra, _ in extras)), repository, watch))  # 3
    watch.step("storing the manifests")  # 4
    for stored in main.manifests:
        repository.put(stored)
    for extra, name in extras:
        _put_attached(repository, extra, name)
    watch.step("reading back what was stored")  # 5
    for stored in main.manifests:
        repository.get(stored.descriptor.digest)
    watch.step("writing the tag")  # 6
    _name(repository, target, main.manifests[-1], move=move_tag)
    return Pushed(repository.reference(image.digest), target.tag, moved, tuple(extra.digest for extra, _ in extras))


def _family(layout: Layout, descriptor: Descriptor) -> Iterator[Stored]:
    """Give a manifest after those that it names."""
    if descriptor.media_type in oci.INDEXES:
        for child in layout.index(descriptor).manifests:
            yield from _family(layout, child)
    yield Stored(descriptor, layout.read(descriptor))


def _attached(layout: Layout, main: Shipment, target: Reference) -> Iterator[tuple[Shipment, str | None]]:
    """Give what the layout holds about the image, each after what it is about, and the tag of what has no subject."""
    subjects = {stored.descriptor.digest for stored in main.manifests}
    names = tuple(shipment.signature_names(digest) for digest in subjects)
    waiting = [item for item in layout.index().manifests if item.media_type in oci.MANIFESTS]
    found = True
    while found:
        found = False
        for item in tuple(waiting):
            subject = layout.manifest(item).subject
            name = item.annotations.get(oci.REF_NAME, "")
            about = subject is not None and subject.digest in subjects
            if about or name.startswith(names):
                found = True
                waiting.remove(item)
                subjects.add(item.digest)
                yield shipment.plan(_family(layout, item), target), None if about else name


def _put_attached(repository: Repository, extra: Shipment, name: str | None) -> None:
    if name is None:
        repository.attach(extra.manifests[-1])
    else:
        repository.put(extra.manifests[-1])
        repository.put(extra.manifests[-1], name)


def _send(layout: Layout, shipments: tuple[Shipment, ...], repository: Repository, watch: Watch) -> Iterator[Moved]:
    every = {blob.digest: (blob, item.mount_from) for item in shipments for blob in item.blobs}
    present = {key for key, (blob, _) in every.items() if holds(repository.session, repository.name, blob)}
    total = sum(blob.size for key, (blob, _) in every.items() if key not in present)
    upload = Upload(repository.session, repository.name, lambda further: watch.sent(further, total))
    for digest, (blob, mount_from) in every.items():
        if digest in present:
            yield Moved(blob, How.PRESENT)
            continue
        watch.step(f"sending {digest[:19]}")
        yield Moved(blob, upload.send(Blob(blob, partial(layout.chunks, blob), mount_from)))


def _to_write(repository: Repository, target: Reference, wanted: Digest, *, move: bool) -> bool:
    """Whether the tag has to be written; see `shipment.may_name`."""
    if target.tag is None:
        return False
    before = repository.find(target.tag)
    return shipment.may_name(target.tag, before.descriptor.digest if before else None, wanted, move=move)


def _name(repository: Repository, target: Reference, image: Stored, *, move: bool) -> None:
    if target.tag is None:
        return
    if _to_write(repository, target, image.descriptor.digest, move=move):
        repository.put(image, target.tag)
    named = repository.get(target.tag).descriptor.digest
    if named != image.descriptor.digest:
        raise RegistryFailed(
            f"the tag {target.tag} names {named} right after it was written for {image.descriptor.digest}",
            remedy="Somebody else writes the same tag. Find out who; deploy by digest alone.",
        )

"""An image from a registry into a layout: what a build takes as its base."""

from collections.abc import Callable, Iterator

from bedside.errors import ImageInvalid, UsageError
from bedside.image import oci, shipment
from bedside.image.layout import Layout
from bedside.image.oci import Descriptor, Platform
from bedside.image.reference import Reference
from bedside.image.registry import Repository
from bedside.image.shipment import Stored


def pull(
    repository: Repository,
    reference: Reference,
    layout: Layout,
    platform: Platform,
    *,
    name: str | None = None,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> Descriptor:
    """Bring the image of ``platform`` into ``layout`` and return the descriptor of its manifest.

    Blobs that are in the layout are not fetched again. The image gets its name last, so an interrupted pull leaves
    whole blobs and no name.

    Args:
        repository: Of ``reference``.
        reference: With a digest or a tag; the digest decides where both are given.
        layout: Where it goes.
        platform: Chosen from an index; an image for another platform is refused.
        name: Its name in the layout, or none.
        on_bytes: Told of the bytes that came.

    Raises:
        ImageInvalid: What came is not what its digest says, or not for this platform.
        RegistryFailed: It is not there, or the registry failed.
        ToolFailed: The disk took no more.
    """
    stored = choose(repository, reference, platform)
    manifest = oci.decode_manifest(stored.data, stored.descriptor.media_type)
    for blob in reversed(shipment.needed(manifest)):  # the config first: it is small, and says the platform
        if not layout.holds(blob):
            layout.write_stream(_told(repository.blob(blob), on_bytes), blob)
        if blob is manifest.config and not layout.config(manifest).platform.runs(platform):
            raise ImageInvalid(f"{reference} is for {layout.config(manifest).platform}; {platform} is needed")
    layout.write_stream([stored.data], stored.descriptor)
    layout.add(stored.descriptor, name)
    return stored.descriptor


def pull_one(repository: Repository, reference: Reference, layout: Layout) -> Descriptor:
    """Bring an image into ``layout``, whatever platform it is for.

    Raises:
        UsageError: The reference names images for several platforms.
        ImageInvalid, RegistryFailed, ToolFailed: As `pull`.
    """
    stored = repository.get(reference.digest or reference.tag or "latest")
    if stored.descriptor.media_type in oci.INDEXES:
        raise UsageError(f"{reference} names images for several platforms", remedy="Name one of them by its digest.")
    manifest = oci.decode_manifest(stored.data, stored.descriptor.media_type)
    config = oci.decode_config(b"".join(repository.blob(manifest.config)))
    return pull(repository, reference.at(stored.descriptor.digest), layout, config.platform)


def choose(repository: Repository, reference: Reference, platform: Platform) -> Stored:
    """Return the manifest of ``reference``, or the one for ``platform`` where it names an index."""
    stored = repository.get(reference.digest or reference.tag or "latest")
    if stored.descriptor.media_type in oci.INDEXES:
        index = oci.decode_index(stored.data, stored.descriptor.media_type)
        stored = repository.get(index.for_platform(platform).digest)
    return stored


def _told(chunks: Iterator[bytes], on_bytes: Callable[[int], None]) -> Iterator[bytes]:
    for chunk in chunks:
        on_bytes(len(chunk))
        yield chunk

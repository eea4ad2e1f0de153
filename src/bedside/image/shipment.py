"""What a push has to bring, in which order, and what it may name. Pure.

The order is what makes a push safe to interrupt: blobs, then the manifests that name them, children before parents,
then what is attached, then the tag. Whatever is cut off, nothing in the registry names something that is not there.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from bedside.errors import ImageInvalid, TagTaken
from bedside.image import oci
from bedside.image.oci import Descriptor, Manifest
from bedside.image.reference import Digest, Reference

_BASE_NAME: Final = "org.opencontainers.image.base.name"
"""Annotation that names the base image (image-spec, annotations.md)."""

_VERSION: Final = re.compile(r"v?[0-9]+\.[0-9]+\.[0-9]+(?:[-+_.][0-9A-Za-z.+_-]+)?")


@dataclass(frozen=True, slots=True)
class Stored:
    """A manifest or index as it is stored: its descriptor, and the bytes that it describes."""

    descriptor: Descriptor
    data: bytes


@dataclass(frozen=True, slots=True)
class Shipment:
    """One image or artifact with everything that it names.

    Attributes:
        manifests: Children before parents; the last is the image itself.
        blobs: Each once, the layers of a manifest from the base up, then its config.
        mount_from: Repository of the same registry that may have some of the blobs.
    """

    manifests: tuple[Stored, ...]
    blobs: tuple[Descriptor, ...]
    mount_from: str | None = None

    @property
    def digest(self) -> Digest:
        """Digest of the image itself."""
        return self.manifests[-1].descriptor.digest

    def missing(self, present: Iterable[Digest]) -> tuple[Descriptor, ...]:
        """Return the blobs that are not among ``present``, in the order in which they are sent."""
        there = frozenset(present)
        return tuple(blob for blob in self.blobs if blob.digest not in there)


def plan(stored: Iterable[Stored], target: Reference) -> Shipment:
    """Return what has to be brought for ``stored``, children before parents, to ``target``.

    Raises:
        ImageInvalid: A manifest cannot be read, or has layers that are not distributed with it.
    """
    manifests = tuple(stored)
    blobs: dict[Digest, Descriptor] = {}
    base: str | None = None
    for item in manifests:
        if item.descriptor.media_type in oci.INDEXES:
            continue
        manifest = oci.decode_manifest(item.data, item.descriptor.media_type)
        base = base or mount_source(manifest.annotations, target)
        for blob in needed(manifest):
            blobs.setdefault(blob.digest, blob)
    return Shipment(manifests, tuple(blobs.values()), base)


def needed(manifest: Manifest) -> tuple[Descriptor, ...]:
    """Return the blobs that ``manifest`` names: layers from the base up, then the config.

    Raises:
        ImageInvalid: A layer has to be fetched from somewhere else.
    """
    for layer in manifest.layers:
        if layer.urls or "foreign" in layer.media_type or "nondistributable" in layer.media_type:
            raise ImageInvalid(
                f"the layer {layer.digest} is not distributed with its image",
                remedy="Take a base image whose layers its registry has.",
            )
    return (*manifest.layers, manifest.config)


def mount_source(annotations: Mapping[str, str], target: Reference) -> str | None:
    """Return the repository of the base image where it is in the same registry, and not the same one."""
    name = annotations.get(_BASE_NAME)
    if name is None:
        return None
    base = Reference.parse(name)
    return base.repository if base.host == target.host and base.repository != target.repository else None


def signature_names(digest: Digest) -> str:
    """Return how the tags begin under which signatures of ``digest`` are kept by name, without a subject."""
    return f"{digest.algorithm}-{digest.hex}."


def is_version(tag: str) -> bool:
    """Whether ``tag`` reads as a version (SemVer, a leading ``v`` allowed) and so stands for one image for ever."""
    return _VERSION.fullmatch(tag) is not None


def may_name(tag: str, before: Digest | None, wanted: Digest, *, move: bool) -> bool:
    """Decide what happens to ``tag``, which names ``before``; return whether it has to be written.

    Args:
        tag: The tag.
        before: What it names now, ``None`` where it names nothing.
        wanted: What it shall name.
        move: Whether a tag that is no version may go from one image to another.

    Raises:
        TagTaken: It names another image, and is not to be moved.
    """
    if before is None or before == wanted:
        return before is None
    if not is_version(tag) and move:
        return True
    raise TagTaken(
        f"the tag {tag} names {before} already, and this image is {wanted}",
        remedy=""
        if is_version(tag)
        else "Choose another tag; or move this one with --move-tag, which nothing deployed by digest will notice.",
    )

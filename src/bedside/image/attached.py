"""What stands beside an image, in a layout or in a registry: one way to read it, one way to add to it.

Two kinds: artifacts whose manifest names the image as its subject (OCI 1.1), and manifests that are found by a tag
made of the image's digest, ``sha256-<hex>.sig``, as cosign has kept them since before there were subjects.
Adding is safe to interrupt: blobs first, then the manifest, then what lists or names it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import msgspec

from bedside.errors import ImageInvalid, UsageError
from bedside.image import oci
from bedside.image.layout import Layout
from bedside.image.oci import Descriptor, Manifest
from bedside.image.reference import Digest, Reference
from bedside.image.registry import Repository
from bedside.image.shipment import Stored, signature_names
from bedside.image.uploading import Blob, Upload, holds

SUFFIXES: Final = ("sig", "att")
"""How the tags of signatures and of signed statements end."""

MOST: Final = 200
"""Manifests beside one image that are read; more were put there by somebody who means harm, or by a broken job."""

LARGEST: Final = 32 << 20
"""Bytes of the largest blob that is read from beside an image."""

Contents: TypeAlias = tuple[tuple[Descriptor, bytes], ...]
"""The blobs that a manifest names, with their bytes."""


@dataclass(frozen=True, slots=True)
class Beside:
    """A manifest that stands beside an image.

    Attributes:
        descriptor: Of it.
        manifest: What it says.
        suffix: ``sig`` or ``att`` where it is found by its tag; ``None`` where it names the image as its subject.
    """

    descriptor: Descriptor
    manifest: Manifest
    suffix: str | None = None


class Place(Protocol):
    """An image where it is."""

    @property
    def descriptor(self) -> Descriptor:
        """Of its manifest."""
        ...

    @property
    def manifest(self) -> Manifest:
        """What its manifest says."""
        ...

    @property
    def repository(self) -> str | None:
        """Host and path of the repository; ``None`` for a layout on disk."""
        ...

    def beside(self) -> Iterator[Beside]:
        """Give everything that stands beside it.

        Raises:
            ImageInvalid: There is more than `MOST`, or a manifest is none.
        """
        ...

    def read(self, blob: Descriptor) -> bytes:
        """Return a blob whole; its digest was compared.

        Raises:
            ImageInvalid: It is larger than `LARGEST`, missing, or not what its digest says.
        """
        ...

    def attach(self, manifest: Manifest, blobs: Contents) -> Digest:
        """Add an artifact whose subject is the image, with the blobs that it names."""
        ...

    def name(self, suffix: str, manifest: Manifest, blobs: Contents) -> Digest:
        """Put a manifest under the tag of this suffix; the one that was there before loses it."""
        ...


class InLayout:
    """An image in a layout on disk."""

    def __init__(self, layout: Layout, descriptor: Descriptor, repository: str | None = None) -> None:
        """Open the image that ``descriptor`` names.

        Args:
            layout: Where it lies.
            descriptor: Of its manifest.
            repository: Where it is about to be pushed, where that is known.
        """
        self._layout, self.repository = layout, repository
        self.descriptor = bare(descriptor)
        self.manifest = layout.manifest(_one_platform(descriptor))

    def beside(self) -> Iterator[Beside]:
        """See Place."""
        prefix = signature_names(self.descriptor.digest)
        for item in _at_most(self._layout.index().manifests):
            if item.media_type not in oci.MANIFESTS:
                continue
            name = item.annotations.get(oci.REF_NAME, "")
            if name.startswith(prefix):
                yield Beside(bare(item), self._layout.manifest(item), name.removeprefix(prefix))
                continue
            manifest = self._layout.manifest(item)
            if manifest.subject is not None and manifest.subject.digest == self.descriptor.digest:
                yield Beside(bare(item), manifest)

    def read(self, blob: Descriptor) -> bytes:
        """See Place."""
        return b"".join(self._layout.chunks(_small(blob)))

    def attach(self, manifest: Manifest, blobs: Contents) -> Digest:
        """See Place."""
        return self._write(manifest, blobs, None)

    def name(self, suffix: str, manifest: Manifest, blobs: Contents) -> Digest:
        """See Place."""
        return self._write(manifest, blobs, f"{signature_names(self.descriptor.digest)}{suffix}")

    def replace(self, kind: str, says: Callable[[bytes], bool], manifest: Manifest, blobs: Contents) -> Digest:
        """Attach an artifact in place of those of the same type whose content ``says`` that they are of one kind."""
        for item in tuple(self.beside()):
            there = item.manifest
            if there.artifact_type == kind and len(there.layers) == 1 and says(self.read(there.layers[0])):
                self._layout.forget(item.descriptor.digest)
        return self.attach(manifest, blobs)

    def _write(self, manifest: Manifest, blobs: Contents, name: str | None) -> Digest:
        for blob, data in blobs:
            self._layout.write_stream([data], blob)
        written = self._layout.write_document(manifest)
        kind = manifest.artifact_type or manifest.layers[0].media_type  # so that nobody takes it for an image
        self._layout.add(msgspec.structs.replace(written, artifact_type=kind), name)
        return written.digest


class InRegistry:
    """An image in a registry."""

    def __init__(self, repository: Repository, stored: Stored) -> None:
        self._repository = repository
        self.descriptor = stored.descriptor
        self.manifest = oci.decode_manifest(stored.data, _one_platform(stored.descriptor).media_type)

    @property
    def repository(self) -> str:
        """See Place."""
        return str(Reference(self._repository.session.host, self._repository.name))

    def beside(self) -> Iterator[Beside]:
        """See Place."""
        for item in _at_most(self._repository.referrers(self.descriptor.digest)):
            if item.media_type in oci.MANIFESTS:
                yield self._read_manifest(self._repository.get(item.digest))
        for suffix in SUFFIXES:
            stored = self._repository.find(f"{signature_names(self.descriptor.digest)}{suffix}")
            if stored is not None:
                yield self._read_manifest(stored, suffix)

    def _read_manifest(self, stored: Stored, suffix: str | None = None) -> Beside:
        manifest = oci.decode_manifest(stored.data, stored.descriptor.media_type)
        return Beside(stored.descriptor, manifest, suffix)

    def read(self, blob: Descriptor) -> bytes:
        """See Place."""
        return b"".join(self._repository.blob(_small(blob)))

    def attach(self, manifest: Manifest, blobs: Contents) -> Digest:
        """See Place."""
        stored = self._send(manifest, blobs)
        self._repository.attach(stored)
        return stored.descriptor.digest

    def name(self, suffix: str, manifest: Manifest, blobs: Contents) -> Digest:
        """See Place."""
        stored = self._send(manifest, blobs)
        self._repository.put(stored, f"{signature_names(self.descriptor.digest)}{suffix}")
        return stored.descriptor.digest

    def _send(self, manifest: Manifest, blobs: Contents) -> Stored:
        session, name = self._repository.session, self._repository.name
        for blob, data in blobs:
            if not holds(session, name, blob):
                Upload(session, name).send(Blob(blob, lambda data=data: iter((data,))))  # type: ignore[misc]
        encoded = oci.encode(manifest)
        return Stored(oci.describe(encoded, manifest.media_type), encoded)


def artifact(
    subject: Descriptor,
    artifact_type: str,
    data: bytes,
    media_type: str,
    annotations: Mapping[str, str] | None = None,
) -> tuple[Manifest, Contents]:
    """Return the manifest of an artifact of one blob about ``subject``, and the blobs that it names. Pure."""
    blob = oci.describe(data, media_type)
    manifest = Manifest(
        media_type=oci.MANIFEST,
        config=oci.EMPTY_CONFIG,
        layers=(blob,),
        annotations=dict(annotations or {}),
        artifact_type=artifact_type,
        subject=bare(subject),
    )
    return manifest, ((oci.EMPTY_CONFIG, b"{}"), (blob, data))


def bare(descriptor: Descriptor) -> Descriptor:
    """Return what names the content, without what one index says about it."""
    return Descriptor(media_type=descriptor.media_type, digest=descriptor.digest, size=descriptor.size)


def _one_platform(descriptor: Descriptor) -> Descriptor:
    if descriptor.media_type in oci.INDEXES:
        raise UsageError(
            f"{descriptor.digest} names images for several platforms",
            remedy="Name one of them by its digest: that is what runs, and what is signed.",
        )
    return descriptor


def _at_most(found: Iterable[Descriptor]) -> tuple[Descriptor, ...]:
    there = tuple(found)
    if len(there) > MOST:
        raise ImageInvalid(
            f"{len(there)} manifests stand beside one image; at most {MOST} are read",
            remedy="Find out who put them there; take what is not needed away.",
        )
    return there


def _small(blob: Descriptor) -> Descriptor:
    if blob.size > LARGEST:
        raise ImageInvalid(f"{blob.digest} beside the image has {blob.size} bytes; at most {LARGEST} are read")
    return blob

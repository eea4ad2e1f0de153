"""An OCI image layout: a directory that holds images by digest (image-spec, image-layout.md).

Bytes are trusted only after their digest was compared. A blob gets its name with one rename after it was written
and compared whole; index.json is replaced whole, under a lock of the directory. So whatever goes wrong on the
way, what has a name is right, and writing again goes on from what is there.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from bedside.errors import ImageInvalid, ToolFailed, UsageError
from bedside.image import oci
from bedside.image.oci import Descriptor, ImageConfig, Index, Manifest, Platform
from bedside.image.reference import Digest
from bedside_runtime import canonical

CHUNK: Final = 1 << 20
"""Bytes that are read at a time."""

_MARKER: Final = "oci-layout"
_VERSION: Final = "1.0.0"
_INDEX: Final = "index.json"


@dataclass(frozen=True, slots=True)
class Layout:
    """A layout that is there. Make one with `create` or `open_layout`.

    Attributes:
        directory: Where it lies.
    """

    directory: Path

    def path(self, digest: Digest) -> Path:
        """Return where the blob ``digest`` lies, whether it is there or not."""
        return self.directory / "blobs" / digest.algorithm / digest.hex

    def holds(self, descriptor: Descriptor) -> bool:
        """Whether a blob of this digest and size is there; its bytes are compared when they are read."""
        try:
            return self.path(descriptor.digest).stat().st_size == descriptor.size
        except OSError:
            return False

    def read(self, descriptor: Descriptor) -> bytes:
        """Return a document whole.

        Raises:
            ImageInvalid: It is missing, larger than a document may be, or not what its digest says.
        """
        if descriptor.size > oci.LARGEST_DOCUMENT:
            raise ImageInvalid(f"{descriptor.digest} is a document of {descriptor.size} bytes, more than is read")
        return b"".join(self.chunks(descriptor))

    def chunks(self, descriptor: Descriptor) -> Iterator[bytes]:
        """Read a blob in pieces of `CHUNK` bytes; the last piece is given only after the digest was compared.

        Raises:
            ImageInvalid: The blob is missing, or its size or digest is another.
        """
        path = self.path(descriptor.digest)
        try:
            with path.open("rb") as file:
                yield from compared(iter(lambda: file.read(CHUNK), b""), descriptor)
        except FileNotFoundError:
            raise ImageInvalid(f"{self.directory} has no blob {descriptor.digest}") from None
        except OSError as error:
            raise ImageInvalid(f"{path} cannot be read: {error.strerror}") from None

    def manifest(self, descriptor: Descriptor) -> Manifest:
        """Read the manifest that ``descriptor`` names."""
        return oci.decode_manifest(self.read(descriptor), descriptor.media_type)

    def index(self, descriptor: Descriptor | None = None) -> Index:
        """Read index.json, or the index that ``descriptor`` names."""
        if descriptor is not None:
            return oci.decode_index(self.read(descriptor), descriptor.media_type)
        return oci.decode_index(_document(self.directory / _INDEX))

    def config(self, manifest: Manifest) -> ImageConfig:
        """Read the config of the image ``manifest``."""
        if manifest.config.media_type not in oci.CONFIGS:
            raise ImageInvalid(f"the manifest is of no image: its config is {manifest.config.media_type!r}")
        return oci.decode_config(self.read(manifest.config))

    def find(self, name: str | None = None) -> Descriptor:
        """Return what index.json names ``name``, or the only image there where no name is given.

        Args:
            name: Annotation ``org.opencontainers.image.ref.name``, or the digest of a manifest.

        Raises:
            UsageError: Nothing has that name, or several could be meant.
        """
        there = self.index().manifests
        if name is None:
            found = [item for item in there if item.artifact_type is None]
        else:
            found = [item for item in there if name in (item.annotations.get(oci.REF_NAME), item.digest)]
        if len({item.digest for item in found}) == 1:
            return found[0]
        names = ", ".join(item.annotations.get(oci.REF_NAME, item.digest) for item in there) or "nothing"
        asked = "an image without a name" if name is None else repr(name)
        raise UsageError(
            f"{self.directory} has {len(found)} of what was asked for, {asked}; it holds {names}",
            remedy="Name one of them, by its name or its digest.",
        )

    def image(self, descriptor: Descriptor, platform: Platform) -> tuple[Descriptor, Manifest]:
        """Return the manifest that ``descriptor`` names, or that of ``platform`` where it names an index."""
        if descriptor.media_type in oci.INDEXES:
            descriptor = self.index(descriptor).for_platform(platform)
        return descriptor, self.manifest(descriptor)

    def write(self, data: bytes, media_type: str, *, annotations: Mapping[str, str] | None = None) -> Descriptor:
        """Write a blob and return its descriptor."""
        descriptor = oci.describe(data, media_type, annotations=annotations)
        self.write_stream([data], descriptor)
        return descriptor

    def write_document(
        self, document: Manifest | Index | ImageConfig, *, annotations: Mapping[str, str] | None = None
    ) -> Descriptor:
        """Write a document in its canonical form and return its descriptor."""
        media_type = oci.CONFIG if isinstance(document, ImageConfig) else document.media_type
        return self.write(oci.encode(document), media_type, annotations=annotations)

    def write_stream(self, chunks: Iterable[bytes], expected: Descriptor) -> None:
        """Write the blob ``expected``; where it is there already, nothing is read.

        Raises:
            ImageInvalid: The bytes are others than expected; nothing of them stays.
            ToolFailed: The disk took no more; nothing of them stays.
        """
        if self.holds(expected):
            return
        with self.new_blob() as file:
            for chunk in compared(iter(chunks), expected):
                file.write(chunk)
            file.publish(expected.digest)

    @contextlib.contextmanager
    def new_blob(self) -> Iterator["NewBlob"]:
        """Write a blob whose digest is known only at the end; see `NewBlob.publish`."""
        path = self.directory / f".blob-{uuid.uuid4().hex}"
        with _disk(self.directory):
            file = path.open("xb")
        try:
            yield NewBlob(self, path, file)
        finally:
            with contextlib.suppress(OSError):  # what could not be flushed was reported by write or publish
                file.close()
            path.unlink(missing_ok=True)

    def add(self, descriptor: Descriptor, name: str | None = None) -> None:
        """Name a manifest or index in index.json; what had the name before loses it.

        Args:
            descriptor: Of a blob that is there.
            name: Its name in this layout, or none.

        Raises:
            ImageInvalid: The blob is not there.
        """
        if not self.holds(descriptor):
            raise ImageInvalid(f"{self.directory} has no blob {descriptor.digest} to name")
        annotations = {key: value for key, value in descriptor.annotations.items() if key != oci.REF_NAME}
        if name is not None:
            annotations[oci.REF_NAME] = name
        added = msgspec.structs.replace(descriptor, annotations=annotations)
        with _disk(self.directory), _locked(self.directory):
            before = self.index()
            kept = tuple(item for item in before.manifests if not _replaced(item, added))
            after = msgspec.structs.replace(before, manifests=(*kept, added))
            _replace(self.directory / _INDEX, oci.encode(after))

    def forget(self, digest: Digest) -> None:
        """Take a manifest out of index.json, whatever it is named; its blobs stay."""
        with _disk(self.directory), _locked(self.directory):
            before = self.index()
            kept = tuple(item for item in before.manifests if item.digest != digest)
            _replace(self.directory / _INDEX, oci.encode(msgspec.structs.replace(before, manifests=kept)))


class NewBlob:
    """A blob that is being written; it has no name until `publish`."""

    def __init__(self, layout: Layout, path: Path, file: BinaryIO) -> None:
        self._layout, self._path, self._file = layout, path, file
        self._sha256 = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        """Append ``data``; a file object for whoever writes a tar."""
        self._sha256.update(data)
        self.size += len(data)
        with _disk(self._layout.directory):
            return self._file.write(data)

    @property
    def digest(self) -> Digest:
        """The sha256 of what was written so far."""
        return Digest(f"sha256:{self._sha256.hexdigest()}")

    def publish(self, digest: Digest | None = None) -> Digest:
        """Give the blob its name.

        Args:
            digest: Where the writer compared another algorithm than sha256; else its sha256 is taken.
        """
        named = digest or self.digest
        target = self._layout.path(named)
        with _disk(self._layout.directory):
            self._file.flush()
            target.parent.mkdir(parents=True, exist_ok=True)
            self._path.replace(target)
        return named


def create(directory: Path) -> Layout:
    """Make an empty layout in ``directory``, or return the one that is there.

    Raises:
        UsageError: The directory holds something else.
        ToolFailed: It cannot be written.
    """
    if (directory / _MARKER).exists():
        return open_layout(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UsageError(f"{directory} is there already, and is no image layout", remedy="Name another directory.")
    with _disk(directory):
        (directory / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        _replace(directory / _INDEX, oci.encode(Index(media_type=oci.INDEX, manifests=())))
        _replace(directory / _MARKER, canonical.encode({"imageLayoutVersion": _VERSION}))
    return Layout(directory)


def open_layout(directory: Path) -> Layout:
    """Return the layout in ``directory``.

    Raises:
        UsageError: There is none.
        ImageInvalid: It is of another version, or its index cannot be read.
    """
    if not (directory / _MARKER).is_file():
        raise UsageError(
            f"{directory} is no image layout: it has no file {_MARKER}", remedy="Name what `bedside build` wrote."
        )
    try:
        marker = canonical.decode(_document(directory / _MARKER))
    except canonical.NotStrictJSON as error:
        raise ImageInvalid(f"{directory / _MARKER}: {error}") from None
    version = marker.get("imageLayoutVersion") if isinstance(marker, dict) else None
    if version != _VERSION:
        raise ImageInvalid(f"{directory} is a layout of version {version!r}; version {_VERSION} is read here")
    layout = Layout(directory)
    layout.index()
    return layout


def compared(chunks: Iterator[bytes], expected: Descriptor) -> Iterator[bytes]:
    """Pass ``chunks`` on, the last one only after size and digest of all were compared with ``expected``.

    Raises:
        ImageInvalid: The bytes are others, more or fewer.
    """
    digest, size, held = hashlib.new(expected.digest.algorithm), 0, b""
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
        if size > expected.size:
            raise ImageInvalid(f"{expected.digest} has more bytes than the {expected.size} that it should have")
        if held:
            yield held
        held = chunk
    if size != expected.size:
        raise ImageInvalid(f"{expected.digest} has {size} bytes; it should have {expected.size}")
    if digest.hexdigest() != expected.digest.hex:
        raise ImageInvalid(f"the bytes of {expected.digest} have another digest: {digest.hexdigest()}")
    if held:
        yield held


def _document(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(oci.LARGEST_DOCUMENT + 1)
    except OSError as error:
        raise ImageInvalid(f"{path} cannot be read: {error.strerror}") from None


def _replaced(old: Descriptor, new: Descriptor) -> bool:
    """Whether naming ``new`` takes the entry ``old`` away: the same name, or the same manifest without a name."""
    old_name, new_name = old.annotations.get(oci.REF_NAME), new.annotations.get(oci.REF_NAME)
    if old_name is None:
        return old.digest == new.digest
    return old_name == new_name


def _replace(path: Path, data: bytes) -> None:
    scratch = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        scratch.write_bytes(data)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Let one process at a time change index.json; the lock ends with the process."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _disk(directory: Path) -> Iterator[None]:
    """Say what the disk refused, and what helps."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise ToolFailed(
            f"{directory} cannot be written: {error.strerror or type(error).__name__}",
            remedy="Make room on that disk and run the command again; what was written whole is kept."
            if full
            else "Make the directory writable, or name another one.",
        ) from None

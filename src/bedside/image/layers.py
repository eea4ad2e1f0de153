"""Layers as deterministic tar files: what goes in decides every byte.

Entries stand in the order of their paths, each directory before what it holds. Everything belongs to root (0:0)
and nobody else may write it, but for a directory that is there to be written; the time of every entry is `TIME`,
whatever the clock or the disk say. So a layer is the same on two machines, on two days and in two directories, and a
layer whose content did not change keeps its digest from one release to the next.
"""

import hashlib
import io
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final, Protocol, TypeAlias, cast

from bedside.errors import ImageInvalid, ToolFailed
from bedside.image import oci
from bedside.image.layout import CHUNK, Layout, NewBlob
from bedside.image.oci import Descriptor
from bedside.image.reference import Digest

TIME: Final = 0
"""Seconds since 1970 of every entry. Not the release's time: a layer that did not change must not look changed."""

LEVEL: Final = 6
"""zlib's level; part of what decides the bytes of a compressed layer."""

_DIRECTORY, _FILE, _PROGRAM, _LINK = 0o755, 0o644, 0o755, 0o777


@dataclass(frozen=True, slots=True)
class File:
    """A file of a layer: its bytes, or the file that has them.

    Attributes:
        source: Where its bytes come from.
        executable: Whether everybody may execute it.
        sha256: What it must hash to where that is known; compared while it is written.
    """

    source: Path | bytes
    executable: bool = False
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link."""

    target: str


@dataclass(frozen=True, slots=True)
class Twin:
    """A file that lies in the layer already, at another path that comes before it: a hard link."""

    path: str
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Directory:
    """An empty directory that somebody else than root owns, for a volume to be mounted on."""

    owner: int
    mode: int


Entry: TypeAlias = File | Link | Twin | Directory

Entries: TypeAlias = Mapping[str, Entry]
"""What a layer holds, by path without a leading slash; directories follow from the paths."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that is in a layout.

    Attributes:
        descriptor: Of the blob.
        diff_id: Digest of the uncompressed tar.
        unpacked: Bytes of its files.
        files: How many.
    """

    descriptor: Descriptor
    diff_id: Digest
    unpacked: int
    files: int


def write(entries: Entries, layout: Layout) -> Layer:
    """Write the layer of ``entries`` into ``layout``, compressed with gzip.

    Raises:
        ImageInvalid: A path leaves the root, or a file is not what its sha256 says.
        ToolFailed: A file cannot be read, or the disk took no more.
    """
    with layout.new_blob() as blob:
        out = _Gzip(blob)
        unpacked = write_tar(entries, out)
        out.finish()
        digest = blob.publish()
        descriptor = Descriptor(media_type=oci.LAYER_GZIP, digest=digest, size=blob.size)
    return Layer(descriptor, out.diff_id, unpacked, len(entries))


def compress(chunks: Iterable[bytes], layout: Layout) -> tuple[Descriptor, Digest]:
    """Write an uncompressed tar as a layer; return its descriptor and its diff id."""
    with layout.new_blob() as blob:
        out = _Gzip(blob)
        for chunk in chunks:
            out.write(chunk)
        out.finish()
        digest = blob.publish()
        return Descriptor(media_type=oci.LAYER_GZIP, digest=digest, size=blob.size), out.diff_id


class Writable(Protocol):
    """What a tar is written to."""

    def write(self, data: bytes, /) -> int:
        """Take ``data`` whole."""
        ...


def write_tar(entries: Entries, out: Writable) -> int:
    """Write the uncompressed tar of ``entries`` and return the bytes of its files."""
    unpacked = 0
    with tarfile.open(fileobj=cast("IO[bytes]", out), mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for path, entry in _in_order(entries):
            match entry:
                case None:
                    tar.addfile(_header(path, tarfile.DIRTYPE, _DIRECTORY))
                case Directory(owner, mode):
                    header = _header(path, tarfile.DIRTYPE, mode)
                    header.uid = header.gid = owner
                    tar.addfile(header)
                case Link(target):
                    header = _header(path, tarfile.SYMTYPE, _LINK)
                    header.linkname = target
                    tar.addfile(header)
                case Twin(first, executable):
                    header = _header(path, tarfile.LNKTYPE, _PROGRAM if executable else _FILE)
                    header.linkname = first
                    tar.addfile(header)
                case File():
                    unpacked += _add_file(tar, path, entry)
    return unpacked


def _in_order(entries: Entries) -> Iterator[tuple[str, Entry | None]]:
    every: dict[tuple[str, ...], Entry | None] = {}
    for path, entry in entries.items():
        parts = PurePosixPath(path).parts
        if not parts or parts[0] == "/" or ".." in parts or parts[-1].startswith(".wh."):
            raise ImageInvalid(f"{path!r} cannot stand in a layer")
        for depth in range(1, len(parts)):
            every.setdefault(parts[:depth], None)
        every[parts] = entry
    for parts in sorted(every):
        yield "/".join(parts), every[parts]


def _header(path: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(path)
    header.type, header.mode, header.mtime = kind, mode, TIME
    return header


def _add_file(tar: tarfile.TarFile, path: str, entry: File) -> int:
    header = _header(path, tarfile.REGTYPE, _PROGRAM if entry.executable else _FILE)
    try:
        with io.BytesIO(entry.source) if isinstance(entry.source, bytes) else entry.source.open("rb") as file:
            header.size = file.seek(0, io.SEEK_END)
            file.seek(0)
            source = _Hashed(file, entry.sha256, path)
            tar.addfile(header, cast("IO[bytes]", source))
            source.compare()
    except OSError as error:
        raise ToolFailed(f"{path} cannot be read: {error.strerror or 'it became shorter'}") from None
    return header.size


class _Hashed:
    """Reads a file and hashes what it read, where there is something to compare it with."""

    def __init__(self, file: IO[bytes], expected: str | None, path: str) -> None:
        self._file, self._expected, self._path = file, expected, path
        self._sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        if self._expected is not None:
            self._sha256.update(data)
        return data

    def compare(self) -> None:
        if self._expected is not None and self._sha256.hexdigest() != self._expected:
            raise ImageInvalid(
                f"{self._path} is not the file that was validated",
                remedy="It changed while the image was built. Restore the release and build again.",
            )


class _Gzip:
    """Compresses what is written to it into a blob, and hashes what it was before."""

    def __init__(self, blob: NewBlob) -> None:
        self._blob, self._sha256 = blob, hashlib.sha256()
        self._zlib = zlib.compressobj(LEVEL, zlib.DEFLATED, 31)  # 31: a gzip header without name and time

    def write(self, data: bytes) -> int:
        self._sha256.update(data)
        self._blob.write(self._zlib.compress(data))
        return len(data)

    def finish(self) -> None:
        self._blob.write(self._zlib.flush())

    @property
    def diff_id(self) -> Digest:
        return Digest(f"sha256:{self._sha256.hexdigest()}")


def uncompressed(layout: Layout, layer: Descriptor) -> Iterator[bytes]:
    """Read the tar of a layer; its blob is compared with its digest on the way.

    Raises:
        ImageInvalid: Its bytes are not what its digest or its compression say.
    """
    match oci.COMPRESSION.get(layer.media_type):
        case "none":
            yield from layout.chunks(layer)
        case "gzip":
            yield from _gunzip(layout.chunks(layer), layer)
        case _:
            raise ImageInvalid(
                f"the layer {layer.digest} is {layer.media_type!r}, which is not read here",
                remedy="Take a base image whose layers are gzip or uncompressed tar files.",
            )


def _of_diff_id(chunks: Iterator[bytes], diff_id: Digest | None) -> Iterator[bytes]:
    if diff_id is None:
        yield from chunks
        return
    found = hashlib.new(diff_id.algorithm)
    for chunk in chunks:
        found.update(chunk)
        yield chunk
    if found.hexdigest() != diff_id.hex:
        raise ImageInvalid(f"a layer is {diff_id.algorithm}:{found.hexdigest()}; the config says {diff_id}")


def _gunzip(chunks: Iterator[bytes], layer: Descriptor) -> Iterator[bytes]:
    inflate = zlib.decompressobj(31)
    try:
        for chunk in chunks:
            data, more = chunk, True
            while more:
                out = inflate.decompress(data, CHUNK)
                if out:  # an empty chunk would read as the end
                    yield out
                data, more = inflate.unconsumed_tail, len(out) == CHUNK
                if inflate.eof:
                    data, more, inflate = inflate.unused_data, True, zlib.decompressobj(31)
                more = bool(data) or (more and bool(out))
    except zlib.error as error:
        raise ImageInvalid(f"the layer {layer.digest} cannot be uncompressed: {error}") from None


class TarStream(io.RawIOBase):
    """A file object over chunks, for `tarfile` in stream mode."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self._chunks, self._held, self._taken = chunks, b"", 0

    def readable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes, fewer only at the end; what is left of a chunk is not copied."""
        parts, missing = [], size if size >= 0 else (1 << 62)
        while missing:
            if self._taken == len(self._held):
                self._held, self._taken = next(self._chunks, b""), 0
                if not self._held:
                    break
            part = self._held[self._taken : self._taken + missing]
            self._taken += len(part)
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)


def members(
    layout: Layout, layer: Descriptor, diff_id: Digest | None = None
) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    """Yield every entry of a layer with the tar that reads it; names without a leading ``./``.

    Args:
        layout: Where the layer is.
        layer: Its descriptor.
        diff_id: Digest that its uncompressed bytes must have.

    Raises:
        ImageInvalid: The layer is no tar, or is not what its digest or ``diff_id`` says.
    """
    stream = TarStream(_of_diff_id(uncompressed(layout, layer), diff_id))
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|") as tar:
            for member in tar:
                member.name = member.name.removeprefix("./").lstrip("/")
                yield member, tar
            while stream.read(CHUNK):  # to the end: the digest is compared with the last byte
                pass
    except tarfile.TarError as error:
        raise ImageInvalid(f"the layer {layer.digest} is no tar file: {error}") from None

"""The files of layers as they are looked into: each read once, a window of its bytes kept, archives opened one level.

Pure: chunks of bytes in, files out. What is too large to keep whole is seen by its beginning and its end, where
headers, footers and schemas are; an archive that is too large to open is said to be.
"""

import bz2
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

WHOLE: Final = 32 << 20
"""Bytes up to which a file is kept whole."""

EDGE: Final = 4 << 20
"""Bytes that are kept of each end of a larger one."""

_MOST_MEMBERS: Final = 20_000
_MOST_UNPACKED: Final = 512 << 20
_ZIP: Final = b"PK\x03\x04"


@dataclass(frozen=True, slots=True)
class Entry:
    """A regular file of a layer, before it was read.

    Attributes:
        path: In the image, without a leading slash.
        layer: How the layer is called for people, ``4 of 5 (code)``.
        size: Bytes.
        chunks: Gives its bytes, once.
    """

    path: str
    layer: str
    size: int
    chunks: Callable[[], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class File:
    """A file that was read.

    Attributes:
        path: In the image; what stands in an archive follows behind ``!/``.
        layer: See Entry.
        head: Its beginning, or all of it.
        tail: Its end; the same as ``head`` where that is all of it.
        size: Bytes of the whole.
    """

    path: str
    layer: str
    head: bytes
    tail: bytes
    size: int

    @property
    def whole(self) -> bool:
        """Whether every byte of it is here."""
        return len(self.head) == self.size

    @property
    def name(self) -> str:
        """Last part of the path, in lower case."""
        return self.path.rsplit("/", 1)[-1].lower()

    @property
    def windows(self) -> tuple[bytes, ...]:
        """What is here of it."""
        return (self.head,) if self.whole else (self.head, self.tail)


class Unopened(ValueError):
    """An archive cannot be looked into: too large, or not what it says that it is."""


def read(entry: Entry) -> File:
    """Read an entry to its end."""
    if entry.size <= WHOLE:
        data = b"".join(entry.chunks())
        return File(entry.path, entry.layer, data, data, len(data))
    head, tail = bytearray(), b""
    for chunk in entry.chunks():
        if len(head) < EDGE:
            head += chunk
        tail = (tail + chunk)[-EDGE:]
    return File(entry.path, entry.layer, bytes(head[:EDGE]), tail, entry.size)


def inside(file: File) -> Iterator[File]:
    """Give the files in an archive or behind a compression, none for any other file.

    Raises:
        Unopened: It is one, and cannot be looked into.
    """
    if file.head.startswith(_ZIP):
        yield from _zipped(file)
        return
    compression = _compression(file.head)
    if compression is None:
        return
    try:
        data, complete = _uncompressed(file.head, compression)
    except (zlib.error, OSError, lzma.LZMAError, EOFError) as error:
        raise Unopened(f"it cannot be uncompressed: {type(error).__name__}") from None
    if not complete and file.whole and len(data) < WHOLE:
        raise Unopened("it ends before its end")
    if data.startswith(_ZIP) or _compression(data) is not None:
        raise Unopened("it is compressed twice")
    yield File(f"{file.path}!/{_inner(file.name)}", file.layer, data, data, len(data) + (not complete))


def _zipped(file: File) -> Iterator[File]:
    if not file.whole:
        raise Unopened(f"it has {file.size} bytes")
    try:
        with zipfile.ZipFile(io.BytesIO(file.head)) as archive:
            members = [item for item in archive.infolist() if not item.is_dir()]
            if len(members) > _MOST_MEMBERS or sum(item.file_size for item in members) > _MOST_UNPACKED:
                raise Unopened("it unpacks to more than is looked into")
            for item in members:
                yield read(Entry(f"{file.path}!/{item.filename}", file.layer, item.file_size, _member(archive, item)))
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError) as error:
        raise Unopened(f"it cannot be unpacked: {type(error).__name__}") from None


def _member(archive: zipfile.ZipFile, item: zipfile.ZipInfo) -> Callable[[], Iterator[bytes]]:
    def chunks() -> Iterator[bytes]:
        with archive.open(item) as stream:
            while chunk := stream.read(1 << 20):
                yield chunk

    return chunks


class _Decompressor(Protocol):
    """What zlib, bz2 and lzma have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def _compression(head: bytes) -> Callable[[], _Decompressor] | None:
    """Return what uncompresses a file, by how it begins; ``None`` where nothing does."""
    if head.startswith(b"\x1f\x8b\x08"):
        return lambda: zlib.decompressobj(31)
    if head.startswith(b"BZh") and head[4:10] == b"1AY&SY":
        return bz2.BZ2Decompressor
    if head.startswith(b"\xfd7zXZ\x00"):
        return lzma.LZMADecompressor
    return None


def _uncompressed(packed: bytes, make: Callable[[], _Decompressor]) -> tuple[bytes, bool]:
    """Return up to `WHOLE` bytes of what was compressed, in one piece or several, and whether that is all of it."""
    out = bytearray()
    while packed and len(out) < WHOLE:
        one = make()
        out += one.decompress(packed, WHOLE - len(out))
        if not one.eof:
            return bytes(out), False
        packed = one.unused_data.lstrip(b"\0")
    return bytes(out), not packed


def _inner(name: str) -> str:
    return name.rpartition(".")[0] or name

"""What a layer holds, listed: names, owners, modes, and of chosen files the sha256 or the bytes.

A layer's digest decides all of it, so what was listed once may be kept. What is kept is this user's alone: it is
taken where nobody else could have written it and its own digest is right, and then the layer's blob is compared with
its digest all the same. Who wants to see an image with fresh eyes (`bedside verify`, `bedside scan`) keeps nothing.
"""

import contextlib
import hashlib
import os
import stat
import tarfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol, TypeAlias

import msgspec

from bedside.image import layers
from bedside.image.layout import CHUNK, Layout
from bedside.image.oci import Descriptor
from bedside.image.reference import Digest

Kind: TypeAlias = Literal["file", "directory", "link", "twin", "other"]

Chosen: TypeAlias = Callable[[str], bool]
"""Whether a file is chosen, by its path in the image."""

LARGEST_KEPT: Final = 32 << 20
"""Bytes of the largest file that is kept; a list of an installation's files has less than one."""

_FORMAT: Final = 1
"""Raised whenever the same layer gives another listing than before: what an earlier bedside kept is not taken then."""

_DIGEST: Final = hashlib.sha256().digest_size
_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH


class Member(msgspec.Struct, frozen=True, array_like=True):
    """One entry of a layer.

    Attributes:
        name: Its path, without a leading slash.
        kind: What it is: ``twin`` is a hard link, ``other`` a device or a pipe.
        mode: Permission bits.
        user: Owner.
        group: Its group.
        size: Bytes of a file.
        target: Where a link leads; what a twin is the same as.
        sha256: Of a file's bytes, where it was asked for.
        data: A file's bytes, where they were asked for and are no more than `LARGEST_KEPT`.
    """

    name: str
    kind: Kind
    mode: int
    user: int
    group: int
    size: int
    target: str = ""
    sha256: str | None = None
    data: bytes | None = None


class Listing(msgspec.Struct, frozen=True, array_like=True):
    """Every entry of a layer in its order, and the digest of its uncompressed bytes, where it was compared."""

    diff_id: str | None
    members: tuple[Member, ...]


class Lister(Protocol):
    """Lists a layer: from its bytes, or from what was kept."""

    def __call__(
        self, layout: Layout, layer: Descriptor, diff_id: Digest | None, *, hashed: Chosen, kept: Chosen
    ) -> Listing:
        """List ``layer``; see `read`."""
        ...


def read(layout: Layout, layer: Descriptor, diff_id: Digest | None, *, hashed: Chosen, kept: Chosen) -> Listing:
    """Read a layer to its end, and list it.

    Args:
        layout: Where its blob is.
        layer: Its descriptor.
        diff_id: What the config says that it is, uncompressed; compared where it is given.
        hashed: Which files' bytes are hashed.
        kept: Which files' bytes are kept.

    Raises:
        ImageInvalid: It is no tar, or is not what its digest or the config says.
    """
    said = str(diff_id) if diff_id is not None else None
    return Listing(said, tuple(_members(layout, layer, diff_id, hashed, kept)))


def _members(
    layout: Layout, layer: Descriptor, diff_id: Digest | None, hashed: Chosen, kept: Chosen
) -> Iterator[Member]:
    for header, tar in layers.members(layout, layer, diff_id):
        name, sha256, data = header.name, None, None
        if header.isfile():
            wanted = kept(name) and header.size <= LARGEST_KEPT
            sha256, data = _read(tar, header, hash_it=hashed(name), keep_it=wanted)
        target = header.linkname if header.issym() or header.islnk() else ""
        mode = header.mode & 0o7777
        yield Member(name, _kind(header), mode, header.uid, header.gid, header.size, target, sha256, data)


def _kind(header: tarfile.TarInfo) -> Kind:
    if header.isdir():
        return "directory"
    if header.issym():
        return "link"
    if header.islnk():
        return "twin"
    return "file" if header.isfile() else "other"


def _read(
    tar: tarfile.TarFile, header: tarfile.TarInfo, *, hash_it: bool, keep_it: bool
) -> tuple[str | None, bytes | None]:
    """Return what was asked for of a file's bytes, which pass by once."""
    if not (hash_it or keep_it):
        return None, None
    digest, file, data = hashlib.sha256(), tar.extractfile(header), []
    while file is not None and (chunk := file.read(CHUNK)):
        digest.update(chunk)
        if keep_it:
            data.append(chunk)
    return digest.hexdigest() if hash_it else None, b"".join(data) if keep_it else None


@dataclass(frozen=True, slots=True)
class ListingCache:
    """Listings of layers that were read before, in a directory of this user.

    Attributes:
        directory: Where they lie; made when there is one to keep.
    """

    directory: Path

    def __call__(
        self, layout: Layout, layer: Descriptor, diff_id: Digest | None, *, hashed: Chosen, kept: Chosen
    ) -> Listing:
        """Return what was kept of ``layer``, or read it; its blob is compared with its digest either way."""
        path = self.directory / f"{layer.digest.hex}.{_FORMAT}"
        held = _held(path)
        if held is not None and diff_id in (None, held.diff_id) and _tells(held, hashed, kept):
            for _ in layout.chunks(layer):  # to the end: the digest is compared with the last byte
                pass
            return held
        listing = read(layout, layer, diff_id, hashed=hashed, kept=kept)
        _keep(path, listing)
        return listing


def _tells(listing: Listing, hashed: Chosen, kept: Chosen) -> bool:
    """Whether a listing has everything that is asked for: it was made for somebody who may have asked for less."""
    return all(
        (item.sha256 is not None or not hashed(item.name))
        and (item.data is not None or item.size > LARGEST_KEPT or not kept(item.name))
        for item in listing.members
        if item.kind == "file"
    )


def _held(path: Path) -> Listing | None:
    """Return what was kept; what others could have written, or what is not whole, is nothing: the layer is read."""
    try:
        if not (_own(path.parent) and _own(path)):
            return None
        data = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(data[_DIGEST:]).digest() != data[:_DIGEST]:
        return None
    try:
        return msgspec.msgpack.decode(data[_DIGEST:], type=Listing)
    except msgspec.DecodeError:
        return None


def _own(path: Path) -> bool:
    found = path.lstat()
    return found.st_uid == os.geteuid() and not found.st_mode & _OTHERS and not stat.S_ISLNK(found.st_mode)


def _keep(path: Path, listing: Listing) -> None:
    """Keep a listing whole or not at all; a disk that takes none costs time at the next build and nothing else."""
    data = msgspec.msgpack.encode(listing)
    scratch = path.with_name(f".{uuid.uuid4().hex}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(hashlib.sha256(data).digest() + data)
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)

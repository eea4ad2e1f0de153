"""What is in an image: its layers put on each other, as a container would see them (image-spec, layer.md)."""

import hashlib
import io
import re
import shutil
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import IO, Final, Literal, TypeAlias

from bedside.errors import ImageInvalid, ToolFailed
from bedside.image import layers
from bedside.image.layout import CHUNK, Layout
from bedside.image.oci import Manifest
from bedside.image.reference import Digest

Kind: TypeAlias = Literal["file", "directory", "link", "other"]

WHITEOUT: Final = ".wh."
OPAQUE: Final = ".wh..wh..opq"
LARGEST_KEPT: Final = 32 << 20
"""Bytes of the largest file that is kept; a list of an installation's files has less than one."""

_MOST_LINKS: Final = 40
_CUDA: Final = re.compile(r"(^|/)lib(cuda|cudart|cublas|cudnn|cufft|curand|cusolver|cusparse|nccl|nvrtc)[\w-]*\.so")


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of an image.

    Attributes:
        kind: What it is; ``other`` is a device or a pipe.
        mode: Permission bits.
        user: Owner.
        group: Its group.
        size: Bytes of a file.
        layer: Which layer it comes from, from 0 at the base.
        target: Where a symbolic link leads.
        sha256: Of a file's bytes, where it was asked for.
        data: A file's bytes, where they were asked for and are no more than `LARGEST_KEPT`.
    """

    kind: Kind
    mode: int
    user: int
    group: int
    size: int
    layer: int
    target: str = ""
    sha256: str | None = None
    data: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Contents:
    """Every path of an image without a leading slash, and the bytes of the files in each of its layers."""

    entries: Mapping[str, Entry]
    unpacked: tuple[int, ...]

    @property
    def kept(self) -> Mapping[str, bytes]:
        """The bytes of the files that were asked for, by path."""
        return {path: entry.data for path, entry in self.entries.items() if entry.data is not None}

    def below(self, directory: str) -> Mapping[str, Entry]:
        """Return what lies below ``directory``, by path relative to it."""
        prefix = f"{directory.strip('/')}/"
        return {path[len(prefix) :]: entry for path, entry in self.entries.items() if path.startswith(prefix)}

    def resolved(self, path: str) -> str:
        """Return ``path`` with every link on the way followed; it may lead to nothing.

        Raises:
            ImageInvalid: The links have no end.
        """
        parts, place, hops = list(PurePosixPath(path.strip("/")).parts), "", 0
        while parts:
            part = parts.pop(0)
            step = str(PurePosixPath(place, part)) if part != ".." else str(PurePosixPath(place).parent)
            step = "" if step == "." else step
            entry = self.entries.get(step)
            if entry is None or entry.kind != "link":
                place = step
                continue
            hops += 1
            if hops > _MOST_LINKS:
                raise ImageInvalid(f"the links of /{path.strip('/')} have no end")
            place = "" if entry.target.startswith("/") else place
            parts = [*PurePosixPath(entry.target.strip("/")).parts, *parts]
        return place


def read(
    layout: Layout,
    manifest: Manifest,
    diff_ids: Sequence[Digest] = (),
    *,
    hashed: Callable[[str], bool] = lambda _: False,
    kept: Callable[[str], bool] = lambda _: False,
) -> Contents:
    """Read every layer of an image, once.

    Args:
        layout: Where its blobs are.
        manifest: The image.
        diff_ids: What its config says the layers are, uncompressed; compared where they are given.
        hashed: Which files' bytes are hashed, by path.
        kept: Which files' bytes are kept, by path.

    Raises:
        ImageInvalid: A layer is no tar, or is not what its digest or the config says.
    """
    if diff_ids and len(diff_ids) != len(manifest.layers):
        raise ImageInvalid(f"the manifest has {len(manifest.layers)} layers, the config {len(diff_ids)}")
    entries: dict[str, Entry] = {}
    unpacked = []
    for number, layer in enumerate(manifest.layers):
        size = 0
        for member, tar in layers.members(layout, layer, diff_ids[number] if diff_ids else None):
            size += member.size
            _apply(entries, member, tar, number, hash_it=hashed(member.name), keep_it=kept(member.name))
        unpacked.append(size)
    return Contents(entries, tuple(unpacked))


def _apply(
    entries: dict[str, Entry],
    member: tarfile.TarInfo,
    tar: tarfile.TarFile,
    layer: int,
    *,
    hash_it: bool,
    keep_it: bool,
) -> None:
    """Take one entry of a layer, a whiteout among them."""
    directory, _, last = member.name.rpartition("/")
    if last == OPAQUE:
        _remove(entries, directory, layer, itself=False)
    elif last.startswith(WHITEOUT):
        _remove(entries, f"{directory}/{last.removeprefix(WHITEOUT)}".lstrip("/"), layer, itself=True)
    elif member.name:
        if not member.isdir():
            _remove(entries, member.name, layer, itself=True)
        entries[member.name] = _read(_entry(entries, member, layer), member, tar, hash_it=hash_it, keep_it=keep_it)


def _remove(entries: dict[str, Entry], name: str, layer: int, *, itself: bool) -> None:
    """Take away what lower layers have at ``name``; what this layer brought stays."""
    existing = entries.get(name)
    if itself and existing is not None and existing.kind != "directory":
        del entries[name]
        return
    if existing is None and itself:
        return
    gone = [path for path in entries if path.startswith(f"{name}/") or (itself and path == name)]
    for path in gone:
        if entries[path].layer < layer:
            del entries[path]


def _entry(entries: Mapping[str, Entry], member: tarfile.TarInfo, layer: int) -> Entry:
    made = Entry(_kind(member), member.mode & 0o7777, member.uid, member.gid, member.size, layer)
    if member.issym():
        return replace(made, target=member.linkname)
    if member.islnk():
        linked = entries.get(member.linkname.removeprefix("./").lstrip("/"))
        if linked is None:
            raise ImageInvalid(f"{member.name} is a link to {member.linkname}, which is not in the image")
        return replace(linked, layer=layer)
    return made


def _kind(member: tarfile.TarInfo) -> Kind:
    if member.isdir():
        return "directory"
    if member.issym():
        return "link"
    return "file" if member.isfile() or member.islnk() else "other"


def _read(entry: Entry, member: tarfile.TarInfo, tar: tarfile.TarFile, *, hash_it: bool, keep_it: bool) -> Entry:
    """Add what was asked for of a file's bytes, which pass by once; a hard link has what the file has."""
    if not member.isfile() or not (hash_it or keep_it):
        return entry
    digest, file, data = hashlib.sha256(), tar.extractfile(member), []
    keep_it = keep_it and member.size <= LARGEST_KEPT
    while file is not None and (chunk := file.read(CHUNK)):
        digest.update(chunk)
        if keep_it:
            data.append(chunk)
    return replace(entry, sha256=digest.hexdigest() if hash_it else None, data=b"".join(data) if keep_it else None)


def cuda(there: Contents) -> tuple[str, ...]:
    """Return the CUDA libraries in an image, by path."""
    return tuple(path for path, entry in there.entries.items() if entry.kind == "file" and _CUDA.search(path))


def extract(layout: Layout, manifest: Manifest, there: Contents, below: str, directory: Path) -> None:
    """Write the files that lie below ``below`` in an image into ``directory``, as a container would read them.

    Raises:
        ImageInvalid: A layer is not what its digest says.
        ToolFailed: The disk took no more.
    """
    prefix = f"{below.strip('/')}/"
    wanted = {path: entry.layer for path, entry in there.entries.items() if path.startswith(prefix)}
    for number in sorted(set(wanted.values())):
        for member, tar in layers.members(layout, manifest.layers[number]):
            if member.isfile() and wanted.get(member.name) == number:
                _write(directory / member.name[len(prefix) :], tar.extractfile(member))


def _write(path: Path, source: IO[bytes] | None) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            shutil.copyfileobj(source or io.BytesIO(), file)
    except OSError as error:
        raise ToolFailed(f"{path} cannot be written: {error.strerror}", remedy="Make room on that disk.") from None

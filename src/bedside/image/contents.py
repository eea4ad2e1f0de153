"""What is in an image: its layers put on each other, as a container would see them (image-spec, layer.md)."""

import io
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import IO, Final, Literal, TypeAlias

from bedside.errors import ImageInvalid, ToolFailed
from bedside.image import layers, listings
from bedside.image.layout import Layout
from bedside.image.listings import Chosen, Lister, Member
from bedside.image.oci import Manifest
from bedside.image.reference import Digest

Kind: TypeAlias = Literal["file", "directory", "link", "other"]

WHITEOUT: Final = ".wh."
OPAQUE: Final = ".wh..wh..opq"
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
        data: A file's bytes, where they were asked for and are no more than `listings.LARGEST_KEPT`.
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
    hashed: Chosen = lambda _: False,
    kept: Chosen = lambda _: False,
    lister: Lister = listings.read,
) -> Contents:
    """Read every layer of an image, once.

    Args:
        layout: Where its blobs are.
        manifest: The image.
        diff_ids: What its config says the layers are, uncompressed; compared where they are given.
        hashed: Which files' bytes are hashed, by path.
        kept: Which files' bytes are kept, by path.
        lister: Lists a layer; a cache takes what it listed before.

    Raises:
        ImageInvalid: A layer is no tar, or is not what its digest or the config says.
    """
    if diff_ids and len(diff_ids) != len(manifest.layers):
        raise ImageInvalid(f"the manifest has {len(manifest.layers)} layers, the config {len(diff_ids)}")
    entries: dict[str, Entry] = {}
    unpacked = []
    for number, layer in enumerate(manifest.layers):
        listing = lister(layout, layer, diff_ids[number] if diff_ids else None, hashed=hashed, kept=kept)
        for member in listing.members:
            _apply(entries, member, number)
        unpacked.append(sum(member.size for member in listing.members))
    return Contents(entries, tuple(unpacked))


def _apply(entries: dict[str, Entry], member: Member, layer: int) -> None:
    """Take one entry of a layer, a whiteout among them."""
    directory, _, last = member.name.rpartition("/")
    if last == OPAQUE:
        _remove(entries, directory, layer, itself=False)
    elif last.startswith(WHITEOUT):
        _remove(entries, f"{directory}/{last.removeprefix(WHITEOUT)}".lstrip("/"), layer, itself=True)
    elif member.name:
        if member.kind != "directory":
            _remove(entries, member.name, layer, itself=True)
        entries[member.name] = _entry(entries, member, layer)


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


def _entry(entries: Mapping[str, Entry], member: Member, layer: int) -> Entry:
    """Return what an entry of a layer leaves at its path; a hard link is what the file is."""
    if member.kind == "twin":
        linked = entries.get(member.target.removeprefix("./").lstrip("/"))
        if linked is None:
            raise ImageInvalid(f"{member.name} is a link to {member.target}, which is not in the image")
        return replace(linked, layer=layer)
    return Entry(
        member.kind,
        member.mode,
        member.user,
        member.group,
        member.size,
        layer,
        member.target,
        member.sha256,
        member.data,
    )


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

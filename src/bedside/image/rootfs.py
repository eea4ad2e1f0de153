"""The layers of an image unpacked into a directory, from which a container can be run without an engine.

Names are resolved inside the directory, whatever links the layers bring: nothing is written outside of it. Owners are
kept where this process may give them; devices, pipes and extended attributes are left out.
"""

import os
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from bedside.errors import ImageInvalid, ToolFailed
from bedside.image import layers
from bedside.image.contents import OPAQUE, WHITEOUT
from bedside.image.layout import Layout
from bedside.image.oci import Descriptor

_MOST_LINKS: Final = 40


def unpack(layout: Layout, stack: Sequence[Descriptor], directory: Path) -> None:
    """Unpack the layers ``stack``, from the base up, into ``directory``; it is made where it is not there.

    Raises:
        ImageInvalid: A layer is not what its digest says, or a name leads nowhere.
        ToolFailed: The disk took no more.
    """
    directory.mkdir(parents=True, exist_ok=True)
    try:
        for layer in stack:
            fresh: set[Path] = set()
            for member, tar in layers.members(layout, layer):
                _apply(directory, member, tar, fresh)
    except OSError as error:
        raise ToolFailed(
            f"the image cannot be unpacked: {error.strerror}", remedy="Make room in the folder that TMPDIR names."
        ) from None


def _apply(root: Path, member: tarfile.TarInfo, tar: tarfile.TarFile, fresh: set[Path]) -> None:
    parent, name = _place(root, member.name)
    if not name:
        return
    target = parent / name
    if name == OPAQUE:
        for path in set(parent.iterdir()) - fresh:
            _remove(path)
        return
    if name.startswith(WHITEOUT):
        hidden = parent / name.removeprefix(WHITEOUT)
        if hidden not in fresh:
            _remove(hidden)
        return
    _write(root, target, member, tar)
    fresh.add(target)


def _write(root: Path, target: Path, member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
    """Write one entry; what lies there already goes, but for a directory that stays one."""
    if not (member.isdir() and target.is_dir() and not target.is_symlink()):
        _remove(target)
    if member.isdir():
        target.mkdir(exist_ok=True)
    elif member.issym():
        target.symlink_to(member.linkname)
    elif member.islnk():
        directory, name = _place(root, member.linkname)
        os.link(directory / name, target, follow_symlinks=False)
    elif member.isfile():
        with target.open("xb") as file:
            shutil.copyfileobj(tar.extractfile(member) or file, file)
    else:
        return
    root_user = os.geteuid() == 0
    if root_user:
        os.lchown(target, member.uid, member.gid)
    if not member.issym():
        target.chmod(member.mode & 0o7777 | (0o700 if member.isdir() and not root_user else 0))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def inside(root: Path, path: str) -> Path:
    """Return where ``path`` of the unpacked image lies on this machine, with every link followed inside of it.

    Raises:
        ImageInvalid: The links have no end.
    """
    return _followed(root, list(PurePosixPath(path.strip("/")).parts), make=False)


def _place(root: Path, name: str) -> tuple[Path, str]:
    """Return the real directory inside ``root`` of what an entry names, made where it is not there, and its last part.

    Raises:
        ImageInvalid: The name climbs out, or its links have no end.
    """
    parts = list(PurePosixPath(name.lstrip("/")).parts)
    if ".." in parts:
        raise ImageInvalid(f"{name!r} cannot stand in a layer")
    last = parts.pop() if parts else ""
    return _followed(root, parts, make=True), last


def _followed(root: Path, parts: list[str], *, make: bool) -> Path:
    place, hops = root, 0
    while parts:
        step = parts.pop(0)
        if step == "..":
            place = place.parent if place != root else root
            continue
        here = place / step
        if here.is_symlink():
            hops += 1
            if hops > _MOST_LINKS:
                raise ImageInvalid(f"the links at {step!r} have no end")
            link = str(here.readlink())
            place = root if link.startswith("/") else place
            parts = [*PurePosixPath(link.strip("/")).parts, *parts]
            continue
        if make and not here.is_dir():
            here.mkdir()
        place = here
    return place

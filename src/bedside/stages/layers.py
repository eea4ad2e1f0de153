"""Reading the layers of an image once, for a scan and for an SBOM."""

import tarfile
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from bedside.errors import ImageInvalid, ScanIncomplete
from bedside.image import layers
from bedside.image.assembly import CREATED_BY
from bedside.image.contents import Contents
from bedside.image.layout import CHUNK, Layout
from bedside.image.oci import Manifest
from bedside.provenance import contents, inventory
from bedside.provenance.contents import Entry, File
from bedside.provenance.inventory import Inventory, Survey

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"


def survey(
    layout: Layout,
    manifest: Manifest,
    on_file: Callable[[File], None] | None = None,
    on_path: Callable[[str, str], None] = lambda _path, _layer: None,
    *,
    of: Callable[[str], bool] = lambda _: True,
) -> Inventory:
    """Read every layer to its end, from the base up, and return the packages that are there at the end.

    Args:
        layout: Has the layers; each is compared with its digest.
        manifest: Names them.
        on_file: Given every regular file of every layer, also what a later one deletes; where nobody listens, only
            what names packages is read.
        on_path: Told the path of everything, and its layer.
        of: Whether ``on_file`` is given the file of this path.

    Raises:
        ScanIncomplete: A layer cannot be read, or is not what its digest says.
    """
    found = Survey()
    for name, layer in zip(names(layout, manifest), manifest.layers, strict=True):
        try:
            for member, tar in layers.members(layout, layer):
                path = PurePosixPath(member.name).as_posix()
                on_path(path, name)
                _take(found, path, name, member, tar, on_file if of(path) else None)
        except (ImageInvalid, tarfile.TarError) as error:
            raise ScanIncomplete(f"layer {name} cannot be read: {error}", remedy="Build the image again.") from None
        found.close_layer()
    return found.done()


def inventoried(there: Contents) -> Inventory:
    """Return the packages of an image whose layers were read, and of which what the inventory wants was kept.

    Raises:
        ScanIncomplete: A file that names packages is too large to be kept.
    """
    found = Survey()
    for path, entry in there.entries.items():
        wanted = entry.kind == "file" and inventory.wanted(path)
        if wanted and entry.data is None:
            raise ScanIncomplete(f"{path} is {entry.size} bytes, more than is read", remedy="Look into that file.")
        if entry.kind != "directory":
            found.add(path, entry.data if wanted else None)
    found.close_layer()
    return found.done()


def names(layout: Layout, manifest: Manifest) -> list[str]:
    """Return what people call each layer: its place, and what the history says that made it."""
    history = [item for item in layout.config(manifest).history if not item.empty_layer]
    count = len(manifest.layers)
    made = [item.created_by or "" for item in history] if len(history) == count else [""] * count
    called = [text.removeprefix(CREATED_BY) if text.startswith(CREATED_BY) else "base" for text in made]
    return [f"{place} of {count} ({name})" for place, name in enumerate(called, start=1)]


def _take(
    found: Survey,
    path: str,
    layer: str,
    member: tarfile.TarInfo,
    tar: tarfile.TarFile,
    on_file: Callable[[File], None] | None,
) -> None:
    directory, _, name = path.rpartition("/")
    if name == _OPAQUE:
        found.remove(directory)
    elif name.startswith(_WHITEOUT):
        found.remove(f"{directory}/{name.removeprefix(_WHITEOUT)}".lstrip("/"))
    elif member.isdir():
        pass
    elif not member.isreg():
        found.remove(path)
        found.add(path)
    elif on_file is not None or inventory.wanted(path):
        file = contents.read(Entry(path, layer, member.size, lambda: _chunks(member, tar)))
        found.remove(path)
        found.add(path, file.head if inventory.wanted(path) else None)
        if on_file is not None:
            on_file(file)
    else:
        found.remove(path)
        found.add(path)


def _chunks(member: tarfile.TarInfo, tar: tarfile.TarFile) -> Iterator[bytes]:
    stream = tar.extractfile(member)
    while stream is not None and (chunk := stream.read(CHUNK)):
        yield chunk

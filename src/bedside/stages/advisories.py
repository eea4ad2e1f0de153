"""trivy's vulnerability database: where it is, or from the registry that mirrors it, kept by its digest."""

import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from bedside.errors import ImageInvalid, ScanIncomplete
from bedside.image import layers, oci
from bedside.image import layout as layouts
from bedside.image.layout import CHUNK
from bedside.image.oci import Descriptor
from bedside.image.reference import Reference
from bedside.image.registry import Repository
from bedside.provenance import database

_LARGEST: Final = 16 << 30
"""Bytes of the largest database that is unpacked; today's has one."""


def local(path: Path) -> Path:
    """Return the directory of the database at ``path``: that directory, ``db`` in it as in trivy's cache, or neither.

    Whether what is there may be believed is `scan`'s business.
    """
    return path / "db" if (path / "db" / database.FILES[0]).is_file() else path


def pulled(repository: Repository, reference: Reference, kept: Path) -> Path:
    """Bring the database that ``reference`` names, and return its directory.

    Args:
        repository: Of ``reference``.
        reference: With a tag or a digest; trivy tags its own ``2``, for the schema.
        kept: Where databases are kept by digest; older ones are removed.

    Raises:
        ScanIncomplete: What is there is no database.
        RegistryFailed: It is not there, or the registry failed.
    """
    stored = repository.get(reference.digest or reference.tag or str(database.SCHEMA))
    manifest = oci.decode_manifest(stored.data, stored.descriptor.media_type)
    found = [layer for layer in manifest.layers if layer.media_type == database.LAYER]
    if len(found) != 1:
        raise ScanIncomplete(f"{reference} is no vulnerability database of trivy", remedy=database.GET)
    target = kept / found[0].digest.hex
    if not target.is_dir():
        kept.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=kept) as work:
            unpacked = Path(work) / "db"
            _unpack(repository, found[0], Path(work), unpacked)
            _only(kept, unpacked, target)
    return target


def _unpack(repository: Repository, layer: Descriptor, work: Path, target: Path) -> None:
    """Write the two files of the database; the blob is compared with its digest before they get their name."""
    scratch = layouts.create(work / "blobs")
    scratch.write_stream(repository.blob(layer), layer)
    plain = Descriptor(media_type=oci.LAYER_GZIP, digest=layer.digest, size=layer.size)
    target.mkdir()
    try:
        for member, tar in layers.members(scratch, plain):
            if member.name in database.FILES and member.isreg() and member.size <= _LARGEST:
                _write(target / member.name, member, tar)
    except ImageInvalid as error:
        raise ScanIncomplete(f"the vulnerability database cannot be unpacked: {error}", remedy=database.GET) from None


def _write(path: Path, member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
    stream = tar.extractfile(member)
    with path.open("wb") as file:
        while stream is not None and (chunk := stream.read(CHUNK)):
            file.write(chunk)


def _only(kept: Path, unpacked: Path, target: Path) -> None:
    """Give the new database its name, and remove those that were kept before."""
    before = [path for path in kept.iterdir() if path.is_dir() and not path.name.startswith(".")]
    unpacked.rename(target)
    for path in before:
        shutil.rmtree(path, ignore_errors=True)

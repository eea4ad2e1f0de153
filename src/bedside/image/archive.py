"""One tar that every engine loads: docker's archive and OCI's at once.

`docker load` and `podman load` read ``manifest.json``, others ``index.json``; both name the same blobs, so nothing
is stored twice and the config, whose digest is the image's id, is loaded byte for byte.
"""

import io
import tarfile
from pathlib import Path
from typing import IO, Final, Protocol, cast

from bedside.image import oci
from bedside.image.layout import Layout
from bedside.image.oci import Descriptor, Index
from bedside_runtime import canonical

_MARKER: Final = canonical.encode({"imageLayoutVersion": "1.0.0"})


class _Reads(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


def write(layout: Layout, image: Descriptor, path: Path, name: str | None = None) -> None:
    """Write the image into the archive ``path``; without ``name`` it is loaded without one.

    Raises:
        ImageInvalid: A blob is not what its digest says.
    """
    manifest = layout.manifest(image)
    annotations = {oci.REF_NAME: name} if name is not None else {}
    index = Index(
        media_type=oci.INDEX, manifests=(oci.describe(layout.read(image), image.media_type, annotations=annotations),)
    )
    listed: list[canonical.JSON] = [
        {
            "Config": _path(manifest.config),
            "RepoTags": [name] if name is not None else None,
            "Layers": [_path(layer) for layer in manifest.layers],
        }
    ]
    blobs = {item.digest: item for item in (manifest.config, *manifest.layers, image)}
    with tarfile.open(path, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member, data in (
            ("oci-layout", _MARKER),
            ("index.json", oci.encode(index)),
            ("manifest.json", canonical.encode(listed)),
        ):
            _add(tar, member, len(data), io.BytesIO(data))
        for blob in blobs.values():
            with layout.path(blob.digest).open("rb") as file:
                _add(tar, _path(blob), blob.size, file)


def _add(tar: tarfile.TarFile, name: str, size: int, source: _Reads) -> None:
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, 0o644
    tar.addfile(header, cast("IO[bytes]", source))


def _path(blob: Descriptor) -> str:
    return f"blobs/{blob.digest.algorithm}/{blob.digest.hex}"

"""An image in one tar: read as docker and podman save it, written as every engine loads it.

What is written is docker's archive and OCI's at once. `docker load` and `podman load` read ``manifest.json``, others
``index.json``; both name the same blobs, so nothing is stored twice and the config, whose digest is the image's id, is
loaded byte for byte.
"""

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, Protocol, cast

from bedside.errors import ImageInvalid
from bedside.image import layers, oci
from bedside.image.layout import CHUNK, Layout
from bedside.image.oci import Descriptor, Index, Manifest
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


def read(path: Path, layout: Layout) -> Descriptor | None:
    """Bring the image of an OCI or docker archive into ``layout``, without a name; ``None`` where it is another tar.

    Raises:
        ImageInvalid: It is no tar, holds several images, or a blob is not what its digest says.
    """
    try:
        with tarfile.open(path) as tar:
            there = {member.name.removeprefix("./") for member in tar}
            if "oci-layout" in there:
                return _oci_archive(tar, layout)
            return _docker_archive(tar, layout) if "manifest.json" in there else None
    except tarfile.TarError as error:
        raise ImageInvalid(f"{path} is no tar file: {error}", remedy="Name an archive or an image layout.") from None


def _docker_archive(tar: tarfile.TarFile, layout: Layout) -> Descriptor:
    """Convert what `docker save` and `podman save` write: its config as it is, its layers compressed."""
    listed = _json(tar, "manifest.json")
    if not isinstance(listed, list) or len(listed) != 1:
        raise ImageInvalid("the archive does not hold exactly one image", remedy="Save one image in an archive.")
    config = _member(tar, listed[0]["Config"]).read()
    diff_ids = oci.decode_config(config).rootfs.diff_ids
    descriptors = []
    for name, expected in zip(listed[0]["Layers"], diff_ids, strict=True):
        descriptor, diff_id = layers.compress(_chunks(_member(tar, name)), layout)
        if diff_id != expected:
            raise ImageInvalid(f"the layer {name} of the archive is {diff_id}; its config says {expected}")
        descriptors.append(descriptor)
    return layout.write_document(
        Manifest(media_type=oci.MANIFEST, config=layout.write(config, oci.CONFIG), layers=tuple(descriptors))
    )


def _oci_archive(tar: tarfile.TarFile, layout: Layout) -> Descriptor:
    """Copy the blobs of an OCI archive; each gets its name only where its digest is right."""
    index = oci.decode_index(_member(tar, "index.json").read())
    images = [item for item in index.manifests if item.artifact_type is None]
    if len(images) != 1:
        raise ImageInvalid("the archive does not hold exactly one image", remedy="Save one image in an archive.")
    _copy(tar, images[0], layout)
    return images[0]


def _copy(tar: tarfile.TarFile, item: Descriptor, layout: Layout) -> None:
    layout.write_stream(_chunks(_member(tar, f"blobs/{item.digest.algorithm}/{item.digest.hex}")), item)
    if item.media_type in oci.INDEXES:
        for child in layout.index(item).manifests:
            _copy(tar, child, layout)
    if item.media_type in oci.MANIFESTS:
        manifest = layout.manifest(item)
        for child in (manifest.config, *manifest.layers):
            _copy(tar, child, layout)


def _member(tar: tarfile.TarFile, name: str) -> Any:  # noqa: ANN401 - a file object of tarfile
    for spelled in (name, f"./{name}"):
        try:
            file = tar.extractfile(spelled)
        except KeyError:
            continue
        if file is not None:
            return file
    raise ImageInvalid(f"the archive has no {name}")


def _json(tar: tarfile.TarFile, name: str) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return json.loads(_member(tar, name).read())
    except ValueError as error:
        raise ImageInvalid(f"{name} of the archive cannot be read: {error}") from None


def _chunks(file: Any) -> Iterator[bytes]:  # noqa: ANN401 - a file object of tarfile
    return iter(lambda: file.read(CHUNK), b"")

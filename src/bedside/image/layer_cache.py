"""Layers that were built before, found by what decides their bytes."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bedside.image import oci
from bedside.image.layers import Layer
from bedside.image.layout import Layout
from bedside.image.oci import Descriptor
from bedside.image.reference import Digest


@dataclass(frozen=True, slots=True)
class LayerCache:
    """Built layers: blobs in a layout, and for each key a small file that names one.

    Attributes:
        layout: Where the blobs are.
    """

    layout: Layout

    def layer(self, key: str, build: Callable[[Layout], Layer]) -> tuple[Layer, bool]:
        """Return the layer of ``key``, and whether it was there already.

        Args:
            key: Hexadecimal digest of everything that decides the layer's bytes.
            build: Writes the layer into the layout that it is given.
        """
        path = self._path(key)
        held = _read(path)
        if held is not None and self.layout.holds(held.descriptor):
            return held, True
        built = build(self.layout)
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(f".{built.descriptor.digest.hex[:16]}")
        scratch.write_text(json.dumps(_document(built)), encoding="utf-8")
        scratch.replace(path)
        return built, False

    def _path(self, key: str) -> Path:
        return self.layout.directory / "keys" / f"{key}.json"


def _document(layer: Layer) -> dict[str, object]:
    return {
        "digest": layer.descriptor.digest,
        "size": layer.descriptor.size,
        "diff_id": layer.diff_id,
        "unpacked": layer.unpacked,
        "files": layer.files,
    }


class _Written(msgspec.Struct, frozen=True):
    digest: str
    size: int
    diff_id: str
    unpacked: int
    files: int


def _read(path: Path) -> Layer | None:
    """Return what was written; an entry that cannot be read is one that is not there: the layer is built again."""
    try:
        said = msgspec.json.decode(path.read_bytes(), type=_Written)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    descriptor = Descriptor(media_type=oci.LAYER_GZIP, digest=Digest(said.digest), size=said.size)
    return Layer(descriptor, Digest(said.diff_id), said.unpacked, said.files)

"""Small images for tests, written into a layout."""

from bedside.image import oci
from bedside.image.layout import Layout
from bedside.image.oci import Descriptor, Execution, ImageConfig, Manifest, Platform, RootFS
from bedside.image.uploading import SMALL

LINUX = Platform(architecture="amd64", os="linux")
LARGE = bytes(range(256)) * (3 * SMALL // 256) + b"the end"
"""A layer that is sent as a stream."""


def image(
    layout: Layout,
    model: str = "model 1",
    name: str | None = "icu:1.0.0",
    *,
    annotations: dict[str, str] | None = None,
    platform: Platform = LINUX,
) -> Descriptor:
    """Write an image of a large layer, a small one and the model's."""
    layers = tuple(layout.write(data, oci.LAYER) for data in (LARGE, b"runtime", model.encode()))
    rootfs = RootFS(diff_ids=tuple(layer.digest for layer in layers))
    config = ImageConfig(
        architecture=platform.architecture, os=platform.os, rootfs=rootfs, config=Execution(user="10001")
    )
    manifest = Manifest(
        media_type=oci.MANIFEST,
        config=layout.write_document(config),
        layers=layers,
        annotations=annotations or {},
    )
    written = layout.write_document(manifest)
    layout.add(written, name)
    return written


def artifact(layout: Layout, subject: Descriptor, text: str, artifact_type: str = "application/x-sbom") -> Descriptor:
    """Write an artifact about ``subject``."""
    layout.write(b"{}", oci.EMPTY)
    bare = Descriptor(media_type=subject.media_type, digest=subject.digest, size=subject.size)
    manifest = Manifest(
        media_type=oci.MANIFEST,
        config=oci.EMPTY_CONFIG,
        layers=(layout.write(text.encode(), "text/plain"),),
        artifact_type=artifact_type,
        subject=bare,
    )
    written = layout.write_document(manifest)
    layout.add(written)
    return written

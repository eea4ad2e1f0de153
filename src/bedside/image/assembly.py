"""An image without any engine: the base's layers and the plan's, one config, one manifest, in a layout.

The layout holds one image whose manifest, config and layers are OCI documents in canonical form; layers are gzip.
``index.json`` lists it without a name until it was proven, then as ``<model>:<version>``. Manifest annotations and
config labels are the same: ``org.opencontainers.image.*``, ``dev.bedside.release-digest``, ``dev.bedside.model``.
The layers of the base come first, as they are in the base; the history says which layer is which
(``created_by`` is ``bedside: dependencies`` and so on; the base's own lines come first).
"""

from collections.abc import Sequence

from bedside.image import oci
from bedside.image.bases import FoundBase
from bedside.image.layers import Layer
from bedside.image.layout import Layout
from bedside.image.oci import Descriptor, History, ImageConfig, Manifest, RootFS
from bedside.image.plan import ImagePlan

CREATED_BY = "bedside: "
"""How the history names what made a layer; the layer's name follows."""


def assemble(plan: ImagePlan, built: Sequence[Layer], source: Layout, found: FoundBase, layout: Layout) -> Descriptor:
    """Write the image of ``plan`` into ``layout``, without a name, and return its manifest's descriptor.

    Args:
        plan: What the image is.
        built: Its layers, in the plan's order.
        source: The layout that has them.
        found: The base that the plan names.
        layout: Where the image goes.

    Raises:
        ImageInvalid: A blob is not what its digest says.
        ToolFailed: The disk took no more.
    """
    config = config_of(plan, built, found)
    manifest = Manifest(
        media_type=oci.MANIFEST,
        config=oci.describe(oci.encode(config), oci.CONFIG),
        layers=(*map(_as_oci, found.manifest.layers), *(layer.descriptor for layer in built)),
        annotations=dict(plan.annotations),
    )
    for origin, blobs in ((found.layout, found.manifest.layers), (source, [layer.descriptor for layer in built])):
        for blob in blobs:
            if not layout.holds(blob):
                layout.write_stream(origin.chunks(blob), blob)
    layout.write_document(config)
    return layout.write_document(manifest)


def config_of(plan: ImagePlan, built: Sequence[Layer], found: FoundBase) -> ImageConfig:
    """Return the config of the image of ``plan``. Pure."""
    own = tuple(
        History(created=plan.created, created_by=f"{CREATED_BY}{layer.name}", comment=f"{made.files} files")
        for layer, made in zip(plan.layers, built, strict=True)
    )
    return ImageConfig(
        architecture=plan.platform.architecture,
        os=plan.platform.os,
        variant=found.config.variant,
        created=plan.created,
        config=plan.execution,
        rootfs=RootFS(diff_ids=(*found.config.rootfs.diff_ids, *(layer.diff_id for layer in built))),
        history=(*_history(found), *own),
    )


def _history(found: FoundBase) -> tuple[History, ...]:
    """Return the base's history; where it has none that fits its layers, one line for each layer."""
    layers = len(found.manifest.layers)
    history = found.config.history
    if sum(not item.empty_layer for item in history) == layers:
        return history
    return tuple(History(created_by=f"base {found.base.digest}") for _ in range(layers))


def _as_oci(layer: Descriptor) -> Descriptor:
    """Name a layer of a base by OCI's media type: an OCI manifest of Docker's layers is refused by some engines."""
    media_types = {oci.DOCKER_LAYER: oci.LAYER, oci.DOCKER_LAYER_GZIP: oci.LAYER_GZIP}
    return Descriptor(
        media_type=media_types.get(layer.media_type, layer.media_type), digest=layer.digest, size=layer.size
    )

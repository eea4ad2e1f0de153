"""Documents of the OCI image specification as frozen values: descriptor, manifest, index, config. Pure.

What is written here is canonical JSON (RFC 8785): one value, one sequence of bytes, one digest. What is read is
strict JSON of the types that the specification gives; members that it does not know are passed over, as it asks,
and ``null`` counts as absent, as the programs that write it mean it. The digest of a document that was read is
the digest of its own bytes, never of its value written again.

Docker's schema 2 documents have the same members under other media types, and are read too.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeVar

import msgspec
from msgspec import Struct, field

from bedside.errors import ImageInvalid, ReferenceInvalid
from bedside.image.reference import Digest
from bedside_runtime import canonical

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX: Final = "application/vnd.oci.image.index.v1+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYER_ZSTD: Final = "application/vnd.oci.image.layer.v1.tar+zstd"
EMPTY: Final = "application/vnd.oci.empty.v1+json"

DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"

MANIFESTS: Final = frozenset({MANIFEST, DOCKER_MANIFEST})
INDEXES: Final = frozenset({INDEX, DOCKER_LIST})
CONFIGS: Final = frozenset({CONFIG, DOCKER_CONFIG})
COMPRESSION: Final[Mapping[str, str]] = {
    LAYER: "none",
    LAYER_GZIP: "gzip",
    LAYER_ZSTD: "zstd",
    DOCKER_LAYER: "none",
    DOCKER_LAYER_GZIP: "gzip",
}
"""Media types of the layers that are read, and how each is compressed."""

REF_NAME: Final = "org.opencontainers.image.ref.name"
"""Annotation that names an image in the index of a layout."""

LARGEST_DOCUMENT: Final = 4 << 20
"""Bytes of the largest manifest or index that is read: what registries must accept (distribution-spec, push)."""


class _Document(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Immutable; members with their default are not written."""


class Platform(_Document, frozen=True, kw_only=True):
    """What an image runs on, in Go's names: ``amd64``, ``linux``."""

    architecture: str
    os: str
    variant: str | None = None
    os_version: str | None = field(default=None, name="os.version")

    def runs(self, wanted: "Platform") -> bool:
        """Whether an image for this platform runs where ``wanted`` is asked for; a variant counts where it is."""
        same_variant = wanted.variant is None or self.variant == wanted.variant
        return same_variant and (self.os, self.architecture) == (wanted.os, wanted.architecture)

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


class Descriptor(_Document, frozen=True, kw_only=True):
    """Names content by digest and size in bytes.

    Attributes:
        media_type: What the content is.
        digest: Digest of its bytes.
        size: Number of its bytes.
        annotations: What else is said about it.
        artifact_type: What an artifact's manifest is for.
        platform: What an image in an index runs on.
        urls: Where else the content may be had; a layer with one is not distributed with its image.
    """

    media_type: str
    digest: Digest
    size: int
    annotations: dict[str, str] = {}
    artifact_type: str | None = None
    platform: Platform | None = None
    urls: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError("a size is not negative")

    def same_content(self, other: "Descriptor") -> bool:
        """Whether both name the same bytes, whatever else they say."""
        return (self.digest, self.size) == (other.digest, other.size)


EMPTY_CONFIG: Final = Descriptor(media_type=EMPTY, digest=Digest.of(b"{}"), size=2)
"""The config of an artifact that needs none; its content is ``{}``."""


class Manifest(_Document, frozen=True, kw_only=True):
    """An image for one platform, or an artifact about another manifest.

    Attributes:
        media_type: `MANIFEST` or Docker's.
        config: The image's config; `EMPTY_CONFIG` for an artifact.
        layers: From the base up.
        annotations: About the image.
        artifact_type: What an artifact is: an SBOM, a signature.
        subject: The manifest that an artifact is about.
    """

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: dict[str, str] = {}
    artifact_type: str | None = None
    subject: Descriptor | None = None


class Index(_Document, frozen=True, kw_only=True):
    """Several manifests: the platforms of one image, the images of a layout, the referrers of a manifest."""

    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: dict[str, str] = {}
    artifact_type: str | None = None
    subject: Descriptor | None = None

    def for_platform(self, wanted: Platform) -> Descriptor:
        """Return the first manifest that runs on ``wanted``.

        Raises:
            ImageInvalid: None does; the message names those that are there.
        """
        for item in self.manifests:
            has = item.platform
            if has is not None and has.runs(wanted):
                return item
        there = ", ".join(sorted({str(item.platform) for item in self.manifests if item.platform})) or "no platform"
        raise ImageInvalid(
            f"the index has no image for {wanted}; it names {there}",
            remedy="Name an image that was made for this platform, or the platform that it was made for.",
        )


class Execution(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="pascal"):
    """How a container of the image starts: the member ``config`` of an image's config."""

    user: str = ""
    exposed_ports: dict[str, dict[str, Any]] = {}
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    volumes: dict[str, dict[str, Any]] = {}
    working_dir: str = ""
    labels: dict[str, str] = {}
    stop_signal: str = ""


class RootFS(Struct, frozen=True, kw_only=True):
    """Digests of the layers as uncompressed tar files, from the base up."""

    diff_ids: tuple[Digest, ...]
    type: Literal["layers"] = "layers"


class History(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What made one layer; ``created`` is RFC 3339."""

    created: str | None = None
    created_by: str | None = None
    author: str | None = None
    comment: str | None = None
    empty_layer: bool = False


class ImageConfig(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The config of an image: platform, how it starts, and what its layers are. ``created`` is RFC 3339."""

    architecture: str
    os: str
    rootfs: RootFS
    config: Execution = Execution()
    history: tuple[History, ...] = ()
    created: str | None = None
    author: str | None = None
    variant: str | None = None
    os_version: str | None = field(default=None, name="os.version")

    @property
    def platform(self) -> Platform:
        """What the image runs on."""
        return Platform(architecture=self.architecture, os=self.os, variant=self.variant, os_version=self.os_version)


_D = TypeVar("_D", Manifest, Index, ImageConfig)


def encode(document: Manifest | Index | ImageConfig) -> bytes:
    """Return the canonical bytes of ``document``."""
    value = msgspec.to_builtins(document, enc_hook=str)
    if not isinstance(document, ImageConfig):
        value["schemaVersion"] = 2
    return canonical.encode(value)


def describe(
    data: bytes,
    media_type: str,
    *,
    annotations: Mapping[str, str] | None = None,
    artifact_type: str | None = None,
    platform: Platform | None = None,
) -> Descriptor:
    """Return the descriptor of ``data``."""
    return Descriptor(
        media_type=media_type,
        digest=Digest.of(data),
        size=len(data),
        annotations=dict(annotations or {}),
        artifact_type=artifact_type,
        platform=platform,
    )


def decode_manifest(data: bytes, media_type: str = MANIFEST) -> Manifest:
    """Read a manifest.

    Args:
        data: Its bytes.
        media_type: What its descriptor, or the registry, says it is; the document must not say otherwise.

    Raises:
        ImageInvalid: It is none, or of another schema or media type.
    """
    return _convert(_versioned(data, media_type, MANIFESTS, "manifest"), Manifest, "manifest")


def decode_index(data: bytes, media_type: str = INDEX) -> Index:
    """Read an index; see `decode_manifest`."""
    return _convert(_versioned(data, media_type, INDEXES, "index"), Index, "index")


def decode_config(data: bytes) -> ImageConfig:
    """Read an image's config.

    Raises:
        ImageInvalid: It is none.
    """
    return _convert(_read(data, "config"), ImageConfig, "config")


def _versioned(data: bytes, media_type: str, accepted: frozenset[str], what: str) -> dict[str, Any]:
    """Read a manifest or index, and hold what it says it is against what it is said to be."""
    value = _read(data, what)
    if value.pop("schemaVersion", None) != 2:
        raise ImageInvalid(f"the {what} is not of schema version 2")
    if value.setdefault("mediaType", media_type) != media_type:
        raise ImageInvalid(f"the {what} says that it is {value['mediaType']!r}; it was given as {media_type!r}")
    if media_type not in accepted:
        raise ImageInvalid(f"{media_type!r} is the media type of no {what} that is read here")
    foreign = {"manifests"} if what == "manifest" else {"layers", "config"}
    if foreign & value.keys():
        raise ImageInvalid(f"the {what} has members of another document, so its type would be a matter of opinion")
    return value


def _read(data: bytes, what: str) -> dict[str, Any]:
    if len(data) > LARGEST_DOCUMENT:
        raise ImageInvalid(f"the {what} is larger than {LARGEST_DOCUMENT} bytes")
    try:
        value = canonical.decode(data)
    except canonical.NotStrictJSON as error:
        raise ImageInvalid(f"the {what} cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise ImageInvalid(f"the {what} is no JSON object")
    for name in ("layers", "manifests"):
        if name in value and value[name] is None:
            value[name] = []  # what a Go program writes for an empty list
    return {str(key): item for key, item in _without_nulls(value).items()}


def _convert(value: dict[str, Any], kind: type[_D], what: str) -> _D:
    try:
        return msgspec.convert(value, kind, dec_hook=_text_to_digest)
    except msgspec.ValidationError as error:
        raise ImageInvalid(f"the {what} does not follow the specification: {error}") from None


def _without_nulls(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    match value:
        case dict():
            return {key: _without_nulls(item) for key, item in value.items() if item is not None}
        case list():
            return [_without_nulls(item) for item in value]
        case _:
            return value


def _text_to_digest(kind: type, value: object) -> Digest:
    if kind is not Digest or not isinstance(value, str):
        raise NotImplementedError(kind.__name__)
    try:
        return Digest(value)
    except ReferenceInvalid as error:
        raise ValueError(str(error)) from None

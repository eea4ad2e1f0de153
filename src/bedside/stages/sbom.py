"""`bedside sbom`: what an image is made of; and what `bedside build` says about the image that it built."""

from collections.abc import Iterator
from typing import Any, Final, Literal

from bedside import __version__
from bedside.errors import ImageInvalid, ScanIncomplete
from bedside.image import attached, contents, plan
from bedside.image.attached import InLayout
from bedside.image.contents import Contents
from bedside.image.layout import Layout
from bedside.image.oci import Descriptor, Manifest
from bedside.locking import lockfile
from bedside.provenance import inventory, sbom, slsa, statements
from bedside.provenance.sbom import Described
from bedside.provenance.slsa import Material
from bedside.release.reading import Release, describe
from bedside.stages import layers
from bedside.stages.evidence import leave_statement, subject_name
from bedside_runtime import canonical
from bedside_runtime import contract as seam
from bedside_runtime.errors import ContractInvalid

_IN_RELEASE: Final = plan.RELEASE.lstrip("/")
_CONTRACT: Final = f"{_IN_RELEASE}/{seam.FILE_NAME}"
_CARD: Final = f"{_IN_RELEASE}/model_card.json"


def describes(path: str) -> bool:
    """Whether the bytes of ``path`` are needed to say what an image is made of."""
    return path in (_CONTRACT, _CARD) or inventory.wanted(path)


def sbom_of(layout: Layout, image: Descriptor, there: Contents | None = None) -> bytes:
    """Return the CycloneDX document of an image, from its own layers.

    Args:
        layout: Where its blobs are.
        image: Of its manifest.
        there: What lies in it, where its layers were read already and what `describes` it was kept.

    Raises:
        ScanIncomplete: A layer, or what names packages, cannot be read.
        ImageInvalid: The release in it is none.
    """
    there = there or _read(layout, image)
    contract, release = _contract(there.kept.get(_CONTRACT))
    described = Described(image.digest, layers.inventoried(there), contract, release, _card(there.kept.get(_CARD)))
    return sbom.encode(described, __version__)


def _read(layout: Layout, image: Descriptor) -> Contents:
    try:
        return contents.read(layout, layout.manifest(image), kept=describes)
    except ImageInvalid as error:
        raise ScanIncomplete(f"the image cannot be read: {error}", remedy="Build the image again.") from None


def leave_sbom(layout: Layout, image: Descriptor, document: bytes) -> None:
    """Put an SBOM beside its image in a layout, in place of an earlier one; scanners find it there by its type."""
    place = InLayout(layout, image)
    found = attached.artifact(place.descriptor, sbom.MEDIA_TYPE, document, sbom.MEDIA_TYPE)
    place.replace(sbom.MEDIA_TYPE, lambda _: True, *found)


def leave_provenance(
    layout: Layout, image: Descriptor, release: Release, method: Literal["assembled", "dockerfile"]
) -> None:
    """Put the provenance of an image that was just built beside it, in place of an earlier one."""
    manifest = layout.manifest(image)
    predicate = slsa.predicate(
        method, _parameters(manifest, release), tuple(_materials(manifest, release)), __version__
    )
    name = subject_name(manifest.annotations)
    statement = statements.encode(image.digest, name, statements.PROVENANCE, predicate)
    leave_statement(InLayout(layout, image), statement)


def _parameters(manifest: Manifest, release: Release) -> dict[str, Any]:
    said = manifest.annotations
    return {
        "release": f"{release.contract.name}-{release.contract.version}",
        "base": said.get(_BASE_NAME, said.get(_BASE_DIGEST, "")),
        "created": said.get("org.opencontainers.image.created", ""),
    }


_BASE_NAME: Final = "org.opencontainers.image.base.name"
_BASE_DIGEST: Final = "org.opencontainers.image.base.digest"


def _materials(manifest: Manifest, release: Release) -> Iterator[Material]:
    """Give what went into an image: release, base and lock by digest, and each distribution that the lock names."""
    yield Material("release", f"sha256:{release.digest}")
    said = manifest.annotations
    yield Material("base", said.get(_BASE_DIGEST), f"oci://{said[_BASE_NAME]}" if _BASE_NAME in said else "")
    lock = release.lock
    yield Material("requirements.lock", f"sha256:{describe(lock.name, lock).sha256}")
    for item in lockfile.parse(lock.read_text(encoding="utf-8")):
        only = f"sha256:{item.hashes[0]}" if len(item.hashes) == 1 else None
        yield Material(item.name, only, f"pkg:pypi/{item.name}@{item.version}")


def _contract(data: bytes | None) -> tuple[seam.Contract | None, str | None]:
    if data is None:
        return None, None
    try:
        return seam.decode(data), canonical.digest(data)
    except ContractInvalid as error:
        raise ImageInvalid(f"the release in the image cannot be read: {error}") from None


def _card(data: bytes | None) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return canonical.decode(data) if data is not None else None
    except canonical.NotStrictJSON as error:
        raise ImageInvalid(f"the model card in the image cannot be read: {error}") from None

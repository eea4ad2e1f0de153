"""What an image is made of, as CycloneDX 1.6 (ECMA-424): packages, Python distributions, the model with its card. Pure.

The document is a function of the image: no clock, no random number. Its serial number is made of the image's digest,
so the same image gives the same bytes wherever and whenever it is described.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from bedside.provenance import model_card
from bedside.provenance.inventory import Inventory, OperatingSystem, Package
from bedside_runtime import canonical
from bedside_runtime.contract import Contract

MEDIA_TYPE: Final = "application/vnd.cyclonedx+json"
"""Artifact and media type of a CycloneDX document, as scanners look for it beside an image."""

_SCHEMA: Final = "http://cyclonedx.org/schema/bom-1.6.schema.json"
_SERIAL: Final = uuid.uuid5(uuid.NAMESPACE_URL, "https://bedside.dev/sbom")
_MODEL: Final = "model"
_SYSTEM: Final = "operating-system"


@dataclass(frozen=True, slots=True)
class Described:
    """What is described.

    Attributes:
        digest: Of the image's manifest, ``sha256:...``.
        inventory: Its packages.
        contract: Of the release in it; ``None`` for an image of something else.
        release: The release digest, 64 hexadecimal digits.
        card: The model card, any JSON value.
    """

    digest: str
    inventory: Inventory
    contract: Contract | None = None
    release: str | None = None
    card: Any = None


def encode(described: Described, version: str) -> bytes:
    """Return the canonical bytes of the document.

    Args:
        described: The image.
        version: Of bedside, which wrote it.
    """
    components: list[canonical.JSON] = list(_components(described))
    references: list[canonical.JSON] = [item["bom-ref"] for item in _components(described)]
    return canonical.encode(
        {
            "$schema": _SCHEMA,
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "serialNumber": f"urn:uuid:{uuid.uuid5(_SERIAL, described.digest)}",
            "version": 1,
            "metadata": {"tools": {"components": [_tool(version)]}, "component": _image(described)},
            "components": components,
            "dependencies": [{"ref": described.digest, "dependsOn": references}],
        }
    )


def _tool(version: str) -> dict[str, Any]:
    return {"type": "application", "name": "bedside", "version": version}


def _image(described: Described) -> dict[str, Any]:
    contract = described.contract
    said: dict[str, Any] = {
        "type": "container",
        "bom-ref": described.digest,
        "name": contract.name if contract is not None else "image",
        "hashes": [_sha256(described.digest.partition(":")[2])],
    }
    if contract is not None:
        said |= {"version": contract.version, "description": contract.title}
    if described.release is not None:
        said["properties"] = [_property("release-digest", f"sha256:{described.release}")]
    return said


def _components(described: Described) -> Iterator[dict[str, Any]]:
    inventory = described.inventory
    if inventory.system is not None:
        yield _system(inventory.system)
    for item in inventory.packages:
        yield _package(item, inventory.system)
    for path in inventory.interpreters:
        name, _, version = path.rpartition("/")[2].partition("python")
        yield {
            "type": "application",
            "bom-ref": path,
            "name": f"python{name}",
            "version": version,
            "properties": [_property("path", f"/{path}")],
        }
    if described.contract is not None:
        yield _model(described.contract, described.card)


def _system(system: OperatingSystem) -> dict[str, Any]:
    return {
        "type": "operating-system",
        "bom-ref": _SYSTEM,
        "name": system.name,
        "version": system.version,
        "description": system.title,
    }


def _package(item: Package, system: OperatingSystem | None) -> dict[str, Any]:
    said: dict[str, Any] = {
        "type": "library",
        "bom-ref": f"{purl(item, system)}#{item.path}",
        "name": item.name,
        "version": item.version,
        "purl": purl(item, system),
        "properties": [_property("path", f"/{item.path}")],
    }
    if item.licenses:
        said["licenses"] = licenses(item.licenses)
    return said


def purl(item: Package, system: OperatingSystem | None) -> str:
    """Return the package URL of a package (purl-spec: types deb, apk and pypi)."""
    version = quote(item.version, safe="")
    if item.kind == "pypi":
        return f"pkg:pypi/{item.name}@{version}"
    said = {"arch": item.architecture, "distro": f"{system.name}-{system.version}" if system is not None else ""}
    if item.source and item.source != item.name:
        said["upstream"] = item.source
    qualifiers = "&".join(f"{key}={quote(value, safe='')}" for key, value in sorted(said.items()) if value)
    vendor = system.name if system is not None else {"deb": "debian", "apk": "alpine"}[item.kind]
    return f"pkg:{item.kind}/{vendor}/{quote(item.name, safe='')}@{version}?{qualifiers}"


def licenses(said: Sequence[str]) -> list[dict[str, Any]]:
    """Return licenses as CycloneDX has them: one SPDX expression, or identifiers and names."""
    known = [_spdx(text) for text in said]
    if len(known) == 1 and known[0] is not None and " " in known[0]:
        return [{"expression": known[0]}]
    return [
        {"license": {"id": spdx} if spdx is not None and " " not in spdx else {"name": text}}
        for text, spdx in zip(said, known, strict=True)
    ]


def _spdx(text: str) -> str | None:
    try:
        found = str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        return None
    return None if "LicenseRef-" in found and " " not in found else found


def _model(contract: Contract, card: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    sha256 = next((item.sha256 for item in contract.files if item.path == contract.model.artifact), None)
    said: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": _MODEL,
        "name": contract.name,
        "version": contract.version,
        "description": contract.title,
        "modelCard": model_card.of(contract, card),
        "properties": [_property("artifact", contract.model.artifact)],
    }
    if sha256 is not None:
        said["hashes"] = [_sha256(sha256)]
    match card:
        case {"license": str(text)} if text:
            said["licenses"] = licenses([text])
    return said


def _sha256(digits: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": digits}


def _property(name: str, value: str) -> Mapping[str, str]:
    return {"name": f"dev.bedside:{name}", "value": value}

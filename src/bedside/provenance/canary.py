"""Packages that every scanner must find something in, or it is blind. Pure.

A database may be there, young and of the right schema, and know nothing about this operating system or about Python:
made for another purpose, cut for size, from a mirror that fails in silence. Nothing found is worth something only from
a scanner that just found what is known to be there.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bedside.provenance.inventory import Inventory, OperatingSystem, Package
from bedside.provenance.trivy import Audit

_OLD: Final[Mapping[str, str]] = {
    "django": "1.2", "jinja2": "2.4.1", "numpy": "1.8.0", "pillow": "2.0.0", "pyyaml": "3.10", "requests": "2.3.0",
    "urllib3": "1.20",
}  # fmt: skip
"""Distributions with well-known advisories: a database that knows none of them knows nothing about Python."""


def document(inventory: Inventory) -> bytes:
    """Return a CycloneDX document of packages that are so old that the database must know something about them.

    The packages of the image's own operating system stand in it at version 0, and Python distributions of long ago.
    """
    system, packages = inventory.system, inventory.of("deb", "apk")
    components: list[dict[str, Any]] = [
        {"type": "library", "name": name, "version": version, "purl": f"pkg:pypi/{name}@{version}", "bom-ref": name}
        for name, version in _OLD.items()
    ]
    if system is not None and packages:
        components += [_operating_system(system), *(_zero(item, system) for item in packages)]
    return bill_of(components)


def bill_of(components: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the smallest CycloneDX document that holds ``components``."""
    root = {"component": {"type": "container", "name": "scan", "bom-ref": "scan"}}
    return json.dumps(
        {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "metadata": root, "components": components}
    ).encode()


def _operating_system(system: OperatingSystem) -> dict[str, Any]:
    return {"type": "operating-system", "name": system.name, "version": system.version, "bom-ref": "system"}


def _zero(package: Package, system: OperatingSystem) -> dict[str, Any]:
    source = package.source or package.name
    said = {"SrcName": source, "SrcVersion": "0", "PkgType": system.name}
    where = f"distro={system.name}-{system.version}"
    return {
        "type": "library",
        "name": package.name,
        "version": "0",
        "purl": f"pkg:{package.kind}/{system.name}/{package.name}@0?{where}",
        "bom-ref": f"{package.name}-{package.architecture}",
        "properties": [{"name": f"aquasecurity:trivy:{key}", "value": value} for key, value in said.items()],
    }


def blind(seen: Audit, inventory: Inventory) -> tuple[str, ...]:
    """Return what the scanner saw nothing of although it was planted: names of what the database does not know."""
    packages = {item.package for item in seen.vulnerabilities}
    missing = [] if packages & _OLD.keys() else ["Python"]
    system = inventory.system
    if system is not None and inventory.of("deb", "apk") and not packages - _OLD.keys():
        missing.append(f"{system.name} {system.version}")
    return tuple(missing)

"""What trivy is asked, and what it answers. Pure: command lines and canaries out, reports in.

trivy exits 0 when it has nothing to say, whatever the reason. Three things make its silence worth something: a canary,
packages so old that every advisory about them must be found (room `canary`), the packages that it says it looked at
(`Audit.audited`), and the versions that it cannot compare, which it passes over without a word (`comparable`).
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from bedside.findings import Finding, Severity
from bedside.provenance import rules
from bedside.provenance.inventory import Kind, Package

Level: TypeAlias = Literal["critical", "high", "medium", "low"]
LEVELS: Final[tuple[Level, ...]] = ("critical", "high", "medium", "low")

_OPTIONS: Final = (
    "--skip-db-update", "--skip-java-db-update", "--skip-version-check", "--offline-scan",
    "--disable-telemetry", "--quiet", "--format", "json", "--list-all-pkgs",
)  # fmt: skip
_DEBIAN: Final = re.compile(r"(?:\d+:)?\d[A-Za-z0-9.+~:-]*")
_OF_DPKG: Final = "usr/lib/python3/dist-packages/"
"""Where Debian's own packages put Python distributions: they are audited as packages of Debian."""


class NotAReport(ValueError):
    """trivy's output is not what it is known to write."""


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """One advisory about one package.

    Attributes:
        id: CVE, GHSA or the vendor's own.
        kind: What keeps the package; ``None`` where it is of a kind that is not counted here.
        package: Name of the package.
        version: That is there.
        fixed: That does not have it; empty where there is none.
        level: How bad; ``None`` where nobody said, which counts as the worst.
        title: One line.
        path: File of the package, in the image; empty for packages of the operating system.
    """

    id: str
    kind: Kind | None
    package: str
    version: str
    fixed: str
    level: Level | None
    title: str
    path: str


@dataclass(frozen=True, slots=True)
class Audit:
    """What a report says.

    Attributes:
        version: Of trivy.
        audited: Packages that it looked at: kind, name, version.
        vulnerabilities: What it found about them.
        exposed: Secrets, in layers and in the config.
        unsupported: The operating system, where its maker gives no security fixes any more.
    """

    version: str
    audited: frozenset[tuple[Kind, str, str]]
    vulnerabilities: tuple[Vulnerability, ...]
    exposed: tuple[Finding, ...]
    unsupported: str | None = None


def image(layout: Path, cache: Path, secrets: Path, output: Path) -> list[str]:
    """Return how trivy is asked about the one image of a layout."""
    scanners = ("--scanners", "vuln,secret", "--image-config-scanners", "secret")
    where = ("--input", str(layout), "--secret-config", str(secrets), "--pkg-types", "os,library")
    return ["trivy", "image", *where, *scanners, *_OPTIONS, "--cache-dir", str(cache), "--output", str(output)]


def directory(path: Path, cache: Path, secrets: Path, output: Path) -> list[str]:
    """Return how trivy is asked for secrets in a directory."""
    where = ("--secret-config", str(secrets), "--scanners", "secret", "--cache-dir", str(cache))
    return ["trivy", "filesystem", *where, *_OPTIONS, "--output", str(output), str(path)]


def bill(path: Path, cache: Path, output: Path) -> list[str]:
    """Return how trivy is asked about the packages in a CycloneDX document."""
    return ["trivy", "sbom", *_OPTIONS, "--cache-dir", str(cache), "--output", str(output), str(path)]


def report(output: bytes, layers: Mapping[str, str] | None = None) -> Audit:
    """Read a report.

    Args:
        output: What trivy wrote.
        layers: What people call each layer, by the digest of its uncompressed tar.

    Raises:
        NotAReport: See there.
    """
    try:
        said = json.loads(output)
        if not isinstance(said, dict) or said.get("SchemaVersion") != 2:
            raise NotAReport("it is of another schema")
        results = said.get("Results") or []
        return Audit(
            version=str(said.get("Trivy", {}).get("Version", "")),
            audited=frozenset(item for result in results for item in _audited(result)),
            vulnerabilities=tuple(item for result in results for item in _vulnerabilities(result)),
            exposed=tuple(item for result in results for item in _exposed(result, layers or {})),
            unsupported=_unsupported((said.get("Metadata") or {}).get("OS") or {}),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotAReport(f"its report has an unknown form ({type(error).__name__})") from None


_TYPES: Final[Mapping[str, Kind]] = {"python-pkg": "pypi", "alpine": "apk"}


def _kind(result: Mapping[str, Any]) -> Kind | None:
    if result.get("Class") == "os-pkgs":
        return _TYPES.get(result["Type"], "deb")
    return _TYPES.get(result.get("Type", "")) if result.get("Class") == "lang-pkgs" else None


def _audited(result: Mapping[str, Any]) -> Iterator[tuple[Kind, str, str]]:
    kind = _kind(result)
    if kind is None:
        return
    for package in result.get("Packages") or ():
        version = package["Version"] if kind == "pypi" else package["ID"].partition("@")[2]
        yield (kind, *_named(kind, package["Name"], version))


def _named(kind: Kind, name: str, version: str) -> tuple[str, str]:
    return (str(canonicalize_name(name)) if kind == "pypi" else name), version


def _vulnerabilities(result: Mapping[str, Any]) -> Iterator[Vulnerability]:
    for item in result.get("Vulnerabilities") or ():
        level = item.get("Severity", "").lower()
        yield Vulnerability(
            id=item["VulnerabilityID"],
            kind=_kind(result),
            package=item["PkgName"],
            version=item["InstalledVersion"],
            fixed=item.get("FixedVersion", ""),
            level=level if level in LEVELS else None,
            title=item.get("Title", ""),
            path=item.get("PkgPath", ""),
        )


def _exposed(result: Mapping[str, Any], layers: Mapping[str, str]) -> Iterator[Finding]:
    target = result.get("Target", "")
    for item in result.get("Secrets") or ():
        layer = layers.get((item.get("Layer") or {}).get("DiffID", ""), "of the config")
        line = int(item.get("StartLine") or 0)
        yield Finding(
            rule="BED-SCN-001",
            severity=rules.rules()["BED-SCN-001"].severity,
            message=f"{target} holds a secret: {item['Title']} ({item['RuleID']}); layer {layer}",
            remedy=rules.rules()["BED-SCN-001"].remedy,
            file=target,
            line=line,
            path=layer,
        )


def _unsupported(system: Mapping[str, Any]) -> str | None:
    return f"{system.get('Family')} {system.get('Name')}" if system.get("EOSL") else None


def skipped(there: Iterable[Package], audit: Audit) -> tuple[Package, ...]:
    """Return the packages that are there and were not looked at, or whose version trivy cannot compare."""
    debian = any(kind == "deb" for kind, _, _ in audit.audited)
    return tuple(
        item
        for item in there
        if not (item.kind == "pypi" and debian and item.path.startswith(_OF_DPKG))
        and ((item.kind, *_named(item.kind, item.name, item.version)) not in audit.audited or not comparable(item))
    )


def comparable(package: Package) -> bool:
    """Whether trivy understands the version of ``package``; of one that it does not it says nothing at all."""
    if package.kind == "pypi":
        try:
            Version(package.version)
        except InvalidVersion:
            return False
        return True
    return package.kind != "deb" or _DEBIAN.fullmatch(package.version) is not None


def findings(
    audit: Audit, there: Iterable[Package], threshold: Level, *, only_fixable: bool = False
) -> Iterator[Finding]:
    """Give every vulnerability as a finding: what reaches the threshold refuses, the rest is noted.

    Args:
        audit: What was found.
        there: The packages that it was found about.
        threshold: From where on; what nobody rated reaches it always.
        only_fixable: Whether what has no fix is noted only.
    """
    paths: dict[tuple[Kind | None, str], str] = {(package.kind, package.name): package.path for package in there}
    for item in audit.vulnerabilities:
        path = item.path or paths.get((item.kind, item.package), "")
        bad = item.level is None or LEVELS.index(item.level) <= LEVELS.index(threshold)
        refuses = bad and (bool(item.fixed) or not only_fixable)
        fix = f"fixed in {item.fixed}" if item.fixed else "no fix yet"
        yield Finding(
            rule=item.id,
            severity=Severity.SECURITY if refuses else Severity.NOTE,
            message=f"{item.package} {item.version}: {item.title or item.id} ({item.level or 'not rated'}, {fix})",
            remedy=_remedy(item),
            file=f"/{path}" if path else "",
            path=f"{item.package}@{item.version}",
        )


def _remedy(item: Vulnerability) -> str:
    if not item.fixed:
        return "Take a base without this package, or accept it with a reason and an end."
    if item.path:
        return f"Lock {item.package} {item.fixed} or newer, package and build again."
    return "Build on a newer base, by its digest."

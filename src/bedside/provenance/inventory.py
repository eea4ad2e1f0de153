"""What packages an image has, read from its own files: dpkg, apk, and the metadata of Python distributions. Pure.

A scanner is held against this list: what is here and was not audited was skipped. What keeps packages in a form that is
not read here (RPM, conda) is named, so that it is never taken for nothing.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from packaging.utils import canonicalize_name

Kind: TypeAlias = Literal["deb", "apk", "pypi"]

_STATUS: Final = "var/lib/dpkg/status"
_STATUS_D: Final = re.compile(r"var/lib/dpkg/status\.d/[^/]+(?<!\.md5sums)$")
_APK: Final = "lib/apk/db/installed"
_PYTHON: Final = re.compile(r"(?:.*/)?[^/]+\.(?:dist-info/METADATA|egg-info/PKG-INFO|egg-info)$")
_RPM: Final = re.compile(r"(?:var/lib|usr/lib/sysimage)/rpm/(?:Packages(?:\.db)?|rpmdb\.sqlite)$")
_CONDA: Final = re.compile(r"(?:.*/)?conda-meta/[^/]+\.json$")
_INTERPRETER: Final = re.compile(r"(?:opt|usr/local)/(?:.*/)?bin/python3\.\d+$")
_COPYRIGHT: Final = re.compile(r"usr/share/doc/([^/]+)/copyright$")
_RELEASE: Final = ("etc/os-release", "usr/lib/os-release")


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """One package.

    Attributes:
        kind: What keeps it.
        name: As its keeper writes it; normalized (PEP 503) for Python.
        version: Likewise.
        path: The file that says so, in the image.
        architecture: ``amd64``; empty for Python.
        source: Name of the source package, where it is another.
        licenses: What its metadata says, SPDX expressions where it says so.
    """

    kind: Kind
    name: str
    version: str
    path: str
    architecture: str = ""
    source: str = ""
    licenses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OperatingSystem:
    """What ``os-release`` says: ``debian``, ``12``, and the name for people."""

    name: str
    version: str
    title: str


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything that was found.

    Attributes:
        system: The operating system; ``None`` where no file says.
        packages: Sorted.
        unread: Files of package managers that are not read here.
        interpreters: Pythons that no package brought.
    """

    system: OperatingSystem | None
    packages: tuple[Package, ...]
    unread: tuple[str, ...] = ()
    interpreters: tuple[str, ...] = ()

    def of(self, *kinds: Kind) -> tuple[Package, ...]:
        """Return the packages of these kinds."""
        return tuple(item for item in self.packages if item.kind in kinds)


def wanted(path: str) -> bool:
    """Whether the bytes of ``path`` are needed for the inventory."""
    known = path in (_STATUS, _APK, *_RELEASE)
    return known or any(form.fullmatch(path) for form in (_STATUS_D, _PYTHON, _COPYRIGHT))


@dataclass
class Survey:
    """Collects what layers say, from the base up: a later layer replaces and removes what the ones below it have."""

    _files: dict[str, bytes] = field(default_factory=dict)
    _paths: set[str] = field(default_factory=set)
    _files_here: dict[str, bytes] = field(default_factory=dict)
    _paths_here: set[str] = field(default_factory=set)

    def add(self, path: str, data: bytes | None = None) -> None:
        """Take a file of this layer, with its bytes where they are `wanted`."""
        if data is not None:
            self._files_here[path] = data
        elif _RPM.fullmatch(path) or _CONDA.fullmatch(path) or _INTERPRETER.fullmatch(path):
            self._paths_here.add(path)

    def remove(self, path: str) -> None:
        """Take a path, and everything below it, out of the layers below, as a whiteout does."""
        below = f"{path}/"
        for name in [name for name in self._files if name == path or name.startswith(below)]:
            del self._files[name]
        self._paths = {name for name in self._paths if name != path and not name.startswith(below)}

    def close_layer(self) -> None:
        """End this layer: what comes next lies on it."""
        self._files |= self._files_here
        self._paths |= self._paths_here
        self._files_here, self._paths_here = {}, set()

    def done(self) -> Inventory:
        """Return what is there at the end."""
        files = self._files
        release = next((files[path] for path in _RELEASE if files.get(path)), None)
        return Inventory(
            system=_system(_decoded(release)) if release is not None else None,
            packages=tuple(sorted({*_debian(files), *_alpine(files), *_python(files)})),
            unread=tuple(sorted(path for path in self._paths if not _INTERPRETER.fullmatch(path))),
            interpreters=tuple(sorted(path for path in self._paths if _INTERPRETER.fullmatch(path))),
        )


def _system(text: str) -> OperatingSystem:
    said = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    clean = {key: value.strip().strip("\"'") for key, value in said.items()}
    return OperatingSystem(clean.get("ID", ""), clean.get("VERSION_ID", ""), clean.get("PRETTY_NAME", ""))


def _debian(files: Mapping[str, bytes]) -> Iterator[Package]:
    for path, data in files.items():
        if path != _STATUS and not _STATUS_D.fullmatch(path):
            continue
        for said in _paragraphs(_decoded(data)):
            installed = said.get("Status", "install ok installed").endswith(" installed")
            if installed and "Package" in said and "Version" in said:
                licenses = _copyright(files.get(f"usr/share/doc/{said['Package']}/copyright"))
                source = said.get("Source", "").partition(" ")[0]
                yield Package(
                    "deb", said["Package"], said["Version"], path, said.get("Architecture", ""), source, licenses
                )


def _alpine(files: Mapping[str, bytes]) -> Iterator[Package]:
    for block in _decoded(files.get(_APK, b"")).split("\n\n"):
        said = {line[0]: line[2:] for line in block.splitlines() if line[1:2] == ":"}
        if "P" in said and "V" in said:
            licenses = (said["L"],) if said.get("L") else ()
            yield Package("apk", said["P"], said["V"], _APK, said.get("A", ""), said.get("o", ""), licenses)


def _python(files: Mapping[str, bytes]) -> Iterator[Package]:
    for path, data in files.items():
        if _PYTHON.fullmatch(path):
            header = _decoded(data).replace("\r\n", "\n").partition("\n\n")[0]
            said = list(_fields(header))
            named = dict(said)
            if "Name" in named and "Version" in named:
                name = canonicalize_name(named["Name"])
                yield Package("pypi", name, named["Version"], path, licenses=_python_licenses(said))


def _python_licenses(said: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Return what the metadata says: an SPDX expression (PEP 639), else classifiers, else the one line of License."""
    named = dict(said)
    if named.get("License-Expression"):
        return (named["License-Expression"],)
    classified = [value.rpartition(" :: ")[2] for key, value in said if key == "Classifier" and "License ::" in value]
    if classified:
        return tuple(sorted(set(classified)))
    text = named.get("License", "")
    return (text,) if 0 < len(text) <= 80 and text.upper() != "UNKNOWN" else ()


def _copyright(data: bytes | None) -> tuple[str, ...]:
    """Return the licenses that a copyright file in Debian's machine-readable form names."""
    if data is None or not data.startswith(b"Format:"):
        return ()
    found = re.findall(r"^License:[ \t]*(\S[^\n]{0,80})$", _decoded(data), re.MULTILINE)
    return tuple(sorted({item.strip() for item in found}))


def _paragraphs(text: str) -> Iterator[dict[str, str]]:
    for block in re.split(r"\n[ \t]*\n", text):
        said = dict(_fields(block))
        if said:
            yield said


def _fields(block: str) -> Iterator[tuple[str, str]]:
    for line in block.splitlines():
        key, colon, value = line.partition(":")
        if colon and key and not key[0].isspace():
            yield key, value.strip()


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "replace")

"""Reading a hashed requirements file: names, versions, sha256, and nothing else."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})(?=\s|$)")


class LockInvalid(ValueError):
    """A line of the lock is not ``name==version --hash=sha256:...``."""


@dataclass(frozen=True, slots=True)
class Locked:
    """One distribution of the lock: normalized name (PEP 503), exact version, admissible sha256 digests."""

    name: str
    version: str
    hashes: tuple[str, ...]


def parse(text: str) -> tuple[Locked, ...]:
    """Return every distribution that ``text`` locks for the environment that runs this, sorted by name.

    Raises:
        LockInvalid: A line carries an option, an address, no exact version or no sha256; the lock would
            then not say what gets installed.
    """
    found = [item for line in _logical_lines(text) if (item := _locked(line)) is not None]
    return tuple(sorted(found, key=lambda item: item.name))


def without(text: str, name: str) -> str:
    """Return the lock ``text`` without the entry of the distribution ``name``."""
    return re.sub(rf"^{re.escape(name)}==(?:[^\n]*\\\n)*[^\n]*\n", "", text, flags=re.MULTILINE)


def only(text: str, name: str) -> str:
    """Return the entry of the distribution ``name`` in the lock ``text``, alone."""
    found = re.search(rf"^{re.escape(name)}==(?:[^\n]*\\\n)*[^\n]*\n", text, flags=re.MULTILINE)
    return found[0] if found is not None else ""


def _logical_lines(text: str) -> Iterator[str]:
    joined = re.sub(r"\\\s*\n", " ", text)
    for line in joined.splitlines():
        stripped = re.sub(r"(^|\s)#.*$", "", line).strip()
        if stripped:
            yield stripped


def _locked(line: str) -> Locked | None:
    specification, _, options = line.partition(" --")
    try:
        requirement = Requirement(specification)
    except InvalidRequirement:
        raise LockInvalid(f"{line.split()[0]!r} is no requirement with an exact version") from None
    if requirement.url:
        raise LockInvalid(f"{requirement.name} is locked to an address instead of a version")
    pins = list(requirement.specifier)
    if len(pins) != 1 or pins[0].operator != "==" or pins[0].version.endswith("*"):
        raise LockInvalid(f"{requirement.name} is not locked to one exact version")
    hashes = tuple(_HASH.findall(f"--{options}"))
    if not hashes:
        raise LockInvalid(f"{requirement.name} has no sha256")
    if requirement.marker is not None and not requirement.marker.evaluate():
        return None
    return Locked(canonicalize_name(requirement.name), pins[0].version, hashes)

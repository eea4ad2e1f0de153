"""What a release directory must hold, against what it holds. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from bedside.findings import Finding, Severity
from bedside_runtime.contract import Contract, File

UNCOVERED: Final = frozenset({"contract.json", "contract.sig", "measurements.json"})
"""Files that no digest in the contract covers: itself, its signature, and what packaging measured."""


@dataclass(frozen=True, slots=True)
class Found:
    """One directory entry of a release: a regular file with its bytes' size and sha256, or something else."""

    path: str
    size: int = 0
    sha256: str = ""
    kind: str = "file"


def differences(contract: Contract, found: Mapping[str, Found]) -> Iterator[Finding]:
    """Yield a finding for each file that is missing, unexpected, or not byte for byte what was validated.

    A model file that lies in object storage may be missing: who needs it asks for it.
    """
    recorded = {file.path: file for file in contract.files}
    elsewhere = {contract.model.artifact} if contract.model.source is not None else set()
    for path in sorted(recorded.keys() - found.keys() - elsewhere):
        yield _finding("BED-REL-001", path, "the file is missing")
    for path in sorted(found.keys() - recorded.keys() - UNCOVERED):
        yield _finding("BED-REL-002", path, "the file is not part of the release")
    for path in sorted(recorded.keys() & found.keys()):
        yield from _changed(recorded[path], found[path])


def _changed(recorded: File, found: Found) -> Iterator[Finding]:
    if found.kind != "file":
        yield _finding("BED-REL-003", recorded.path, f"this is a {found.kind}, not a file")
    elif found.size != recorded.size:
        yield _finding("BED-REL-004", recorded.path, f"the file has {found.size} bytes; {recorded.size} were validated")
    elif found.sha256 != recorded.sha256:
        message = f"the file has sha256 {found.sha256[:16]}...; {recorded.sha256[:16]}... was validated"
        yield _finding("BED-REL-005", recorded.path, message)


def _finding(rule: str, path: str, what: str) -> Finding:
    return Finding(
        rule=rule,
        severity=Severity.PATIENT_SAFETY,
        message=what,
        remedy="Restore the release from where it was packaged, or package it again.",
        file=path,
    )

"""`bedside audit keygen`: the keys of a log, apart for the pod and for the auditor."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bedside import spec as specification
from bedside.audit import keys
from bedside.errors import UsageError
from bedside.release.reading import open_release
from bedside_runtime.contract import FILE_NAME, Audit


@dataclass(frozen=True, slots=True)
class NewKeys:
    """Keys that were just made.

    Attributes:
        name: Of the model.
        pod: Folder of what is mounted into the pod.
        auditor: Folder of what stays with the auditor.
        names: File names in each.
    """

    name: str
    pod: Path
    auditor: Path
    names: tuple[tuple[str, ...], tuple[str, ...]]


def keygen(target: Path, directory: Path) -> NewKeys:
    """Make the keys that the log of ``target`` needs.

    Args:
        target: A release, or the folder of a project.
        directory: A new folder: ``pod/`` and ``auditor/`` come into it, readable by this user alone.

    Raises:
        UsageError: No log is asked for, or one that needs no key; or ``directory`` is there or cannot be made.
        SpecInvalid, ContractInvalid: See `spec.load` and `open_release`.
    """
    name, audit = _settings(target)
    made = keys.make(name, audit)
    if not made.pod:
        raise UsageError("the log of this release needs no key", remedy='[audit] has payload = "none" and is unsigned.')
    if directory.exists():
        raise UsageError(f"{directory} is there already", remedy="Name a new folder; a key is never replaced.")
    try:
        beside = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
        try:
            _write(beside / "pod", made.pod)
            _write(beside / "auditor", made.auditor)
            beside.rename(directory)
        except OSError:
            shutil.rmtree(beside, ignore_errors=True)
            raise
    except OSError as error:
        raise UsageError(f"{directory} cannot be made: {error.strerror}") from None
    return NewKeys(name, directory / "pod", directory / "auditor", (tuple(made.pod), tuple(made.auditor)))


def _settings(target: Path) -> tuple[str, Audit]:
    if (target / FILE_NAME).is_file():
        contract = open_release(target).contract
        name, audit = contract.name, contract.audit
    else:
        spec = specification.load(target)
        name, audit = spec.model.name, spec.audit
    if audit is None:
        raise UsageError(f"{target} asks for no audit log", remedy="Add the section [audit] to bedside.toml.")
    return name, audit


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir(mode=0o700)
    for name, data in files.items():
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

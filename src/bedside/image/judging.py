"""Whether an image is what the plan of its release says, as far as its config and its files show. Pure.

The release's own files are compared by the release's own check; what its server answers is the proof's business.
"""

import base64
import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from bedside.errors import ImageInvalid
from bedside.findings import Finding, Severity
from bedside.image import contents, plan
from bedside.image.contents import Contents, Entry
from bedside.image.oci import Execution, ImageConfig
from bedside_runtime.contract import Contract

_COLUMNS: Final = 2
_BYTECODE: Final = re.compile(r"((?:.*/)?)__pycache__/([^/]+)\.cpython-\d+\.pyc")


@dataclass(frozen=True, slots=True)
class Locked:
    """Name (PEP 503) and version of a distribution."""

    name: str
    version: str


def findings(
    contract: Contract,
    release: str,
    config: ImageConfig,
    there: Contents,
    *,
    records: Mapping[str, bytes],
    locked: Iterable[Locked],
) -> Iterator[Finding]:
    """Give everything in which an image differs from what the plan of its release says.

    Args:
        contract: The release in it.
        release: Its digest, 64 hexadecimal digits.
        config: The image's config.
        there: What lies in it; the files of site-packages hashed.
        records: RECORD of each distribution, by path.
        locked: The distributions that the release's lock names.
    """
    yield from _identity(release, config)
    yield from _execution(contract, release, config.config)
    yield from _files(contract, there)
    yield from _installed(contract, there, records, locked)
    yield from _accelerator(contract, there)
    for volume in plan.volumes(contract):
        yield from _volume(volume.path, there)


def _identity(release: str, config: ImageConfig) -> Iterator[Finding]:
    said = config.config.labels.get(plan.RELEASE_DIGEST)
    if said != f"sha256:{release}":
        yield _finding("BED-OCI-001", f"the label says release {said}; contract.json in the image is sha256:{release}")


def _execution(contract: Contract, release: str, here: Execution) -> Iterator[Finding]:
    wanted = plan.execution(contract, release)
    pairs = (
        ("user", wanted.user, here.user),
        ("entry point", wanted.entrypoint, here.entrypoint),
        ("command", wanted.cmd, here.cmd),
        ("working directory", wanted.working_dir, here.working_dir),
        ("stop signal", wanted.stop_signal, here.stop_signal),
    )
    for what, planned, found in pairs:
        if planned != found:
            yield _finding("BED-OCI-002", f"the {what} is {_shown(found)}; planned is {_shown(planned)}")
    missing = sorted(set(wanted.env) - set(here.env))
    if missing:
        yield _finding("BED-OCI-002", f"the environment lacks {', '.join(missing)}")


def _files(contract: Contract, there: Contents) -> Iterator[Finding]:
    """Hold every application file against who may write it, and against what an image has."""
    site = plan.site_packages(contract).removeprefix(f"{plan.HOME}/")
    own = ("bin/python", "pyvenv.cfg")
    for path, entry in there.below(plan.HOME).items():
        if entry.kind == "directory":
            known = any(f"{place}/".startswith(f"{path}/") for place in (site, "bin", "release")) or path.startswith(
                (f"{site}/", "release/")
            )
        else:
            known = path in own or path.startswith((f"{site}/", "release/"))
        if not known or entry.kind == "other":
            yield _finding("BED-OCI-003", f"{plan.HOME}/{path} belongs to nothing that the release names")
        elif problem := _writable(entry):
            yield _finding("BED-OCI-004", f"{plan.HOME}/{path} {problem}")


def _writable(entry: Entry) -> str:
    if (entry.user, entry.group) != (0, 0):
        return f"belongs to {entry.user}:{entry.group} instead of root"
    if entry.kind != "link" and entry.mode & 0o022:
        return f"can be written by others than root: mode {entry.mode:o}"
    return f"gives the rights of its owner: mode {entry.mode:o}" if entry.mode & 0o6000 else ""


def _installed(
    contract: Contract, there: Contents, records: Mapping[str, bytes], locked: Iterable[Locked]
) -> Iterator[Finding]:
    """Hold what is installed against the lock, and each file against the RECORD of its distribution.

    A file that no RECORD names is nobody's: Python would run a ``.pth`` file or a ``sitecustomize`` at every start.
    """
    site = there.below(plan.site_packages(contract))
    here = {_distribution(path) for path in site if path.endswith(".dist-info/METADATA")}
    wanted = {(item.name, item.version) for item in locked}
    for name, version in sorted(here ^ wanted):
        which = "is in the image, and the lock does not name it" if (name, version) in here else "is locked and missing"
        yield _finding("BED-OCI-005", f"{name} {version} {which}")
    recorded = dict(row for data in records.values() for row in _rows(data))
    for path, entry in site.items():
        if entry.kind == "directory" or _source(path) in recorded:
            continue
        said = recorded.get(path)
        if said is None:
            yield _finding("BED-OCI-005", f"{path} is in site-packages, and no distribution brought it")
        elif entry.sha256 is not None and said not in ("", entry.sha256):
            yield _finding("BED-OCI-005", f"{path} is not the file that its distribution brought")


def _rows(record: bytes) -> Iterator[tuple[str, str]]:
    """Give path and sha256 of each row of a RECORD, hexadecimal; empty for RECORD itself."""
    for row in csv.reader(io.StringIO(record.decode("utf-8", errors="replace"))):
        if len(row) >= _COLUMNS:
            _, _, encoded = row[1].partition("sha256=")
            yield row[0], base64.urlsafe_b64decode(f"{encoded}==").hex() if encoded else ""


def _source(path: str) -> str | None:
    """Return the source of a file of bytecode, ``None`` for another file."""
    found = _BYTECODE.fullmatch(path)
    return f"{found[1]}{found[2]}.py" if found is not None else None


def _distribution(path: str) -> tuple[str, str]:
    name, _, version = path.rpartition("/")[0].removesuffix(".dist-info").partition("-")
    return re.sub(r"[-_.]+", "-", name).lower(), version


def _accelerator(contract: Contract, there: Contents) -> Iterator[Finding]:
    """CUDA where none was asked for, and CUDA twice: another copy than the one that a wheel was built with."""
    found = contents.cuda(there)
    if found and contract.accelerator == "cpu":
        total = sum(there.entries[path].size for path in found) // 10**6
        yield _finding("BED-OCI-006", f"an image for CPUs has {total} MB of CUDA libraries, {found[0]} among them")
    names = [path.rpartition("/")[2].partition(".so")[0] for path in found]
    for name in sorted({name for name in names if names.count(name) > 1}):
        places = [path for path in found if path.rpartition("/")[2].startswith(f"{name}.so")]
        yield _finding("BED-OCI-006", f"{name} is there {len(places)} times: {', '.join(places[:3])}")


def _volume(path: str, there: Contents) -> Iterator[Finding]:
    """The directory of the audit log: the user's alone, and empty; a new volume takes all that it is and holds."""
    entry = there.entries.get(path.lstrip("/"))
    wanted = ("directory", plan.USER, plan.USER, plan.VOLUME_MODE)
    if entry is None or (entry.kind, entry.user, entry.group, entry.mode) != wanted:
        found = "missing" if entry is None else f"a {entry.kind} of {entry.user}:{entry.group}, mode {entry.mode:o}"
        yield _finding("BED-OCI-007", f"{path}, where the audit log goes, is {found}")
    for name in sorted(there.below(path)):
        yield _finding("BED-OCI-007", f"{path}, where the audit log goes, holds {name}")


def release_digest(labels: Mapping[str, str]) -> str:
    """Return the release digest that an image names, 64 hexadecimal digits.

    Raises:
        ImageInvalid: It names none: no release is in it.
    """
    said = labels.get(plan.RELEASE_DIGEST, "")
    if re.fullmatch("sha256:[0-9a-f]{64}", said) is None:
        raise ImageInvalid(
            f"the image has no label {plan.RELEASE_DIGEST}", remedy="Name an image that `bedside build` made."
        )
    return said.removeprefix("sha256:")


def _shown(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else " ".join(value)


def _finding(rule: str, message: str) -> Finding:
    return Finding(
        rule=rule,
        severity=Severity.PATIENT_SAFETY,
        message=message,
        remedy="Build the image again from its release, and find out who changed this one.",
    )

"""From a contract and what is mounted here to a recorder: directory, keys, names."""

import asyncio
import re
import secrets
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, assert_never

from msgspec import Struct

from bedside_runtime.audit import record
from bedside_runtime.audit.clock import SystemClock
from bedside_runtime.audit.disk import PosixDisk
from bedside_runtime.audit.mounted import HMAC_KEY, RECIPIENT, SIGNING_KEY
from bedside_runtime.audit.notes import NotANote, Signer
from bedside_runtime.audit.privacy import Keeper, KeepsHmac, KeepsNothing, read_hmac_key
from bedside_runtime.audit.recorder import AuditRecorder
from bedside_runtime.audit.writer import Settings, Writer
from bedside_runtime.contract import Audit, Contract
from bedside_runtime.errors import AuditKeyInvalid, AuditUnavailable

_POD: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z.-]{0,252}")
_DIGEST: Final = re.compile("sha256:[0-9a-f]{64}")


class Surroundings(Struct, frozen=True):
    """What a deployment says about this one process.

    Attributes:
        keys: Folder of mounted keys.
        pod: Name of the pod: a folder of the log, and part of every checkpoint.
        image: Image digest; ``None`` where the process does not run from an image.
        directory: Overrides the log's directory, for a run outside of a cluster.
    """

    keys: Path
    pod: str
    image: str | None = None
    directory: Path | None = None


def surroundings(environ: Mapping[str, str]) -> Surroundings:
    """Read ``BEDSIDE_AUDIT_KEYS``, ``BEDSIDE_AUDIT_DIRECTORY``, ``BEDSIDE_IMAGE_DIGEST`` and ``POD_NAME``.

    Raises:
        AuditUnavailable: One of them cannot be what it should be.
    """
    pod = environ.get("POD_NAME") or socket.gethostname()
    if not _POD.fullmatch(pod):
        raise AuditUnavailable("POD_NAME is no name of a pod", remedy="Set POD_NAME from metadata.name.")
    image = environ.get("BEDSIDE_IMAGE_DIGEST") or None
    if image is not None and not _DIGEST.fullmatch(image):
        raise AuditUnavailable("BEDSIDE_IMAGE_DIGEST is no digest", remedy="Set it to sha256:... of the image.")
    directory = environ.get("BEDSIDE_AUDIT_DIRECTORY")
    keys = Path(environ.get("BEDSIDE_AUDIT_KEYS", "/run/secrets/bedside"))
    return Surroundings(keys, pod, image, Path(directory) if directory else None)


def recorder(
    contract: Contract,
    audit: Audit,
    digest: str,
    here: Surroundings,
    *,
    on_latch: Callable[[str], None],
    on_checkpoint: Callable[[str], None],
    loop: asyncio.AbstractEventLoop | None = None,
) -> AuditRecorder:
    """Return the recorder of a release, not yet open. It reads keys and takes the directory: a disk may hang here.

    Args:
        contract: The release.
        audit: Its settings.
        digest: Release digest, 64 hexadecimal characters.
        here: What the deployment says.
        on_latch: Called on the loop, once, when the log takes no more records.
        on_checkpoint: Called on the log's thread with every signed note.
        loop: The event loop that will use it; the running one where none is given.

    Raises:
        AuditKeyInvalid: A key is missing, or is none.
        AuditBusy: Another process writes this log.
        AuditUnavailable: The directory cannot be used.
        LibraryMissing: The extra ``audit`` is not installed and the settings need it.
    """
    release = f"sha256:{digest}"
    keeper = _keeper(contract, audit, release, here)
    signer = _signer(contract, audit, here)
    boot = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    identity = record.Identity(contract.name, contract.version, release, here.image, here.pod, boot)
    try:
        disk = PosixDisk((here.directory or Path(audit.path)) / here.pod)
    except OSError as error:
        raise AuditUnavailable(f"the directory of the audit log cannot be used: {error.strerror}") from None
    writer = Writer(
        disk, identity, _settings(audit), SystemClock(), keeping=keeper, signer=signer, on_checkpoint=on_checkpoint
    )
    return AuditRecorder(writer, keeper, audit.on_failure, on_latch, loop=loop)


def _settings(audit: Audit) -> Settings:
    return Settings(
        promises=record.Promises(audit.checkpoint_every, audit.checkpoint_seconds, audit.heartbeat_seconds),
        segment_bytes=audit.segment_bytes,
        segment_seconds=audit.segment_seconds,
        low_water_bytes=audit.low_water_bytes,
    )


def _keeper(contract: Contract, audit: Audit, release: str, here: Surroundings) -> Keeper:
    names = [item.name for item in contract.inputs]
    match audit.payload:
        case "none":
            return KeepsNothing(names, release, here.image)
        case "hmac":
            texts = [text for item in contract.inputs for text in item.categories]
            return KeepsHmac(names, release, here.image, read_hmac_key(_mounted(here, HMAC_KEY)), texts=texts)
        case "encrypted":
            from bedside_runtime.audit import sealing  # needs the extra `audit`, which other settings do not

            recipient = sealing.read_recipient(_mounted(here, RECIPIENT))
            return sealing.KeepsSealed(names, release, here.image, recipient)
        case _:
            assert_never(audit.payload)


def _signer(contract: Contract, audit: Audit, here: Surroundings) -> Signer | None:
    if not audit.signed:
        return None
    from bedside_runtime.audit.ed25519 import PrivateKey  # needs the extra `audit`, which other settings do not

    try:
        return PrivateKey(contract.name, _mounted(here, SIGNING_KEY))
    except NotANote as error:
        raise AuditKeyInvalid(str(error), remedy="Make one with `openssl genpkey -algorithm ed25519`.") from None


def _mounted(here: Surroundings, name: str) -> bytes:
    try:
        return (here.keys / name).read_bytes()
    except OSError as error:
        raise AuditKeyInvalid(f"{name} cannot be read in {here.keys}: {error.strerror}") from None

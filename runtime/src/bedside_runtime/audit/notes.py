"""Checkpoints: signed notes about where a log stands (C2SP signed-note and tlog-checkpoint). Pure.

A note is text, a blank line, and signature lines. The text of a checkpoint has three lines: the log's
origin, its number of records, and the base64 of its last record's hash. Any tool that reads C2SP notes
reads these. (In a tlog-checkpoint the third line is a Merkle root; this log is a chain, so it is the head.)
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from typing import Final, Protocol

from msgspec import Struct

from bedside_runtime.audit.chain import Head

ORIGIN: Final = "bedside.audit/"
"""Leads the origin line of every log."""

_ED25519: Final = b"\x01"
"""Signature type of C2SP signed-note for Ed25519."""

_NAME: Final = re.compile(r"[^\s+\x00-\x1f\x7f]+")
_DASH: Final = "\N{EM DASH} "


class NotANote(ValueError):
    """The text is no checkpoint, no signed note or no verification key; the message says which."""


class Checkpoint(Struct, frozen=True):
    """That the log ``origin`` stood at ``head``."""

    origin: str
    head: Head


class VerificationKey(Struct, frozen=True):
    """An Ed25519 public key with the name it signs under."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """The four bytes that lead every signature of this key."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(_ED25519 + self.public).decode()}"


class Signature(Struct, frozen=True):
    """One signature line."""

    name: str
    key: bytes
    signature: bytes


class Note(Struct, frozen=True):
    """A signed note taken apart; nothing about it is proved yet."""

    text: str
    signatures: tuple[Signature, ...]


class Signer(Protocol):
    """Signs notes under one name."""

    @property
    def key(self) -> VerificationKey:
        """The public half."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of an Ed25519 signature of ``message`` (RFC 8032)."""
        ...


class Verifier(Protocol):
    """Checks Ed25519 signatures."""

    def __call__(self, public: bytes, signature: bytes, message: bytes) -> bool:
        """Whether ``signature`` is ``public``'s over ``message``."""
        ...


def origin(pod: str) -> str:
    """Return the origin line of a pod's log."""
    return f"{ORIGIN}{pod}"


def pod(origin: str) -> str:
    """Return the pod that an origin line names; the line itself where it is another log's."""
    return origin.removeprefix(ORIGIN)


def checkpoint_text(checkpoint: Checkpoint) -> str:
    """Return the three lines that are signed."""
    root = base64.b64encode(bytes.fromhex(checkpoint.head.hash)).decode()
    return f"{checkpoint.origin}\n{checkpoint.head.records}\n{root}\n"


def sign(checkpoint: Checkpoint, signer: Signer) -> str:
    """Return the signed note of ``checkpoint``."""
    text = checkpoint_text(checkpoint)
    key = signer.key
    signature = base64.b64encode(key.id + signer.sign(text.encode())).decode()
    return f"{text}\n{_DASH}{key.name} {signature}\n"


def read_note(note: str) -> Note:
    """Take a signed note apart.

    Raises:
        NotANote: Not of the form that C2SP signed-note gives.
    """
    text, separator, lines = note.rpartition("\n\n")
    if not separator or not lines.endswith("\n") or any(character < " " and character != "\n" for character in note):
        raise NotANote("this is no signed note")
    return Note(f"{text}\n", tuple(map(_signature, lines[:-1].split("\n"))))


def _signature(line: str) -> Signature:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    raw = _base64(encoded)
    if not line.startswith(_DASH) or not _NAME.fullmatch(name) or len(raw) != 4 + 64:
        raise NotANote("this is no signature line of a note")
    return Signature(name, raw[:4], raw[4:])


def read_checkpoint(text: str) -> Checkpoint:
    """Read the three lines of a checkpoint; further lines are extensions, as C2SP allows.

    Raises:
        NotANote: They are none.
    """
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not lines[0] or not re.fullmatch("0|[1-9][0-9]{0,15}", lines[1]):
        raise NotANote("this is no checkpoint")
    root = _base64(lines[2])
    if len(root) != hashlib.sha256().digest_size:
        raise NotANote("the checkpoint holds no sha256")
    return Checkpoint(lines[0], Head(int(lines[1]), root.hex()))


def read_key(text: str) -> VerificationKey:
    """Read a verification key, ``name+id+base64``.

    Raises:
        NotANote: It is none, or not an Ed25519 key.
    """
    name, _, rest = text.strip().partition("+")
    identifier, _, encoded = rest.partition("+")
    raw = _base64(encoded)
    if not _NAME.fullmatch(name) or raw[:1] != _ED25519 or len(raw) != 1 + 32:
        raise NotANote("this is no verification key of the form name+id+base64")
    key = VerificationKey(name, raw[1:])
    if key.id.hex() != identifier:
        raise NotANote("the id of the verification key is not that of its name and bytes")
    return key


def signed_by(note: Note, keys: Sequence[VerificationKey], verifies: Verifier) -> VerificationKey | None:
    """Return the first of ``keys`` that signed ``note``; ``None`` where none did.

    Signatures of other keys say nothing, as C2SP demands. A signature that claims one of ``keys`` and does
    not verify makes the whole note unsigned.
    """
    message = note.text.encode()
    for key in keys:
        for item in note.signatures:
            if item.name == key.name and item.key == key.id:
                return key if verifies(key.public, item.signature, message) else None
    return None


def _base64(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return raw if base64.b64encode(raw).decode() == text else b""

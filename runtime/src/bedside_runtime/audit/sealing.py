"""Sealed inputs: only the holder of a key that is not on the pod can read them. Through `cryptography`.

Each segment has a data key of its own, AES-256-GCM (NIST SP 800-38D), held in memory while the segment is open and
written into its genesis record encrypted to the recipient (HPKE, RFC 9180: X25519, HKDF-SHA256, AES-256-GCM). The
record's number is the nonce, so none comes twice under one key; pod, segment and number are associated data, so a
sealed payload opens nowhere but where it was written.
"""

import base64
import hashlib
from collections.abc import Sequence
from typing import Final

from bedside_runtime.audit import record
from bedside_runtime.audit.chain import MAX_BODY
from bedside_runtime.audit.privacy import Keeps
from bedside_runtime.audit.record import Entry, Position
from bedside_runtime.errors import AuditKeyInvalid, AuditUnavailable, LibraryMissing, RecordTooLarge
from bedside_runtime.service import Entry as Answered

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_pem_private_key,
        load_pem_public_key,
    )
except ImportError as error:
    raise LibraryMissing(
        "sealed payloads need the package cryptography",
        remedy='Install bedside-runtime[audit], or set payload = "hmac" in [audit] of bedside.toml.',
    ) from error

_KEY_BITS: Final = 256
_HPKE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class NotOpened(ValueError):
    """The sealed payload is not of this place, or not for this key."""


class KeepsSealed(Keeps):
    """AES-256-GCM of each request's canonical inputs, for a recipient off the pod."""

    def __init__(self, names: Sequence[str], release: str, image: str | None, recipient: X25519PublicKey) -> None:
        super().__init__(names, release, image)
        self._recipient = recipient
        self._cipher: AESGCM | None = None

    def begin(self, pod: str, segment: int) -> record.Payload:
        """See `Keeper`. The data key of the segment before is forgotten here."""
        key = AESGCM.generate_key(_KEY_BITS)
        self._cipher = AESGCM(key)
        wrapped = _HPKE.encrypt(key, self._recipient, info=_info(pod, segment))
        return record.Payload("encrypted", recipient_id(self._recipient), base64.b64encode(wrapped).decode())

    def entries(self, answered: Sequence[Answered]) -> Sequence[Entry]:
        """See `Keeper`. Sealed on the log's thread, where the record's number is known."""
        return [self._entry(one) for one in answered]

    def _entry(self, answered: Answered) -> Entry:
        plain = self.inputs.rows(answered.rows)
        (bare,) = self.bodies([answered], [None])
        if len(plain) * 4 // 3 + len(bare) > MAX_BODY:
            raise RecordTooLarge("the inputs of the request do not fit into one record")

        def sealed(position: Position) -> bytes:
            if self._cipher is None:
                raise AuditUnavailable("no segment is open")
            data = self._cipher.encrypt(_nonce(position), plain, _associated(position))
            (made,) = self.bodies([answered], [base64.b64encode(data).decode()])
            return made

        return sealed


def unseal(payload: record.Payload, position: Position, sealed: str, key: X25519PrivateKey) -> bytes:
    """Return the canonical array of the inputs of the record at ``position``.

    Args:
        payload: Of the genesis record of the record's segment.
        position: Where the record stands.
        sealed: Its ``inputs``.
        key: The recipient's private key.

    Raises:
        NotOpened: Another place, another key, or altered.
    """
    try:
        wrapped = base64.b64decode(payload.wrapped or "", validate=True)
        data_key = _HPKE.decrypt(wrapped, key, info=_info(position.pod, position.segment))
        cipher = AESGCM(data_key)
        return cipher.decrypt(_nonce(position), base64.b64decode(sealed, validate=True), _associated(position))
    except (InvalidTag, ValueError):
        raise NotOpened("the sealed payload does not open here with this key") from None


def read_recipient(pem: bytes) -> X25519PublicKey:
    """Read the recipient's public key, as ``openssl pkey -pubout`` writes it.

    Raises:
        AuditKeyInvalid: It is none.
    """
    try:
        key = load_pem_public_key(pem)
    except ValueError:
        key = None
    if not isinstance(key, X25519PublicKey):
        raise AuditKeyInvalid(
            "the recipient of sealed payloads is no X25519 public key in PEM",
            remedy="Make one off the pod: `openssl genpkey -algorithm x25519`, then `openssl pkey -pubout`.",
        )
    return key


def read_private_key(pem: bytes) -> X25519PrivateKey:
    """Read the recipient's private key, as ``openssl genpkey -algorithm x25519`` writes it.

    Raises:
        AuditKeyInvalid: It is none.
    """
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, X25519PrivateKey):
        raise AuditKeyInvalid("the key that opens sealed payloads is no X25519 private key in PEM")
    return key


def recipient_id(key: X25519PublicKey) -> str:
    """Return what names the recipient in the log."""
    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]


def _info(pod: str, segment: int) -> bytes:
    return f"bedside.audit/1 data key\n{pod}\n{segment}".encode()


def _associated(position: Position) -> bytes:
    return f"bedside.audit/1 inputs\n{position.pod}\n{position.segment}\n{position.seq}".encode()


def _nonce(position: Position) -> bytes:
    return position.seq.to_bytes(12, "big")

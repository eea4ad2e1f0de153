"""DSSE, the envelope of signed statements (secure-systems-lab/dsse, protocol 1.0.2 and envelope 1.0.0). Pure.

What is signed is the payload together with its type (`pae`), so that bytes signed as one thing are never taken for
another.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Final

from bedside.errors import NotTrusted
from bedside.provenance.keys import PublicKey, Signer
from bedside_runtime import canonical

IN_TOTO: Final = "application/vnd.in-toto+json"
"""Payload type of in-toto statements."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload with the signatures over it.

    Attributes:
        payload: The bytes that were signed.
        payload_type: What they are.
        signatures: Each over `pae`; which key made which is only ever found out by trying.
    """

    payload: bytes
    payload_type: str
    signatures: tuple[bytes, ...]

    def signed_by(self, key: PublicKey) -> bool:
        """Whether one of the signatures is of ``key``."""
        return any(key.verifies(signature, pae(self.payload_type, self.payload)) for signature in self.signatures)


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the pre-authentication encoding: the bytes that are signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(payload: bytes, signer: Signer, payload_type: str = IN_TOTO) -> Envelope:
    """Return ``payload`` in an envelope with one signature."""
    return Envelope(payload, payload_type, (signer.sign(pae(payload_type, payload)),))


def value(envelope: Envelope) -> dict[str, Any]:
    """Return the JSON value of an envelope; the key is not named, as cosign does not name it."""
    return {
        "payloadType": envelope.payload_type,
        "payload": base64.b64encode(envelope.payload).decode(),
        "signatures": [{"keyid": "", "sig": base64.b64encode(item).decode()} for item in envelope.signatures],
    }


def encode(envelope: Envelope) -> bytes:
    """Return the canonical bytes of an envelope."""
    return canonical.encode(value(envelope))


def decode(data: bytes) -> Envelope:
    """Read an envelope. Nothing of it is believed by that.

    Raises:
        NotTrusted: It is none.
    """
    try:
        return of(canonical.decode(data))
    except canonical.NotStrictJSON as error:
        raise NotTrusted(f"an envelope cannot be read: {error}") from None


def of(said: object) -> Envelope:
    """Return the envelope that a JSON value is; see `decode`."""
    match said:
        case {"payload": str(payload), "payloadType": str(kind), "signatures": [*signatures]}:
            try:
                return Envelope(decoded(payload), kind, tuple(decoded(item["sig"]) for item in signatures))
            except (binascii.Error, KeyError, TypeError, ValueError):
                pass
    raise NotTrusted("an envelope is not what DSSE says that it is")


def decoded(text: str) -> bytes:
    """Return the bytes of standard or URL-safe base64; DSSE allows both.

    Raises:
        binascii.Error: It is neither.
    """
    return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)

"""Keys of an audit log: what a pod needs, and what an auditor keeps. Pure, but for chance."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from bedside_runtime.audit.ed25519 import PrivateKey
from bedside_runtime.audit.mounted import HMAC_KEY, RECIPIENT, SIGNING_KEY
from bedside_runtime.contract import Audit

VERIFICATION_KEY: Final = "audit-verification.key"
OPENING_KEY: Final = "audit-opening.pem"
"""Names of what stays with the auditor."""

_HMAC_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Keys:
    """New keys by file name.

    Attributes:
        pod: What is mounted into the pod. The HMAC key is in ``auditor`` too: it recognizes inputs.
        auditor: What proves signatures, recognizes inputs and opens sealed ones.
    """

    pod: Mapping[str, bytes]
    auditor: Mapping[str, bytes]


def make(model: str, audit: Audit) -> Keys:
    """Return new keys of everything that ``audit`` asks for.

    Args:
        model: Name of the model, which checkpoints are signed under.
        audit: Settings of the log.
    """
    pod: dict[str, bytes] = {}
    auditor: dict[str, bytes] = {}
    if audit.payload == "hmac":
        pod[HMAC_KEY] = auditor[HMAC_KEY] = secrets.token_hex(_HMAC_BYTES).encode() + b"\n"
    if audit.payload == "encrypted":
        opening = X25519PrivateKey.generate()
        pod[RECIPIENT] = opening.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        auditor[OPENING_KEY] = opening.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    if audit.signed:
        signing = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        pod[SIGNING_KEY] = signing
        auditor[VERIFICATION_KEY] = f"{PrivateKey(model, signing).key}\n".encode()
    return Keys(pod, auditor)

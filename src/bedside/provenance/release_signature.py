"""contract.sig as `bedside sign` writes it: OpenSSF model signing 1.0, by key. Pure.

`bedside_runtime.signature` says what the format is and reads it, here as in the image. ``model_signing verify key``
of the OpenSSF reads it too, and so do the Sigstore tools that know bundles.
"""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

from bedside.errors import KeyInvalid
from bedside.provenance.keys import PublicKey, Signer
from bedside_runtime import canonical, signature
from bedside_runtime.errors import SignatureInvalid

_IGNORED: Final = ("measurements.json", signature.FILE_NAME)
"""Files of a release that no digest covers: what packaging measured, and the signature itself."""


def sign(name: str, files: Mapping[str, str], signer: Signer) -> bytes:
    """Return the bytes of contract.sig.

    Args:
        name: What the release is called; for people, nobody compares it.
        files: The sha256 of contract.json and of every file that it names, by path.
        signer: A key on P-256: the format knows no Ed25519.

    Raises:
        KeyInvalid: It is another kind of key.
    """
    if signer.public.algorithm != "ecdsa-p256":
        raise KeyInvalid(
            "a release is signed with a key on the curve P-256: OpenSSF model signing knows no Ed25519",
            remedy="Name a key of `cosign generate-key-pair`; an Ed25519 key can sign the image.",
        )
    payload = canonical.encode(_statement(name, files))
    envelope: dict[str, canonical.JSON] = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": signature.PAYLOAD_TYPE,
        "signatures": [{"keyid": "", "sig": base64.b64encode(signer.sign(signature.pae(payload))).decode()}],
    }
    material: dict[str, canonical.JSON] = {"publicKey": {"hint": _hint(signer.public)}, "tlogEntries": []}
    return canonical.encode({"mediaType": signature.BUNDLE, "verificationMaterial": material, "dsseEnvelope": envelope})


def signed_by(data: bytes, key: PublicKey) -> bool:
    """Whether ``key`` signed what is in ``data``, the bytes of contract.sig."""
    try:
        signature.signed_files(data, key.verifies)
    except SignatureInvalid:
        return False
    return True


def files(data: bytes, key: PublicKey) -> dict[str, str]:
    """Return the sha256 of every file that ``key`` signed, by path.

    Raises:
        SignatureInvalid: It did not sign.
    """
    return signature.signed_files(data, key.verifies)


def _statement(name: str, sha256: Mapping[str, str]) -> dict[str, canonical.JSON]:
    ordered = sorted(sha256, key=PurePosixPath)
    resources: list[canonical.JSON] = [
        {"name": path, "algorithm": "sha256", "digest": sha256[path]} for path in ordered
    ]
    serialization: dict[str, canonical.JSON] = {
        "method": "files",
        "hash_type": "sha256",
        "allow_symlinks": False,
        "ignore_paths": list(_IGNORED),
    }
    over_all = signature.root([sha256[path] for path in ordered])
    return {
        "_type": signature.STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": over_all}}],
        "predicateType": signature.PREDICATE,
        "predicate": {"serialization": serialization, "resources": resources},
    }


def _hint(key: PublicKey) -> str:
    """How model signing names a key: the sha256 of its PEM, in hexadecimal."""
    return hashlib.sha256(key.pem).hexdigest()

"""Keys of a test, and `cosign.key` as `cosign generate-key-pair` writes it."""

import base64
import json
import os
import textwrap
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from nacl.secret import SecretBox

from bedside.provenance.keys import PrivateKey

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
ALICE = PrivateKey(ec.generate_private_key(ec.SECP256R1()))
BOB = PrivateKey(ec.generate_private_key(ec.SECP256R1()))
MALLORY = PrivateKey(ec.generate_private_key(ec.SECP256R1()))
EDDY = PrivateKey(ed25519.Ed25519PrivateKey.generate())


def pem(key: PrivateKey = ALICE) -> bytes:
    return key._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def cosign_key(
    key: PrivateKey, password: bytes, name: str = "ENCRYPTED SIGSTORE PRIVATE KEY", cost: int = 32768
) -> bytes:
    der = key._key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    salt, nonce = os.urandom(32), os.urandom(SecretBox.NONCE_SIZE)
    derived = Scrypt(salt=salt, length=32, n=min(cost, 32768), r=8, p=1).derive(password)
    said = {
        "kdf": {"name": "scrypt", "params": {"N": cost, "r": 8, "p": 1}, "salt": base64.b64encode(salt).decode()},
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(nonce).decode()},
        "ciphertext": base64.b64encode(SecretBox(derived).encrypt(der, nonce).ciphertext).decode(),
    }
    lines = textwrap.wrap(base64.b64encode(json.dumps(said).encode()).decode(), 64)
    return "\n".join([f"-----BEGIN {name}-----", *lines, f"-----END {name}-----", ""]).encode()

"""Keys for tests. Import it only where `cryptography` is there."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bedside_runtime.audit.ed25519 import PrivateKey, verifies
from bedside_runtime.audit.verify import Trust


def pem(seed: int) -> bytes:
    key = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def signer(seed: int = 1, name: str = "icu-mortality") -> PrivateKey:
    return PrivateKey(name, pem(seed))


def trust(*signers: PrivateKey) -> Trust:
    return Trust(tuple(item.key for item in signers), verifies)

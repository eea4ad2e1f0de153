"""The key that a release must be signed with, through `cryptography`, the runtime's extra ``signature``."""

from pathlib import Path

from bedside_runtime.errors import LibraryMissing, SignatureKeyInvalid
from bedside_runtime.signature import Verifies

try:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
except ImportError as error:
    raise LibraryMissing(
        "a release that must be signed needs the package cryptography",
        remedy="Write signed = true in [release] of bedside.toml and package again, or name no key.",
    ) from error


def read(path: Path) -> Verifies:
    """Return how the public key in ``path`` verifies: ECDSA on P-256 with SHA-256.

    Raises:
        SignatureKeyInvalid: It cannot be read, or is another kind of key.
    """
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise SignatureKeyInvalid(f"the key {path} cannot be read: {error.strerror}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise SignatureKeyInvalid(f"{path} is no public key in PEM") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SignatureKeyInvalid(f"the key in {path} is not on the curve P-256")

    def verifies(signature: bytes, message: bytes) -> bool:
        try:
            key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True

    return verifies

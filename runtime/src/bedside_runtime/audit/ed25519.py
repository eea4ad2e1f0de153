"""Ed25519 (RFC 8032) through `cryptography`, the runtime's extra ``audit``."""

from bedside_runtime.audit.notes import NotANote, VerificationKey
from bedside_runtime.errors import LibraryMissing

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
except ImportError as error:
    raise LibraryMissing(
        "signed checkpoints need the package cryptography",
        remedy="Install bedside-runtime[audit], or name no signing and no verification key.",
    ) from error


class PrivateKey:
    """Signs checkpoints under a name. The key never leaves this object."""

    def __init__(self, name: str, pem: bytes) -> None:
        """Read an unencrypted PKCS #8 PEM, as ``openssl genpkey -algorithm ed25519`` writes it.

        Raises:
            NotANote: It is none.
        """
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError):
            raise NotANote("the signing key is no unencrypted PKCS #8 PEM") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise NotANote("the signing key is no Ed25519 key")
        self._key = key
        self.key = VerificationKey(name, key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    def sign(self, message: bytes) -> bytes:
        """Return the signature of ``message``."""
        return self._key.sign(message)


def verifies(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether ``signature`` is ``public``'s over ``message``."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True

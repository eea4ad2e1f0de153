"""Keys that sign and verify: ECDSA on P-256 with SHA-256, which is cosign's default, and Ed25519 (RFC 8032). Pure.

Private keys are read from PKCS #8 PEM, encrypted or not, and from what `cosign generate-key-pair` writes: a PEM whose
bytes are JSON that names scrypt and NaCl's secretbox (securesystemslib's encrypted format). Other curves and RSA are
refused: cosign hashes for them in another way than the standards that name them, so two tools would disagree.
"""

import base64
import binascii
import hashlib
from collections.abc import Callable
from typing import Any, Final, Literal, Protocol, TypeAlias, runtime_checkable

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)
from msgspec import DecodeError, Struct, json
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from bedside.errors import KeyInvalid

_ECDSA: Final = ec.ECDSA(hashes.SHA256())
_COSIGN: Final = (b"ENCRYPTED SIGSTORE PRIVATE KEY", b"ENCRYPTED COSIGN PRIVATE KEY")
_MOST_MEMORY: Final = 1 << 28
"""Bytes that deriving a key from a password may take: what a file asks for beyond this is an attack or an error."""

Password: TypeAlias = Callable[[], bytes]
"""Asked only where a key is encrypted."""

_Public: TypeAlias = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
_Private: TypeAlias = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class PublicKey:
    """A key that verifies."""

    def __init__(self, key: object) -> None:
        """Take a public key of `cryptography`.

        Raises:
            KeyInvalid: It is of another kind than those that are signed with here.
        """
        self._key = _accepted_public(key)
        self.der = self._key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def algorithm(self) -> Literal["ecdsa-p256", "ed25519"]:
        """What it verifies with."""
        return "ed25519" if isinstance(self._key, ed25519.Ed25519PublicKey) else "ecdsa-p256"

    @property
    def pem(self) -> bytes:
        """As ``cosign.pub`` has it: SubjectPublicKeyInfo."""
        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def fingerprint(self) -> str:
        """The sha256 of its SubjectPublicKeyInfo (DER), 64 hexadecimal digits."""
        return hashlib.sha256(self.der).hexdigest()

    @property
    def hint(self) -> str:
        """How Sigstore bundles name it: the same sha256 in base64."""
        return base64.b64encode(hashlib.sha256(self.der).digest()).decode()

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether ``signature`` is this key's over ``message``."""
        try:
            if isinstance(self._key, ed25519.Ed25519PublicKey):
                self._key.verify(signature, message)
            else:
                self._key.verify(signature, message, _ECDSA)
        except InvalidSignature:
            return False
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and other.der == self.der

    def __hash__(self) -> int:
        return hash(self.der)


@runtime_checkable
class Signer(Protocol):
    """Signs, wherever the private key is: a file, or a service that never gives it away."""

    @property
    def public(self) -> PublicKey:
        """The key that verifies what this one signs."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the signature of ``message``: DER for ECDSA, 64 bytes for Ed25519.

        Raises:
            ToolFailed: A service that keeps the key refuses or cannot be reached.
        """
        ...


class PrivateKey:
    """A Signer whose key is in this process; it never leaves this object."""

    def __init__(self, key: object) -> None:
        """Take a private key of `cryptography`.

        Raises:
            KeyInvalid: It is of another kind than those that are signed with here.
        """
        self._key = _accepted_private(key)

    @property
    def public(self) -> PublicKey:
        """See Signer."""
        return PublicKey(self._key.public_key())

    def sign(self, message: bytes) -> bytes:
        """See Signer."""
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return self._key.sign(message)
        return self._key.sign(message, _ECDSA)


def read_public(data: bytes) -> PublicKey:
    """Read a public key: PEM, or the DER of a SubjectPublicKeyInfo.

    Raises:
        KeyInvalid: It is none, or a private key, which must not lie where public ones are expected.
    """
    if b"PRIVATE KEY-----" in data:
        raise KeyInvalid(
            "this is a private key, and a public one is needed",
            remedy="Take it away from there; write its public half with `openssl pkey -pubout` or `cosign public-key`.",
        )
    try:
        return PublicKey(load_pem_public_key(data) if b"-----BEGIN" in data else load_der_public_key(data))
    except (ValueError, UnsupportedAlgorithm):
        raise KeyInvalid("this is no public key in PEM or DER") from None


def read_private(pem: bytes, password: Password) -> PrivateKey:
    """Read a private key.

    Args:
        pem: PKCS #8 or SEC 1 PEM, or ``cosign.key``.
        password: Asked where the key is encrypted.

    Raises:
        KeyInvalid: It is none, or the password is another. The message holds neither.
    """
    if any(b"-----BEGIN " + name in pem for name in _COSIGN):
        return PrivateKey(load_der_private_key(_opened(_pem_bytes(pem), password()), None))
    try:
        encrypted = b"ENCRYPTED" in pem
        return PrivateKey(load_pem_private_key(pem, password() if encrypted else None))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyInvalid("this is no private key in PEM, or the password is another") from None


class _Parameters(Struct, frozen=True):
    N: int
    r: int
    p: int


class _Kdf(Struct, frozen=True):
    name: Literal["scrypt"]
    params: _Parameters
    salt: bytes


class _Cipher(Struct, frozen=True):
    name: Literal["nacl/secretbox"]
    nonce: bytes


class _Encrypted(Struct, frozen=True):
    kdf: _Kdf
    cipher: _Cipher
    ciphertext: bytes


def _opened(data: bytes, password: bytes) -> bytes:
    """Return the PKCS #8 bytes in the JSON of a ``cosign.key``."""
    try:
        said = json.decode(data, type=_Encrypted)
    except DecodeError as error:
        raise KeyInvalid(f"this is no key as cosign writes it: {error}") from None
    cost = said.kdf.params
    if not 0 < 128 * cost.N * cost.r * max(cost.p, 1) <= _MOST_MEMORY:
        raise KeyInvalid("this key asks for more memory to be opened than any honest one")
    try:
        derived = Scrypt(salt=said.kdf.salt, length=SecretBox.KEY_SIZE, n=cost.N, r=cost.r, p=cost.p).derive(password)
        return SecretBox(derived).decrypt(said.ciphertext, said.cipher.nonce)
    except (CryptoError, ValueError):
        raise KeyInvalid("the password does not open this key") from None


def _pem_bytes(pem: bytes) -> bytes:
    lines = [line for line in pem.replace(b"\r", b"").strip().split(b"\n") if b"-----" not in line]
    try:
        return base64.b64decode(b"".join(lines), validate=True)
    except binascii.Error:
        raise KeyInvalid("this is no PEM: what stands between its lines is not base64") from None


def _accepted_public(key: Any) -> _Public:  # noqa: ANN401 - whatever `cryptography` reads
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise _other_kind()


def _accepted_private(key: Any) -> _Private:  # noqa: ANN401 - whatever `cryptography` reads
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise _other_kind()


def _other_kind() -> KeyInvalid:
    return KeyInvalid(
        "this key is neither on the curve P-256 nor an Ed25519 key",
        remedy="Make one with `cosign generate-key-pair`, or with `openssl genpkey -algorithm EC -pkeyopt "
        "ec_paramgen_curve:P-256 -aes256`.",
    )

"""An issuer of tokens that also makes every kind of bad one; no library stands in its way."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ISSUER = "https://login.example.org"
AUDIENCE = "icu-test"

_HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_CURVES: dict[str, tuple[ec.EllipticCurve, str, int]] = {
    "ES256": (ec.SECP256R1(), "P-256", 32),
    "ES384": (ec.SECP384R1(), "P-384", 48),
    "ES512": (ec.SECP521R1(), "P-521", 66),
}


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value: int) -> str:
    return encoded(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def written(value: Mapping[str, Any]) -> str:
    return encoded(json.dumps(value).encode())


def claims(**changes: Any) -> dict[str, Any]:
    """Good claims for the next five minutes, with ``changes``; ``None`` leaves one out."""
    now = int(time.time())
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ehr", "exp": now + 300, "iat": now, "nbf": now - 1}
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


class Signer:
    """A key pair for one algorithm."""

    def __init__(self, algorithm: str, kid: str | None = None, *, bits: int = 2048) -> None:
        self.algorithm, self.kid = algorithm, kid or algorithm.lower()
        if algorithm[:2] in ("RS", "PS"):
            self.key: Any = rsa.generate_private_key(65_537, bits)
        elif algorithm[:2] == "ES":
            self.key = ec.generate_private_key(_CURVES[algorithm][0])
        else:
            self.key = (ed448.Ed448PrivateKey if kid == "ed448" else ed25519.Ed25519PrivateKey).generate()

    def sign(self, data: bytes, algorithm: str | None = None) -> bytes:
        used = algorithm or self.algorithm
        match used[:2]:
            case "RS":
                signed: bytes = self.key.sign(data, padding.PKCS1v15(), _HASHES[used[2:]])
                return signed
            case "PS":
                digest = _HASHES[used[2:]]
                salted = padding.PSS(padding.MGF1(digest), digest.digest_size)
                return bytes(self.key.sign(data, salted, digest))
            case "ES":
                size = _CURVES[self.algorithm][2]
                r, s = decode_dss_signature(self.key.sign(data, ec.ECDSA(_HASHES[used[2:]])))
                return r.to_bytes(size, "big") + s.to_bytes(size, "big")
            case _:
                return bytes(self.key.sign(data))

    def token(self, payload: Mapping[str, Any] | None = None, header: Mapping[str, Any] | None = None) -> str:
        """A token; what ``header`` names replaces what would stand there, ``None`` takes it out."""
        head = {"alg": self.algorithm, "kid": self.kid, "typ": "JWT", **(header or {})}
        head = {name: value for name, value in head.items() if value is not None}
        return self.over(written(head), written(claims() if payload is None else payload))

    def over(self, head: str, body: str) -> str:
        signed = f"{head}.{body}"
        return f"{signed}.{encoded(self.sign(signed.encode()))}"

    def jwk(self, **changes: Any) -> dict[str, Any]:
        """The public key as it stands in a key set."""
        public = self.key.public_key()
        if self.algorithm[:2] in ("RS", "PS"):
            numbers = public.public_numbers()
            own = {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}
        elif self.algorithm[:2] == "ES":
            _, curve, size = _CURVES[self.algorithm]
            point = public.public_numbers()
            own = {"kty": "EC", "crv": curve, "x": encoded(point.x.to_bytes(size, "big"))}
            own["y"] = encoded(point.y.to_bytes(size, "big"))
        else:
            raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
            own = {"kty": "OKP", "crv": "Ed448" if len(raw) == 57 else "Ed25519", "x": encoded(raw)}
        return {"kid": self.kid, "use": "sig", "alg": self.algorithm, **own, **changes}

    def pem(self) -> bytes:
        """The public key as it stands in a file."""
        public: bytes = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return public


def shared(secret: bytes, header: Mapping[str, Any], payload: Mapping[str, Any] | None = None) -> str:
    """A token signed with a shared secret, HS256."""
    signed = f"{written(header)}.{written(claims() if payload is None else payload)}"
    return f"{signed}.{encoded(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def key_set(*signers: Signer, more: tuple[dict[str, Any], ...] = ()) -> bytes:
    return json.dumps({"keys": [*(signer.jwk() for signer in signers), *more]}).encode()

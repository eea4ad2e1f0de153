"""The key set of an issuer of tokens (RFC 7517): which public keys it names, and for which algorithms. Pure.

Only what can verify a signature under a public key is taken: RSA from 2048 bits, the NIST curves, Ed25519 and Ed448.
A symmetric key in a key set is passed over, so no token can be verified with something that is public.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import InvalidKeyError
from msgspec import Struct

from bedside_runtime import canonical
from bedside_runtime.errors import AuthKeysInvalid

_RSA: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES: Final = MappingProxyType({"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"})
_SHORTEST_RSA: Final = 2_048
"""Bits; NIST SP 800-131A."""

_MOST_KEYS: Final = 100
_LONGEST_ID: Final = 256


class Key(Struct, frozen=True):
    """One public key of `cryptography`, and the algorithms that a token may name with it."""

    public: Any
    algorithms: frozenset[str]


KeySet: TypeAlias = Mapping[str, Key]
"""Keys by their id."""


def parse(data: bytes) -> KeySet:
    """Return the usable keys of a key set.

    Raises:
        AuthKeysInvalid: It is none, names two keys by one id, holds a private key, or no usable key at all.
    """
    try:
        value = canonical.decode(data)
    except canonical.NotStrictJSON as error:
        raise AuthKeysInvalid(f"the key set is no JSON that is accepted here: {error}") from None
    listed = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise AuthKeysInvalid("the key set has no list of keys (RFC 7517, section 5)")
    if len(listed) > _MOST_KEYS:
        raise AuthKeysInvalid(f"the key set holds more than {_MOST_KEYS} keys")
    found = [pair for item in listed for pair in _usable(item)]
    if not found:
        raise AuthKeysInvalid("the key set holds no public key with a `kid` that could verify a signature")
    keys = dict(found)
    if len(keys) != len(found):
        raise AuthKeysInvalid("the key set names two keys by one id, so a token does not say which it means")
    return MappingProxyType(keys)


def _usable(item: Mapping[str, Any]) -> Iterator[tuple[str, Key]]:
    """Yield the id and key of ``item``, or nothing where it is for something else."""
    kind, name = item.get("kty"), item.get("kid")
    if kind in ("RSA", "EC", "OKP") and "d" in item:
        raise AuthKeysInvalid("the key set holds a private key; whoever can read it can make tokens")
    operations = item.get("key_ops", ["verify"])
    if item.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_ID:
        return
    key = _key(dict(item))
    if key is None:
        return
    named = item.get("alg")
    algorithms = (
        key.algorithms if named is None else key.algorithms & {named} if isinstance(named, str) else frozenset()
    )
    if algorithms:
        yield name, Key(key.public, algorithms)


def _key(item: dict[str, Any]) -> Key | None:
    """Return the public key of ``item`` with all algorithms that go with it; ``None`` for another kind."""
    try:
        match item.get("kty"):
            case "RSA":
                public: Any = RSAAlgorithm.from_jwk(item)
                return Key(public, _RSA) if public.key_size >= _SHORTEST_RSA else None
            case "EC" if (algorithm := _CURVES.get(str(item.get("crv")))) is not None:
                return Key(ECAlgorithm.from_jwk(item), frozenset({algorithm}))
            case "OKP":
                return Key(OKPAlgorithm.from_jwk(item), frozenset({"EdDSA"}))
            case _:
                return None
    except (InvalidKeyError, ValueError, TypeError, KeyError):
        return None

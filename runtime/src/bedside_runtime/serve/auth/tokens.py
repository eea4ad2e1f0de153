"""JWT bearer tokens (RFC 7519, RFC 8725, RFC 9068): who shows one, if it is believed.

The signature and the registered claims are PyJWT's business. What is looked at before is the form, as a library that is
asked for a signature need not be strict about it: JSON without duplicate names, base64url written in the one right way,
an algorithm that goes with the kind of the key, no header that changes what is signed. No header of a token ever says
where a key comes from.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from typing import Any, Final

import jwt

from bedside_runtime import canonical
from bedside_runtime.contract import Jwt
from bedside_runtime.serve.auth.believing import KeysWanted, NotBelieved
from bedside_runtime.serve.auth.fetched import Keys
from bedside_runtime.serve.auth.keyset import Key, KeySet

_FORM: Final = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_CHANGES_MEANING: Final = ("crit", "b64", "zip", "enc", "cty")
"""Header parameters that change what is signed or what it means; none is understood here (RFC 7515, section 4.1.11)."""

_LONGEST_NAME: Final = 255
_MOST_REMEMBERED: Final = 4_096
"""Tokens that were verified and are not verified again while they last."""


class Tokens:
    """Judges tokens of one issuer."""

    def __init__(self, settings: Jwt, keys: Keys[KeySet], clock: Callable[[], float]) -> None:
        """``clock`` is seconds since the epoch."""
        self._settings, self._keys, self._clock = settings, keys, clock
        self._remembered: dict[bytes, tuple[str, float]] = {}
        self._remembered_under: KeySet | None = None

    def takes(self, credential: bytes) -> bool:
        """Return whether ``credential`` has the form of a signed token (RFC 7515, section 3.1)."""
        return _FORM.fullmatch(credential) is not None

    def identity(self, credential: bytes) -> str:
        """Return who the token says asks.

        Raises:
            NotBelieved: It is not believed, or lacks a scope.
            KeysWanted: It names a key that is being fetched.
        """
        keys = self._believed()
        digest = hashlib.sha256(credential).digest()
        remembered = self._remembered.get(digest)
        name, until = remembered if remembered is not None else self._verified(credential, keys)
        if self._clock() >= until:
            raise NotBelieved("token-expired")
        if remembered is None:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.pop(next(iter(self._remembered)))
            self._remembered[digest] = name, until
        return name

    def _verified(self, credential: bytes, keys: KeySet) -> tuple[str, float]:
        """Return who the token says asks, and until when it may be believed."""
        claims = self._claims(credential, keys)
        name = self._name(claims)
        self._require_scopes(claims, name)
        return name, float(claims["exp"]) + self._settings.skew_seconds

    def _believed(self) -> KeySet:
        """Return the keys that are believed now; with others than before, nothing that was remembered counts."""
        keys = self._keys.value
        if keys is not self._remembered_under:
            self._remembered.clear()
            self._remembered_under = keys
        if keys is not None:
            return keys
        coming = self._keys.again()
        if coming is None:
            raise NotBelieved("keys-unavailable")
        raise KeysWanted(coming)

    def _claims(self, credential: bytes, keys: KeySet) -> dict[str, Any]:
        head, body, signature = credential.split(b".")
        header = _object(head)
        algorithm = self._algorithm(header)
        key = self._key(header, algorithm, keys)
        _canonical(signature)
        well_formed(_object(body))
        try:
            return jwt.decode(
                credential,
                key.public,
                [algorithm],
                issuer=self._settings.issuer,
                audience=self._settings.audience,
                leeway=self._settings.skew_seconds,
                options={"require": ["exp", "iss", "aud"], "enforce_minimum_key_length": True},
            )
        except jwt.PyJWTError as error:
            raise NotBelieved(_reason(error)) from None

    def _algorithm(self, header: dict[str, Any]) -> str:
        if any(name in header for name in _CHANGES_MEANING):
            raise NotBelieved("token-header")
        kind = header.get("typ", "jwt")
        if not isinstance(kind, str) or kind.lower() not in _TYPES:
            raise NotBelieved("token-header")
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self._settings.algorithms:
            raise NotBelieved("token-algorithm")
        return algorithm

    def _key(self, header: dict[str, Any], algorithm: str, keys: KeySet) -> Key:
        name = header.get("kid")
        if not isinstance(name, str):
            raise NotBelieved("token-key")
        key = keys.get(name)
        if key is None:
            coming = self._keys.again()  # the issuer may have a new one
            if coming is None:
                raise NotBelieved("token-key")
            raise KeysWanted(coming)
        if algorithm not in key.algorithms:
            raise NotBelieved("token-algorithm")
        return key

    def _name(self, claims: dict[str, Any]) -> str:
        name = claims.get(self._settings.identity)
        if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
            raise NotBelieved("token-claims")
        return f"jwt:{name}"

    def _require_scopes(self, claims: dict[str, Any], name: str) -> None:
        """RFC 6749, section 3.3, in `scope`; some issuers write `scp`, some a list."""
        said = claims.get("scope", claims.get("scp", ""))
        granted = said.split(" ") if isinstance(said, str) else said
        if not isinstance(granted, list) or not set(self._settings.scopes) <= {
            scope for scope in granted if isinstance(scope, str)
        }:
            raise NotBelieved("token-scope", name)


def well_formed(claims: dict[str, Any]) -> None:
    """Check the types of the registered claims (RFC 7519, section 4.1), which are read loosely elsewhere.

    Raises:
        NotBelieved: One is of another type.
    """
    audience = claims.get("aud", "")
    good = (
        isinstance(claims.get("iss", ""), str)
        and all(isinstance(item, str) for item in (audience if isinstance(audience, list) else [audience]))
        and all(_is_date(claims[name]) for name in ("exp", "nbf", "iat") if name in claims)
    )
    if not good:
        raise NotBelieved("token-claims")


def _is_date(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _END_OF_TIME


_END_OF_TIME: Final = 253_402_300_800
"""The year 10000, in seconds since the epoch."""


def _object(part: bytes) -> dict[str, Any]:
    try:
        value = canonical.decode(_canonical(part))
    except canonical.NotStrictJSON:
        value = None
    if not isinstance(value, dict):
        raise NotBelieved("token-malformed")
    return value


def _canonical(part: bytes) -> bytes:
    """Decode base64url without padding (RFC 7515, section 2); of several ways to write some bytes one is right."""
    try:
        data = base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    except (binascii.Error, ValueError):
        raise NotBelieved("token-malformed") from None
    if not data or base64.urlsafe_b64encode(data).rstrip(b"=") != part:
        raise NotBelieved("token-malformed")
    return data


def _reason(error: jwt.PyJWTError) -> str:
    match error:
        case jwt.InvalidSignatureError():
            return "token-signature"
        case jwt.ExpiredSignatureError():
            return "token-expired"
        case jwt.ImmatureSignatureError():
            return "token-not-yet-valid"
        case jwt.InvalidIssuerError():
            return "token-issuer"
        case jwt.InvalidAudienceError():
            return "token-audience"
        case jwt.MissingRequiredClaimError():
            return "token-claims"
        case _:
            return "token-malformed"

"""How a registry asks for authentication, and what is answered (RFC 9110, distribution token specification). Pure.

Secrets are in values whose representation does not show them.
"""

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from urllib.parse import urlencode

_CLIENT: Final = "bedside"

_PARAMETER: Final = re.compile(r'([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*,?\s*')
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)(?:\s+|$)(?!\s*=)")
_HEADER_SAFE: Final = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Password:
    """A user's name and password."""

    user: str
    secret: str = field(repr=False)

    @property
    def header(self) -> str:
        """The value of ``Authorization`` (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.secret}".encode()).decode()


@dataclass(frozen=True, slots=True)
class IdentityToken:
    """A refresh token of OAuth 2, which the token service changes into an access token."""

    secret: str = field(repr=False)


Credential: TypeAlias = Password | IdentityToken


@dataclass(frozen=True, slots=True)
class Challenge:
    """One demand of a ``WWW-Authenticate`` header: scheme in lowercase, and its parameters."""

    scheme: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """How a token is asked for: a GET with the password, or a POST whose form holds the identity token."""

    url: str
    authorization: str | None = field(default=None, repr=False)
    form: str | None = field(default=None, repr=False)


class TokenUnreadable(ValueError):
    """The answer of a token service holds no token that a header can carry. The message never quotes it."""


def challenges(header: str) -> tuple[Challenge, ...]:
    """Read a ``WWW-Authenticate`` header; what does not follow the grammar is passed over."""
    return tuple(_challenges(header))


def _challenges(header: str) -> Iterator[Challenge]:
    place = 0
    while scheme := _SCHEME.match(header, place):
        place, parameters = scheme.end(), {}
        while parameter := _PARAMETER.match(header, place):
            name, quoted, plain = parameter.groups()
            parameters[name.lower()] = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            place = parameter.end()
        yield Challenge(scheme[1].lower(), parameters)


def token_request(challenge: Challenge, credential: Credential | None, more_scopes: tuple[str, ...]) -> TokenRequest:
    """Return how to ask for the token that ``challenge`` demands.

    Args:
        challenge: Of the scheme Bearer, with a realm.
        credential: ``None`` asks as nobody, which is enough for public images.
        more_scopes: Added to the scope of the challenge: the repository that layers are mounted from.
    """
    scopes = [scope for scope in (challenge.parameters.get("scope"), *more_scopes) if scope]
    service = challenge.parameters.get("service", "")
    realm = challenge.parameters["realm"]
    match credential:
        case IdentityToken(secret):
            form = {
                "grant_type": "refresh_token",
                "service": service,
                "client_id": _CLIENT,
                "scope": " ".join(scopes),
                "refresh_token": secret,
            }
            return TokenRequest(realm, form=urlencode(form))
        case Password() | None:
            query = urlencode([("service", service), *(("scope", scope) for scope in scopes)])
            url = f"{realm}{'&' if '?' in realm else '?'}{query}"
            return TokenRequest(url, authorization=credential.header if credential is not None else None)


def bearer(answer: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return the value of ``Authorization`` for the token in a token service's ``answer``.

    Raises:
        TokenUnreadable: There is none.
    """
    token = (answer.get("token") or answer.get("access_token")) if isinstance(answer, dict) else None
    if not isinstance(token, str) or _HEADER_SAFE.fullmatch(token) is None:
        raise TokenUnreadable("the token service answered without a token")
    return f"Bearer {token}"

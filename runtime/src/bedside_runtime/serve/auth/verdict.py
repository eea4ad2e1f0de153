"""What is decided about a request before anything of it is read but its head. Pure.

A refusal says 401 where nobody is known to ask (RFC 9110, section 11; RFC 6750, section 3), 403 where somebody is who
may not, and 503 where it cannot be found out. Its reason is one of a closed set; none tells anything about a key.
"""

from collections.abc import Awaitable, Sequence
from types import MappingProxyType
from typing import Final, TypeAlias

from msgspec import Struct

from bedside_runtime.serve.problems import RETRY_AFTER, Problem

REASONS: Final = MappingProxyType(
    {
        "missing": "unauthenticated",
        "malformed": "unauthenticated",
        "repeated": "unauthenticated",
        "key-unknown": "unauthenticated",
        "key-expired": "unauthenticated",
        "token-malformed": "unauthenticated",
        "token-header": "unauthenticated",
        "token-algorithm": "unauthenticated",
        "token-key": "unauthenticated",
        "token-signature": "unauthenticated",
        "token-claims": "unauthenticated",
        "token-issuer": "unauthenticated",
        "token-audience": "unauthenticated",
        "token-expired": "unauthenticated",
        "token-not-yet-valid": "unauthenticated",
        "token-scope": "forbidden",
        "certificate-missing": "unauthenticated",
        "certificate-expired": "unauthenticated",
        "certificate-name": "forbidden",
        "keys-unavailable": "authentication-unavailable",
    }
)
"""Why a request is refused, and as which problem."""


class Verdict(Struct, frozen=True):
    """Whether a request may go on.

    Attributes:
        identity: Who asks, ``<method>:<name>``; ``None`` where nobody authenticates.
        refusal: What the request is answered with; ``None`` where it may go on.
    """

    identity: str | None = None
    refusal: Problem | None = None


Decision: TypeAlias = Verdict | Awaitable[Verdict]
"""A verdict, or one that is waited for: an issuer is being asked for its keys."""

DECISION: Final = "bedside.decision"
"""The key under which a request's scope holds it."""

ANYBODY: Final = Verdict()
"""The verdict where nobody authenticates, and about probes."""

TURNED_AWAY: Final = frozenset({"authentication-unavailable", "forbidden", "unauthenticated"})
"""Problems of requests that may not go on."""


def refused(reason: str, challenge: str, identity: str | None = None) -> Verdict:
    """Return a refusal.

    Args:
        reason: One of ``REASONS``.
        challenge: How a caller could show who it is; not said by a server that cannot find out who asks.
        identity: Who asks, where that is known.
    """
    code = REASONS[reason]
    match code:
        case "authentication-unavailable":
            headers = {"retry-after": RETRY_AFTER}
        case "forbidden" if reason.startswith("certificate-"):
            headers = {}  # nothing that the caller could say would help
        case _:
            headers = {"www-authenticate": challenge}
    return Verdict(identity, Problem(code, members={"reason": reason}, headers=headers, recorded_as=reason))


def certificate_challenge(realm: str) -> str:
    """Return the challenge for a client certificate: no scheme is registered, and every 401 has one (RFC 9110)."""
    return f'Client-Certificate realm="{realm}"'


def challenge(realm: str, reason: str, scopes: Sequence[str] = ()) -> str:
    """Return the challenge for a bearer credential (RFC 6750, section 3).

    A request that carried none is told no error code; one that lacks a scope, which ``scopes`` it needs.
    """
    if reason == "missing" or reason.startswith("certificate-"):
        return f'Bearer realm="{realm}"'
    if REASONS[reason] == "forbidden":
        return f'Bearer realm="{realm}", error="insufficient_scope", scope="{" ".join(scopes)}"'
    return f'Bearer realm="{realm}", error="invalid_token", error_description="{reason}"'

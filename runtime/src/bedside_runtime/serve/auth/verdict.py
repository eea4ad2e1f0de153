"""What is decided about a request before anything of it is read but its head. Pure.

A refusal says 401 where nobody is known to ask (RFC 9110, section 11; RFC 6750, section 3), 403 where somebody is who
may not, and 503 where it cannot be found out. Its reason is one of a closed set; none tells anything about a key.
"""

from types import MappingProxyType
from typing import Final

from msgspec import Struct

from bedside_runtime.serve.problems import RETRY_AFTER, Problem

REASONS: Final = MappingProxyType(
    {
        "missing": "unauthenticated",
        "malformed": "unauthenticated",
        "repeated": "unauthenticated",
        "key-unknown": "unauthenticated",
        "key-expired": "unauthenticated",
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


VERDICT: Final = "bedside.verdict"
"""The key under which a request's scope holds it."""

ANYBODY: Final = Verdict()
"""The verdict where nobody authenticates, and about probes."""

UNDECIDED: Final = Verdict(refusal=Problem("authentication-unavailable"))
"""The verdict about a request that no gate has seen."""

TURNED_AWAY: Final = frozenset({"authentication-unavailable", "forbidden", "unauthenticated"})
"""Problems of requests that may not go on."""


def refused(reason: str, challenges: tuple[str, ...], identity: str | None = None) -> Verdict:
    """Return a refusal.

    Args:
        reason: One of ``REASONS``.
        challenges: How a caller could show who it is; see `challenge`.
        identity: Who asks, where that is known.
    """
    headers = {"www-authenticate": ", ".join(challenges)}
    return Verdict(identity, Problem(REASONS[reason], members={"reason": reason}, headers=headers, recorded_as=reason))


def unavailable(reason: str) -> Verdict:
    """Return the refusal of a server that cannot find out who asks."""
    headers = {"retry-after": RETRY_AFTER}
    problem = Problem(REASONS[reason], members={"reason": reason}, headers=headers, recorded_as=reason)
    return Verdict(refusal=problem)


def challenge(realm: str, reason: str) -> str:
    """Return the challenge for a bearer credential (RFC 6750, section 3).

    A request that carried none is told no error code.
    """
    if reason == "missing":
        return f'Bearer realm="{realm}"'
    return f'Bearer realm="{realm}", error="invalid_token", error_description="{reason}"'

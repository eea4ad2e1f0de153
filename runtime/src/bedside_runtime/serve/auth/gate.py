"""The one place where it is decided whether a request may go on. Knows no transport and does no input or output.

What is not exactly a probe must show who asks. The path is compared as it came, byte by byte, so no way of writing
it that a router might read as another path is ever open.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

from bedside_runtime import apikeys
from bedside_runtime.apikeys import ApiKey
from bedside_runtime.serve.auth.verdict import ANYBODY, Verdict, challenge, refused
from bedside_runtime.serve.problems import not_ready

PROBES: Final = frozenset({b"/livez", b"/readyz", b"/startupz", b"/health", b"/ready", b"/startup"})
"""What anybody may ask, with GET or HEAD."""

MAX_CREDENTIAL: Final = 8_192
"""Bytes of a credential; a longer one is not looked at."""

_SCHEME: Final = b"bearer"
_READING: Final = frozenset({b"GET", b"HEAD"})

Fields = Sequence[tuple[bytes, bytes]]
"""Header fields in the order in which they came, names in lower case."""


class Gate(Protocol):
    """Decides."""

    def decide(self, method: bytes, target: bytes, fields: Fields) -> Verdict:
        """Return the verdict about a request.

        Args:
            method: As it came.
            target: The request target, as it came.
            fields: All of its header fields.
        """
        ...


class Open:
    """Lets everybody in."""

    def decide(self, _method: bytes, _target: bytes, _fields: Fields) -> Verdict:
        """Admit."""
        return ANYBODY


class Shut:
    """Lets nobody in but probes: it is not known yet who may, and may never be."""

    def __init__(self, reason: Callable[[], str]) -> None:
        """``reason`` says why this process is not ready."""
        self._reason = reason

    def decide(self, method: bytes, target: bytes, _fields: Fields) -> Verdict:
        """Refuse what is no probe."""
        return ANYBODY if is_probe(method, target) else Verdict(refusal=not_ready(self._reason()))


class Guarded:
    """Lets in who shows a credential that is believed."""

    def __init__(self, realm: str, keys: Callable[[], Sequence[ApiKey]], clock: Callable[[], float]) -> None:
        """Nothing is kept here.

        Args:
            realm: Named in challenges.
            keys: The API keys that are believed now.
            clock: Seconds since the epoch.
        """
        self._realm, self._keys, self._clock = realm, keys, clock

    def decide(self, method: bytes, target: bytes, fields: Fields) -> Verdict:
        """Judge the credential of what is no probe."""
        if is_probe(method, target):
            return ANYBODY
        presented = [value for name, value in fields if name == b"authorization"]
        if not presented:
            return self._refused("missing")
        if len(presented) > 1:
            return self._refused("repeated")
        scheme, _, credential = presented[0].partition(b" ")
        credential = credential.lstrip(b" ")
        if scheme.lower() != _SCHEME or len(credential) > MAX_CREDENTIAL or not apikeys.is_key(credential):
            return self._refused("malformed")
        return self._api_key(credential)

    def _api_key(self, credential: bytes) -> Verdict:
        found = apikeys.find(self._keys(), credential)
        if found is None:
            return self._refused("key-unknown")
        if found.last is not None and datetime.fromtimestamp(self._clock(), UTC).date() > found.last:
            return self._refused("key-expired")
        return Verdict(f"api-key:{found.name}")

    def _refused(self, reason: str) -> Verdict:
        return refused(reason, (challenge(self._realm, reason),))


def is_probe(method: bytes, target: bytes) -> bool:
    """Return whether a request asks one of the probes, and in the one way that this is written."""
    return method in _READING and target.partition(b"?")[0] in PROBES

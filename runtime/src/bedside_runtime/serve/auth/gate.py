"""The one place where it is decided whether a request may go on. Knows no transport and does no input or output.

What is not exactly a probe must show who asks. The path is compared as it came, byte by byte, so no way of writing
it that a router might read as another path is ever open.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from bedside_runtime.serve.auth.believing import Believer, KeysWanted, NotBelieved
from bedside_runtime.serve.auth.certificates import Peer
from bedside_runtime.serve.auth.verdict import (
    ANYBODY,
    Decision,
    Verdict,
    certificate_challenge,
    challenge,
    refused,
)
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

    def decide(self, method: bytes, target: bytes, fields: Fields, shown: Peer | None) -> Decision:
        """Return the verdict about a request.

        Args:
            method: As it came.
            target: The request target, as it came.
            fields: All of its header fields.
            shown: The client certificate of its connection, if there is one.
        """
        ...


class Open:
    """Lets everybody in."""

    def decide(self, _method: bytes, _target: bytes, _fields: Fields, _shown: Peer | None) -> Verdict:
        """Admit."""
        return ANYBODY


class Shut:
    """Lets nobody in but probes: it is not known yet who may, and may never be."""

    def __init__(self, reason: Callable[[], str]) -> None:
        """``reason`` says why this process is not ready."""
        self._reason = reason

    def decide(self, method: bytes, target: bytes, _fields: Fields, _shown: Peer | None) -> Verdict:
        """Refuse what is no probe."""
        return ANYBODY if is_probe(method, target) else Verdict(refusal=not_ready(self._reason()))


class Guarded:
    """Lets in who shows a credential that is believed."""

    def __init__(
        self,
        realm: str,
        believers: Sequence[Believer],
        scopes: Sequence[str] = (),
        certified: Callable[[Peer | None], str] | None = None,
    ) -> None:
        """Nothing is kept here.

        Args:
            realm: Named in challenges.
            believers: Judge the kinds of credentials that are taken.
            scopes: Named where one is missing.
            certified: Returns who shows a certificate, or raises `NotBelieved`; ``None`` where none is taken.
        """
        self._realm, self._believers, self._scopes = realm, tuple(believers), tuple(scopes)
        self._certified = certified

    def decide(self, method: bytes, target: bytes, fields: Fields, shown: Peer | None) -> Decision:
        """Judge what is no probe: by its credential if it carries one, else by its certificate."""
        if is_probe(method, target):
            return ANYBODY
        presented = [value for name, value in fields if name == b"authorization"]
        if self._certified is not None and (not presented or not self._believers):
            return self._by_certificate(self._certified, shown)
        if len(presented) != 1:
            return self._refused("repeated" if presented else "missing")
        scheme, _, credential = presented[0].partition(b" ")
        credential = credential.lstrip(b" ")
        if scheme.lower() == _SCHEME and len(credential) <= MAX_CREDENTIAL:
            for believer in self._believers:
                if believer.takes(credential):
                    return self._judged(believer, credential)
        return self._refused("malformed")

    def _by_certificate(self, certified: Callable[[Peer | None], str], shown: Peer | None) -> Verdict:
        try:
            return Verdict(certified(shown))
        except NotBelieved as found:
            other_ways = found.reason == "certificate-missing" and self._believers
            return self._refused("missing" if other_ways else found.reason, found.identity)

    def _judged(self, believer: Believer, credential: bytes) -> Decision:
        try:
            return Verdict(believer.identity(credential))
        except NotBelieved as found:
            return self._refused(found.reason, found.identity)
        except KeysWanted as wanted:
            return asyncio.ensure_future(self._later(believer, credential, wanted.fetched))

    async def _later(self, believer: Believer, credential: bytes, fetched: "asyncio.Future[None]") -> Verdict:
        """Judge once more when newer keys are there; nobody waits a second time."""
        await asyncio.shield(fetched)
        again = self._judged(believer, credential)
        return again if isinstance(again, Verdict) else self._refused("keys-unavailable")

    def _refused(self, reason: str, identity: str | None = None) -> Verdict:
        said = challenge(self._realm, reason, self._scopes) if self._believers else certificate_challenge(self._realm)
        return refused(reason, said, identity)


def is_probe(method: bytes, target: bytes) -> bool:
    """Return whether a request asks one of the probes, and in the one way that this is written."""
    return method in _READING and target.partition(b"?")[0] in PROBES

"""Keys that an issuer publishes under an https address: fetched beside the event loop, believed for a while.

1. They are fetched at the start, then every ``refresh_seconds``; after a failure sooner, and less and less often.
2. A token that names an unknown key asks for them again, at most once in `PAUSE_SECONDS`, whoever sends such tokens.
3. A fetch that fails, or brings something else, leaves the keys as they are; older than ``stale_seconds`` they go.
4. Nothing follows a redirect: the address in the contract is the one that is trusted.
"""

import asyncio
import contextlib
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

from bedside_runtime.errors import AuthKeysInvalid
from bedside_runtime.serve.beside import beside
from bedside_runtime.serve.logs import EventLog

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

PAUSE_SECONDS: Final = 10.0
"""Shortest time between two fetches that unknown keys ask for."""

FETCH_SECONDS: Final = 5.0
"""Longest that a fetch may take."""

_FIRST_RETRY: Final = 1.0
_LARGEST: Final = 1_048_576
"""Bytes."""


class Keys(Protocol[T_co]):
    """Where keys come from."""

    @property
    def value(self) -> T_co | None:
        """Those that are believed now; ``None`` where none are."""
        ...

    def again(self) -> "asyncio.Future[None] | None":
        """Ask for newer ones; done when they are there or cannot be had. ``None`` where asking is of no use now."""
        ...


class Fetched(Generic[T]):
    """Keys behind an address.

    Attributes:
        name: What they are, a fixed word.
        stale: Whether the last fetch failed, so that older keys still count.
    """

    def __init__(
        self,
        name: str,
        fetch: Callable[[], bytes],
        parse: Callable[[bytes], T],
        *,
        refresh_seconds: float,
        stale_seconds: float,
    ) -> None:
        """Nothing is fetched yet.

        Args:
            name: A fixed word.
            fetch: Returns what the address answers; blocking, raises `OSError` or `AuthKeysInvalid`.
            parse: Makes keys of it, or raises `AuthKeysInvalid`.
            refresh_seconds: How often they are fetched.
            stale_seconds: How long they are believed without having been fetched again.
        """
        self.name, self.stale = name, True
        self._fetch, self._parse = fetch, parse
        self._refresh, self._lasts = refresh_seconds, stale_seconds
        self._found: T | None = None
        self._answered = b""
        self._found_at = self._tried_at = float("-inf")
        self._said: tuple[bool, T | None] | None = None
        self._coming: asyncio.Future[None] | None = None
        self._wanted = asyncio.Event()

    @property
    def value(self) -> T | None:
        """The keys; ``None`` before the first fetch that succeeds, and once they are too old."""
        return self._found if time.monotonic() - self._found_at < self._lasts else None

    def again(self) -> "asyncio.Future[None] | None":
        """See `Keys`."""
        if self._coming is None:
            if time.monotonic() - self._tried_at < PAUSE_SECONDS:
                return None
            self._coming = asyncio.get_running_loop().create_future()
            self._wanted.set()
        return self._coming

    async def keep(self, log: EventLog) -> None:
        """Fetch and fetch again, until cancelled."""
        retry = _FIRST_RETRY
        while True:
            await self._once(log)
            retry = min(2 * retry, self._refresh) if self.stale else _FIRST_RETRY
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), retry if self.stale else self._refresh)

    async def _once(self, log: EventLog) -> None:
        coming = self._coming = self._coming or asyncio.get_running_loop().create_future()
        self._wanted.clear()
        self._tried_at = time.monotonic()
        try:
            self._take(await beside(self._fetch, FETCH_SECONDS))
            self.stale = False
        except (OSError, HTTPException, AuthKeysInvalid):  # OSError: not reached, in time, under its certificate
            self.stale = True
        self._say(log)
        self._coming = None
        coming.set_result(None)

    def _say(self, log: EventLog) -> None:
        """Log how it is, where that is news."""
        if self._said == (self.stale, self._found):
            return
        self._said = self.stale, self._found
        if self.stale:
            log.error("keys-broken", source=self.name)
        else:
            log.info("keys-replaced", source=self.name)

    def _take(self, answered: bytes) -> None:
        """Believe what was answered; the same answer leaves the same keys."""
        if self._found is None or answered != self._answered:
            self._found, self._answered = self._parse(answered), answered
        self._found_at = self._tried_at


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:  # noqa: ANN401 - urllib's own signature
        """Follow nothing: the answer is then an error."""


def _answer(opener: urllib.request.OpenerDirector, request: urllib.request.Request) -> HTTPResponse:
    """Return the answer; the connection of one that is an error is closed, not left to the collector."""
    try:
        answer: HTTPResponse = opener.open(request, timeout=FETCH_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        raise
    return answer


def over_https(address: str, authorities: Path) -> Callable[[], bytes]:
    """Return what fetches ``address``.

    Args:
        address: ``https://...``; anything else is refused.
        authorities: A file of CA certificates; where it is not there, those of the system count.

    Raises:
        AuthKeysInvalid: Another scheme.
    """
    if not address.startswith("https://"):
        raise AuthKeysInvalid("keys are fetched over https alone")

    def fetch() -> bytes:
        context = ssl.create_default_context(cafile=str(authorities) if authorities.exists() else None)
        opener = urllib.request.build_opener(_NoRedirect, urllib.request.HTTPSHandler(context=context))
        request = urllib.request.Request(address, headers={"accept": "application/json"})  # noqa: S310 - https, by rule
        until, data = time.monotonic() + FETCH_SECONDS, bytearray()
        with _answer(opener, request) as answer:
            while part := answer.read1(65_536):
                data += part
                if len(data) > _LARGEST or time.monotonic() > until:
                    raise AuthKeysInvalid("the key set is too large, or comes too slowly")
        return bytes(data)

    return fetch

"""What a credential is believed to say, and the kinds of credentials that a request may carry."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from bedside_runtime import apikeys
from bedside_runtime.apikeys import ApiKey

if TYPE_CHECKING:
    import asyncio


class NotBelieved(Exception):
    """A credential says nothing, or says who asks and that is not enough.

    Attributes:
        reason: One of `verdict.REASONS`.
        identity: Who asks, where that is known.
    """

    def __init__(self, reason: str, identity: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.identity = reason, identity


class KeysWanted(Exception):
    """A credential may be believed once keys are there that are being fetched.

    Attributes:
        fetched: Done when they are there, or cannot be had.
    """

    def __init__(self, fetched: "asyncio.Future[None]") -> None:
        super().__init__()
        self.fetched = fetched


class Believer(Protocol):
    """Judges one kind of bearer credential."""

    def takes(self, credential: bytes) -> bool:
        """Return whether ``credential`` has the form of this kind."""
        ...

    def identity(self, credential: bytes) -> str:
        """Return who shows ``credential``, ``<method>:<name>``.

        Raises:
            NotBelieved: It is not believed.
            KeysWanted: That is not known yet.
        """
        ...


class ApiKeys:
    """Judges API keys."""

    def __init__(self, keys: Callable[[], Sequence[ApiKey]], clock: Callable[[], float]) -> None:
        """``keys`` returns those that are believed now, ``clock`` seconds since the epoch."""
        self._keys, self._clock = keys, clock

    def takes(self, credential: bytes) -> bool:
        """Return whether ``credential`` has the form of an API key."""
        return apikeys.is_key(credential)

    def identity(self, credential: bytes) -> str:
        """Return whose key ``credential`` is."""
        found = apikeys.find(self._keys(), credential)
        if found is None:
            raise NotBelieved("key-unknown")
        if found.last is not None and datetime.fromtimestamp(self._clock(), UTC).date() > found.last:
            raise NotBelieved("key-expired")
        return f"api-key:{found.name}"

"""Authentication in the life of a serving process: prepared before it listens, watched while it serves.

1. The settings are read before anything listens, and where nobody authenticates, only loopback is served.
2. What they ask for is read then too: keys that cannot be used stop the start.
3. Until the release is verified, only probes pass; then the gate is made, if the release asks for what was prepared.
4. Mounted files that are replaced are read again; where the new ones cannot be used, the old ones still count.
"""

import asyncio
import ipaddress
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from bedside_runtime import apikeys
from bedside_runtime.apikeys import ApiKey
from bedside_runtime.contract import Auth, Contract, Serve
from bedside_runtime.errors import AuthRefused, IntegrityError
from bedside_runtime.serve.auth.gate import Gate, Guarded, Open
from bedside_runtime.serve.auth.mounted import Mounted
from bedside_runtime.serve.logs import EventLog

FOLDER: Final = Path("/run/secrets/bedside-auth")
"""Where the files are mounted; ``BEDSIDE_AUTH_KEYS`` names another folder."""

API_KEYS: Final = "api-keys.txt"
"""File names in that folder."""

LOOK_SECONDS: Final = 2.0
"""How often it is looked whether files were replaced."""

Detail: TypeAlias = Literal["none", "current", "stale"]
"""Whether what is believed is what is mounted now."""


class Guard:
    """What one process believes, and whom it lets in."""

    def __init__(
        self,
        settings: Serve | None,
        host: str,
        environ: Mapping[str, str],
        *,
        local: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Read all that authentication needs.

        Args:
            settings: Of the release, not verified yet; ``None`` where they cannot be read.
            host: Address of the public port.
            environ: May name the folder of the mounted files.
            local: Nobody authenticates, whatever the release asks for; on loopback alone.
            clock: Seconds since the epoch.

        Raises:
            AuthRefused: Callers beyond this machine would be answered whom nobody has authenticated.
            AuthKeysInvalid: A file is missing, or is not what it should be.
        """
        self._auth = settings.auth if settings is not None else None
        self._open = local or self._auth is None or self._auth.methods == ("none",)
        self._local, self._clock = local, clock
        require_loopback(self._auth, host, local=local)
        folder = Path(environ.get("BEDSIDE_AUTH_KEYS") or FOLDER)
        self._api_keys: Mounted[tuple[ApiKey, ...]] | None = None
        if not self._open and self._auth is not None and "api-key" in self._auth.methods:
            self._api_keys = Mounted("api-keys", [folder / API_KEYS], lambda files: apikeys.parse(files[0]))

    def gate(self, contract: Contract) -> Gate:
        """Return what decides for a verified release.

        Raises:
            IntegrityError: It asks for something else than what was prepared.
        """
        if not self._local and contract.serve.auth != self._auth:
            raise IntegrityError("the release asks for another authentication than when this process started")
        return Open() if self._open else Guarded(contract.name, self._believed_keys, self._clock)

    @property
    def sources(self) -> Sequence[Mounted[Any]]:
        """Where what is believed comes from."""
        return [source for source in (self._api_keys,) if source is not None]

    @property
    def detail(self) -> Detail:
        """A fixed word for readiness."""
        if not self.sources:
            return "none"
        return "stale" if any(source.stale for source in self.sources) else "current"

    async def watch(self, log: EventLog) -> None:
        """Read mounted files again when they are replaced, until cancelled."""
        while self.sources:
            await asyncio.sleep(LOOK_SECONDS)
            for source in self.sources:
                change = await asyncio.to_thread(source.look)
                if change == "broken":
                    log.error("keys-broken", source=source.name)
                elif change == "replaced":
                    log.info("keys-replaced", source=source.name)

    def _believed_keys(self) -> Sequence[ApiKey]:
        return self._api_keys.value if self._api_keys is not None else ()


def require_loopback(auth: Auth | None, host: str, *, local: bool) -> None:
    """Refuse to answer callers beyond this machine whom nobody has authenticated.

    A release whose settings cannot be read is not refused here: it never gets as far as answering anybody.

    Raises:
        AuthRefused: It would.
    """
    if is_loopback(host):
        return
    if local:
        raise AuthRefused(
            f"--local serves without authentication, and {host} is no loopback address",
            remedy="Write --host 127.0.0.1, or leave --local out.",
        )
    if auth is not None and "none" in auth.methods and auth.acknowledged is None:
        raise AuthRefused(f"this release authenticates nobody, and {host} is no loopback address")


def is_loopback(host: str) -> bool:
    """Return whether ``host`` is an address of this machine alone. A name is none: it may lead anywhere."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""Authentication in the life of a serving process: prepared before it listens, watched while it serves.

1. The settings are read before anything listens, and where nobody authenticates, only loopback is served.
2. What they ask for is read then too: keys that cannot be used stop the start.
3. Until the release is verified, only probes pass; then the gate is made, if the release asks for what was prepared.
4. Mounted files that are replaced are read again; where the new ones cannot be used, the old ones still count. Keys
   behind an address are fetched again and again; while there are none, the process is not ready.
"""

import asyncio
import ipaddress
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from bedside_runtime import apikeys
from bedside_runtime.contract import Auth, Contract, Jwt, Serve, Tls
from bedside_runtime.errors import AuthKeysInvalid, AuthRefused, IntegrityError, LibraryMissing
from bedside_runtime.serve import tls
from bedside_runtime.serve.auth import certificates
from bedside_runtime.serve.auth.believing import ApiKeys, Believer
from bedside_runtime.serve.auth.fetched import Fetched, over_https
from bedside_runtime.serve.auth.gate import Gate, Guarded, Open
from bedside_runtime.serve.auth.mounted import Mounted
from bedside_runtime.serve.logs import EventLog

if TYPE_CHECKING:
    from bedside_runtime.serve.auth.certificates import Peer
    from bedside_runtime.serve.tls import Endpoint

FOLDER: Final = Path("/run/secrets/bedside-auth")
"""Where the files are mounted; ``BEDSIDE_AUTH_KEYS`` names another folder."""

TLS_FOLDER: Final = Path("/run/secrets/bedside-tls")
"""Where certificate and key of the server are; ``BEDSIDE_TLS_KEYS`` names another folder."""

API_KEYS: Final = "api-keys.txt"
CLIENT_AUTHORITIES: Final = "client-ca.crt"
CLIENT_NAMES: Final = "client-names.txt"
KEY_SET: Final = "jwks.json"
KEY_SET_AUTHORITIES: Final = "jwks-ca.crt"
"""File names in the first folder; the last is needed where the issuer's certificate is of an authority of one's own."""

LOOK_SECONDS: Final = 2.0
"""How often it is looked whether files were replaced."""

Detail: TypeAlias = Literal["none", "current", "stale", "unavailable"]
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
            AuthKeysInvalid, TlsInvalid: A file is missing, or is not what it should be.
            LibraryMissing: The extra ``auth`` is not installed, and tokens need it.
        """
        self._settings = settings
        self._auth = settings.auth if settings is not None else None
        self._open = local or self._auth is None or self._auth.methods == ("none",)
        self._local, self._clock = local, clock
        require_loopback(self._auth, host, local=local)
        folder = Path(environ.get("BEDSIDE_AUTH_KEYS") or FOLDER)
        self._certified: Callable[[Peer | None], str] | None = None
        self.endpoint: Mounted[Endpoint] | None = None
        self._believers: list[Believer] = []
        self.sources: list[Mounted[Any] | Fetched[Any]] = []
        if not self._open and self._auth is not None:
            self._prepare(self._auth, folder)
        if not local and settings is not None and settings.tls is not None:
            self._prepare_tls(settings.tls, folder, Path(environ.get("BEDSIDE_TLS_KEYS") or TLS_FOLDER))

    def _prepare(self, auth: Auth, folder: Path) -> None:
        if "api-key" in auth.methods:
            keys = Mounted("api-keys", [folder / API_KEYS], lambda files: apikeys.parse(files[0]))
            self.sources.append(keys)
            self._believers.append(ApiKeys(lambda: keys.value, self._clock))
        if "jwt" in auth.methods:
            if auth.jwt is None:
                raise AuthKeysInvalid("the release takes tokens, and does not say whose")
            source, believer = _tokens(auth.jwt, folder, self._clock)
            self.sources.append(source)
            self._believers.append(believer)
        if "mtls" in auth.methods:
            if self._settings is None or self._settings.tls is None:
                raise AuthKeysInvalid("the release takes client certificates, and does not speak TLS")
            names = Mounted("client-names", [folder / CLIENT_NAMES], lambda files: certificates.parse(files[0]))
            self.sources.append(names)
            self._certified = lambda shown: certificates.identity(shown, names.value, self._clock())

    def _prepare_tls(self, settings: Tls, folder: Path, tls_folder: Path) -> None:
        pair = tls_folder / tls.CERTIFICATE, tls_folder / tls.KEY
        authorities = [folder / CLIENT_AUTHORITIES] if self._certified is not None else []
        self.endpoint = Mounted(
            "tls", [*pair, *authorities], lambda files: tls.endpoint(settings, *pair, files[2] if authorities else None)
        )
        self.sources.append(self.endpoint)

    @property
    def context(self) -> Callable[[], ssl.SSLContext] | None:
        """What returns the context of a new connection; ``None`` where TLS is not spoken here."""
        endpoint = self.endpoint
        return None if endpoint is None else lambda: endpoint.value.context

    @property
    def expires(self) -> Callable[[], float] | None:
        """What returns when the server's certificate ends, seconds since the epoch."""
        endpoint = self.endpoint
        return None if endpoint is None else lambda: endpoint.value.expires

    def gate(self, contract: Contract) -> Gate:
        """Return what decides for a verified release.

        Raises:
            IntegrityError: It asks for something else than what was prepared.
        """
        asked = self._settings
        if not self._local and (asked is None or (contract.serve.auth, contract.serve.tls) != (asked.auth, asked.tls)):
            raise IntegrityError("the release asks for another authentication than when this process started")
        if self._open:
            return Open()
        jwt = contract.serve.auth.jwt
        scopes = jwt.scopes if jwt is not None else ()
        return Guarded(contract.name, self._believers, scopes, self._certified)

    @property
    def detail(self) -> Detail:
        """A fixed word for readiness."""
        if not self.sources:
            return "none"
        if any(source.value is None for source in self.sources):
            return "unavailable"
        return "stale" if any(source.stale for source in self.sources) else "current"

    async def watch(self, log: EventLog, on_other_authorities: Callable[[], None]) -> None:
        """Read again what is replaced, until cancelled.

        Args:
            log: Told what was replaced, and what cannot be used.
            on_other_authorities: Called when client certificates are judged by other authorities than before.
        """
        fetched = [source.keep(log) for source in self.sources if isinstance(source, Fetched)]
        mounted = [source for source in self.sources if isinstance(source, Mounted)]
        await asyncio.gather(self._look(mounted, log, on_other_authorities), *fetched)

    async def _look(
        self, sources: Sequence[Mounted[Any]], log: EventLog, on_other_authorities: Callable[[], None]
    ) -> None:
        while sources:
            await asyncio.sleep(LOOK_SECONDS)
            before = self._authorities
            for source in sources:
                change = await asyncio.to_thread(source.look)
                if change == "broken":
                    log.error("keys-broken", source=source.name)
                elif change == "replaced":
                    log.info("keys-replaced", source=source.name)
            if self._authorities != before:
                on_other_authorities()

    @property
    def _authorities(self) -> bytes:
        return self.endpoint.value.authorities if self.endpoint is not None else b""


def _tokens(settings: Jwt, folder: Path, clock: Callable[[], float]) -> tuple[Mounted[Any] | Fetched[Any], Believer]:
    """Return where the issuer's keys come from, and what judges its tokens."""
    try:
        from bedside_runtime.serve.auth import keyset, tokens  # need the extra `auth`, which other methods do not
    except ImportError as error:
        raise LibraryMissing(
            "bearer tokens need the packages PyJWT and cryptography",
            remedy='Install bedside-runtime[auth], or leave "jwt" out of [serve.auth] methods.',
        ) from error

    source: Mounted[Any] | Fetched[Any]
    if settings.jwks is None:
        source = Mounted("jwks", [folder / KEY_SET], lambda files: keyset.parse(files[0]))
    else:
        fetch = over_https(settings.jwks, folder / KEY_SET_AUTHORITIES)
        times = {"refresh_seconds": settings.refresh_seconds, "stale_seconds": settings.stale_seconds}
        source = Fetched("jwks", fetch, keyset.parse, **times)
    return source, tokens.Tokens(settings, source, clock)


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

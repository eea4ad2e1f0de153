"""Sending: the one place where requests leave for an API server.

Rules: nothing goes out without TLS except to this machine; the system's proxies count, or that of the kubeconfig; a
busy or interrupted server is asked again, so every request is one that may arrive twice; a refused token is asked for
anew once.
"""

import json
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlencode, urlsplit

import httpx

from bedside import __version__
from bedside.errors import ClusterFailed, ClusterInterrupted, KubeconfigInvalid
from bedside.kube.cluster import refusals
from bedside.kube.cluster.access import Access, ClientCertificate
from bedside.kube.cluster.credentials import Credentials, Wallet
from bedside.kube.cluster.requests import Request

WAITS: Final = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each further attempt."""

_LONGEST_WAIT: Final = 60.0
_TIMEOUT: Final = httpx.Timeout(connect=10, read=60, write=60, pool=10)
_QUIET: Final = 330.0
"""Seconds without a byte after which a watch counts as dead; the API server ends each before that."""

_LARGEST: Final = 64 * 2**20
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, read whole. ``warnings`` are those of the API server, as kubectl shows them."""

    status: int
    body: bytes
    warnings: tuple[str, ...] = ()

    @property
    def value(self) -> dict[str, Any]:
        """The object in it."""
        value = json.loads(self.body)
        if not isinstance(value, dict):
            raise ClusterFailed("the API server answered with something that is no object")
        return value


class Session:
    """A conversation with one API server. Close it, or use it in a ``with``. May be used from several threads."""

    def __init__(
        self,
        access: Access,
        wallet: Wallet,
        *,
        pause: Callable[[float], None] = time.sleep,
        on_wait: Callable[[str], None] = lambda _: None,
    ) -> None:
        """See the class.

        Args:
            access: Where it is.
            wallet: Gives the credentials, when they are needed.
            pause: Waits some seconds between attempts.
            on_wait: Told, before each wait, what went wrong and how long it is.
        """
        self.access, self._wallet = access, wallet
        self._pause, self.on_wait = pause, on_wait
        self._client: httpx.Client | None = None
        self._shown: Credentials | None = None

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        if self._client is not None:
            self._client.close()

    def send(self, request: Request, *, missing: bool = False) -> Answer:
        """Send ``request``, again where the server was interrupted or busy, and read the answer whole.

        Args:
            request: What to ask.
            missing: Whether 404 is an answer.

        Raises:
            ClusterInterrupted: It was so every time.
            BedsideError: The API server refuses; see `refusals`.
        """
        return self.again(lambda: self._send_once(request, missing=missing))

    def find(self, request: Request) -> dict[str, Any] | None:
        """Send ``request`` for one object; ``None`` where there is none."""
        answer = self.send(request, missing=True)
        return None if answer.status == 404 else answer.value

    def again(self, action: Callable[[], _T]) -> _T:
        """Do ``action`` until it is not interrupted, at most once more than there are `WAITS`."""
        for wait in WAITS:
            try:
                return action()
            except ClusterInterrupted as error:
                self.wait(wait, error)
        return action()

    def wait(self, seconds: float, error: ClusterInterrupted) -> None:
        """Wait before the next attempt; longer where the server asked for it."""
        wait = max(seconds, min(error.after, _LONGEST_WAIT))
        self.on_wait(f"{error}; trying again in {wait:g} s")
        self._pause(wait)

    @contextmanager
    def lines(self, request: Request, on_open: Callable[[httpx.Response], None]) -> Iterator[Iterator[bytes]]:
        """Send ``request`` once and give the lines of the answer as they come.

        Args:
            request: A watch.
            on_open: Given the open answer, so that another thread can end it.
        """
        timeout = httpx.Timeout(connect=10, read=_QUIET, write=60, pool=10)
        with self._said_plainly(request), self._open(request, timeout=timeout) as response:
            on_open(response)
            if response.status_code != httpx.codes.OK:
                raise self._refusal(response, request)
            yield (line.encode() for line in response.iter_lines())

    @contextmanager
    def upgraded(self, request: Request, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """Send ``request`` once to change protocols, and give the answer 101 with its network stream.

        Raises:
            BedsideError: The API server does not change protocols.
        """
        with self._said_plainly(request), self._open(request, headers) as response:
            if response.status_code != httpx.codes.SWITCHING_PROTOCOLS:
                raise self._refusal(response, request)
            yield response

    def _send_once(self, request: Request, *, missing: bool) -> Answer:
        with self._said_plainly(request), self._open(request) as response:
            if response.is_success or (missing and response.status_code == httpx.codes.NOT_FOUND):
                warnings = tuple(filter(None, map(_warning, response.headers.get_list("warning"))))
                return Answer(response.status_code, _whole(response), warnings)
            raise self._refusal(response, request)

    def _refusal(self, response: httpx.Response, request: Request) -> Exception:
        return refusals.refusal(
            response.status_code, response.headers, _whole(response), request, f"cluster {self.access.context}"
        )

    @contextmanager
    def _open(
        self, request: Request, headers: Mapping[str, str] | None = None, *, timeout: httpx.Timeout = _TIMEOUT
    ) -> Iterator[httpx.Response]:
        response = self._sent(request, headers or {}, timeout)
        if response.status_code == httpx.codes.UNAUTHORIZED and self._wallet.renews:
            response.close()
            self._wallet.forget()
            response = self._sent(request, headers or {}, timeout)
        try:
            yield response
        finally:
            response.close()

    def _sent(self, request: Request, headers: Mapping[str, str], timeout: httpx.Timeout) -> httpx.Response:
        client, token = self._ready()
        given = [*self.access.impersonate, *headers.items()]
        if token is not None:
            given.append(("Authorization", f"Bearer {token}"))
        if request.body is not None:
            given.append(("Content-Type", request.media_type))
        query = f"?{urlencode(request.query)}" if request.query else ""
        extensions: dict[str, Any] = {"timeout": timeout.as_dict()}
        if self.access.server_name:
            extensions["sni_hostname"] = self.access.server_name
        built = client.build_request(
            request.method,
            f"{self.access.server}{request.path}{query}",
            headers=given,
            content=request.body,
            extensions=extensions,
        )
        return client.send(built, stream=True, follow_redirects=False)

    def _ready(self) -> tuple[httpx.Client, str | None]:
        """The HTTP client for the credentials that count now, and their token."""
        credentials = self._wallet.credentials()
        before = self._shown
        if self._client is None or before is None or before.certificate != credentials.certificate:
            self._client = _client(self.access, credentials.certificate)
        self._shown = credentials
        return self._client, credentials.token

    @contextmanager
    def _said_plainly(self, request: Request) -> Iterator[None]:
        """Turn what the HTTP library raises into a sentence that holds no header."""
        where = urlsplit(self.access.server).netloc
        try:
            yield
        except httpx.ConnectError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise ClusterFailed(
                    f"the certificate of {where} is not trusted: it may be another machine than the cluster",
                    remedy="Look at certificate-authority-data and tls-server-name in the kubeconfig.",
                ) from None
            raise ClusterInterrupted(
                f"{where} of {self.access.context} cannot be reached",
                remedy="Look at the network, a VPN, and the address in the kubeconfig.",
            ) from None
        except httpx.ProxyError:
            raise ClusterInterrupted(
                f"the proxy does not lead to {where}",
                remedy="Look at proxy-url in the kubeconfig, at HTTPS_PROXY and at NO_PROXY.",
            ) from None
        except httpx.TimeoutException:
            raise ClusterInterrupted(f"{where} did not answer in time when it should {request.doing}") from None
        except httpx.TransportError:
            raise ClusterInterrupted(f"{where} dropped the connection when it should {request.doing}") from None


def trust(authority: bytes | None) -> ssl.SSLContext:
    """Return which servers are believed: those of ``authority`` alone, or of the system's.

    Raises:
        KubeconfigInvalid: It holds no certificate.
    """
    if authority is None:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cadata=authority.decode("ascii"))
    except (ssl.SSLError, UnicodeDecodeError, ValueError):
        raise KubeconfigInvalid("certificate-authority holds no PEM certificate") from None


def show(context: ssl.SSLContext, shown: ClientCertificate) -> None:
    """Have ``context`` show a certificate. It is in files for that moment, as the library demands.

    Raises:
        KubeconfigInvalid: It and its key do not belong together.
    """
    with tempfile.TemporaryDirectory(prefix="bedside-") as folder:
        certificate, key = Path(folder) / "cert.pem", Path(folder) / "key.pem"
        certificate.write_bytes(shown.certificate)
        key.write_bytes(shown.key)
        try:
            context.load_cert_chain(certificate, key)
        except ssl.SSLError:
            raise KubeconfigInvalid("client-certificate and client-key do not belong together") from None


def _client(access: Access, certificate: ClientCertificate | None) -> httpx.Client:
    context = trust(access.authority)
    if certificate is not None:
        show(context, certificate)
    plain = access.server.startswith("http:")
    try:
        return httpx.Client(
            verify=context,
            proxy=access.proxy,
            timeout=_TIMEOUT,
            headers={"User-Agent": f"bedside/{__version__}", "Accept": "application/json"},
            trust_env=access.proxy is None and not plain,
            limits=httpx.Limits(max_connections=64),
        )
    except (ValueError, ImportError, httpx.InvalidURL):
        raise KubeconfigInvalid(
            "the proxy of the kubeconfig, or in HTTPS_PROXY, cannot be used",
            remedy="Write http://HOST:PORT or https://HOST:PORT; SOCKS is not spoken.",
        ) from None


def _whole(response: httpx.Response) -> bytes:
    parts, size = [], 0
    for chunk in response.iter_bytes():
        size += len(chunk)
        if size > _LARGEST:
            raise ClusterFailed(f"the API server answered more than {_LARGEST >> 20} MiB")
        parts.append(chunk)
    return b"".join(parts)


def _warning(value: str) -> str:
    """The text of a Warning header (RFC 7234, 5.5), which the API server writes as ``299 - "..."``."""
    _, _, quoted = value.partition('"')
    return quoted.rpartition('"')[0].replace('\\"', '"').replace("\\\\", "\\")

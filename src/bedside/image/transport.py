"""HTTP to one registry: TLS, authentication, redirects, and asking again. The only file here that knows httpx.

Rules that hold for every request:

- TLS is verified, with the system's certificates and those of an extra file; plain HTTP goes to this machine only,
  only when asked for, and through no proxy.
- ``Authorization`` goes to the registry's own origin. A password goes to the token service that the registry names,
  and only over TLS too. Redirects and upload locations elsewhere get neither.
- Of an error answer only its registered code is shown, never its text, and no address with its query.
"""

import ipaddress
import json
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

import httpx

from bedside import __version__
from bedside.errors import RegistryDenied, RegistryFailed, RegistryInterrupted, UsageError
from bedside.image import authentication, oci
from bedside.image.authentication import Credential

WAITS: Final = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each further attempt."""

_LONGEST_WAIT: Final = 60.0
_TIMEOUT: Final = httpx.Timeout(connect=15, read=180, write=180, pool=15)
"""Seconds. A registry hashes a large layer before it answers the last request of an upload."""

_BUSY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_MOVED: Final = frozenset({301, 302, 303, 307, 308})
_REDIRECTS: Final = 5
_CODE: Final = re.compile(r"[A-Z][A-Z_]{2,40}")
_HUB: Final = {"docker.io": "registry-1.docker.io"}

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Body:
    """What a request carries: ``size`` bytes, made anew by ``chunks`` for each attempt."""

    size: int
    chunks: Callable[[], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class Request:
    """One request. ``url`` may be a path of the registry; ``doing`` is what an error says was tried."""

    method: str
    url: str
    doing: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def codes(self) -> str:
        """Return the error codes in it, as ``(BLOB_UNKNOWN)``; nothing else of the text is shown."""
        try:
            errors = json.loads(self.body)["errors"]
            found = [str(item["code"]) for item in errors]
        except (ValueError, KeyError, TypeError, RecursionError):
            return ""
        return "".join(f" ({code})" for code in found[:3] if _CODE.fullmatch(code))


def certificates(extra: Path | None = None) -> ssl.SSLContext:
    """Return the system's trust, with the certificates in the file ``extra`` added.

    Raises:
        UsageError: The file cannot be read or holds no certificate.
    """
    context = ssl.create_default_context()
    if extra is not None:
        try:
            context.load_verify_locations(cafile=extra)
        except OSError as error:
            raise UsageError(
                f"{extra} cannot be used as certificates: {error.strerror or 'it holds none'}",
                remedy="Name a file of PEM certificates.",
            ) from None
    return context


def is_loopback(host: str) -> bool:
    """Whether ``host``, with or without a port, is this machine, whatever name services say."""
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


class Session:
    """A conversation with one registry. Close it, or use it in a ``with``."""

    def __init__(
        self,
        host: str,
        credential: Callable[[], Credential | None],
        *,
        trust: ssl.SSLContext | None = None,
        plain_http: bool = False,
        pause: Callable[[float], None] = time.sleep,
        on_wait: Callable[[str], None] = lambda _: None,
    ) -> None:
        """See the class.

        Args:
            host: Name of the registry and its port.
            credential: Finds the credentials; called when the registry asks for some.
            trust: Which certificates are believed; the system's where none is given.
            plain_http: Talk without TLS; for a registry on this machine only.
            pause: Waits some seconds between attempts.
            on_wait: Told, before each wait, what went wrong and how long it is.

        Raises:
            UsageError: Plain HTTP to another machine.
        """
        if plain_http and not is_loopback(host):
            raise UsageError(
                f"plain HTTP to {host} is refused: anyone on the way could change the image and read the password",
                remedy="Give the registry a certificate; --ca-file names that of your own authority.",
            )
        self.host = host
        self._origin = f"{'http' if plain_http else 'https'}://{_HUB.get(host, host)}"
        self._plain, self._credential = plain_http, credential
        self._pause, self._on_wait = pause, on_wait
        self._authorization: str | None = None
        self.more_scopes: tuple[str, ...] = ()
        self._client = _client(trust or certificates(), proxies=not plain_http)
        self._client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # a cookie makes us a browser

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._client.close()

    def send(self, request: Request) -> Answer:
        """Send ``request``, again where the registry was interrupted or busy, and read the answer whole.

        Raises:
            RegistryInterrupted: It was so every time.
            RegistryDenied: These credentials may not do this.
        """
        return self.again(lambda: self.send_once(request))

    def again(self, action: Callable[[], _T]) -> _T:
        """Do ``action`` until it is not interrupted, at most once more than there are `WAITS`."""
        for wait in WAITS:
            try:
                return action()
            except RegistryInterrupted as error:
                self.wait(wait, error)
        return action()

    def wait(self, seconds: float, error: RegistryInterrupted) -> None:
        """Wait before the next attempt; longer where the registry asked for it."""
        wait = max(seconds, min(error.after, _LONGEST_WAIT))
        self._on_wait(f"{error}; trying again in {wait:g} s")
        self._pause(wait)

    def send_once(self, request: Request) -> Answer:
        """Send ``request`` once and read the answer whole; errors as in `send`."""
        with self.open(request) as response:
            body = b"".join(_limited(response))
            return Answer(response.status_code, response.headers, body)

    @contextmanager
    def open(self, request: Request) -> Iterator[httpx.Response]:
        """Send ``request`` once and give the answer before its body is read.

        Raises:
            RegistryInterrupted: No answer, or a busy one; also while the caller reads the body.
            RegistryDenied: These credentials may not do this.
        """
        with _said_plainly(self.host, request.doing):
            response = self._send(request)
            try:
                if response.status_code == httpx.codes.UNAUTHORIZED:
                    self._authenticate(response)
                    response.close()
                    response = self._send(request)
                _refuse(response, self.host, request.doing)
                yield response
            finally:
                response.close()

    def resolve(self, location: str, reference: str | None = None) -> str:
        """Return the absolute address of a ``Location``.

        Raises:
            RegistryFailed: It is none, or leads away from TLS.
        """
        try:
            url = httpx.URL(reference or self._origin).join(location)
        except (httpx.InvalidURL, ValueError):
            raise RegistryFailed(f"{self.host} names an address that is none") from None
        if url.scheme == "https" or (url.scheme == "http" and self._plain and is_loopback(url.netloc.decode("ascii"))):
            return str(url)
        raise RegistryFailed(
            f"{self.host} leads to an address without TLS, and nothing is sent there",
            remedy="Make the registry, or the proxy before it, name https addresses (X-Forwarded-Proto).",
        )

    def _send(self, request: Request) -> httpx.Response:
        """Send once, following redirects of what only reads."""
        url = self.resolve(request.url)
        for _ in range(_REDIRECTS):
            response = self._client.send(self._prepared(request, url), stream=True, follow_redirects=False)
            if response.status_code not in _MOVED or request.method not in ("GET", "HEAD"):
                return response
            response.close()
            url = self.resolve(response.headers.get("location", ""), url)
        raise RegistryFailed(f"{self.host} redirects without end")

    def _prepared(self, request: Request, url: str) -> httpx.Request:
        headers = dict(request.headers)
        if self._authorization is not None and self._is_own(url):
            headers["Authorization"] = self._authorization
        if request.body is None:
            return self._client.build_request(request.method, url, headers=headers)
        headers["Content-Length"] = str(request.body.size)
        return self._client.build_request(request.method, url, headers=headers, content=request.body.chunks())

    def _is_own(self, url: str) -> bool:
        own, other = httpx.URL(self._origin), httpx.URL(url)
        return (own.scheme, own.host, own.port) == (other.scheme, other.host, other.port)

    def _authenticate(self, response: httpx.Response) -> None:
        """Answer the challenge in ``response``.

        Raises:
            RegistryDenied: There is nothing to answer it with, or it was answered already.
        """
        credential = self._credential()
        demanded = authentication.challenges(", ".join(response.headers.get_list("www-authenticate")))
        for challenge in demanded:
            if challenge.scheme == "bearer" and challenge.parameters.get("realm"):
                self._authorization = self._token(challenge, credential)
                return
        before = self._authorization
        if any(challenge.scheme == "basic" for challenge in demanded) and isinstance(
            credential, authentication.Password
        ):
            self._authorization = credential.header
            if before != self._authorization:
                return
        known = "does not accept the credentials for it" if credential else "asks for credentials, and none were found"
        raise RegistryDenied(f"{self.host} {known}")

    def _token(self, challenge: authentication.Challenge, credential: Credential | None) -> str:
        asked = authentication.token_request(challenge, credential, self.more_scopes)
        url = self.resolve(asked.url)
        headers = {"Authorization": asked.authorization} if asked.authorization else {}
        if asked.form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        response = self._client.send(
            self._client.build_request(
                "GET" if asked.form is None else "POST", url, headers=headers, content=asked.form
            ),
            stream=True,
            follow_redirects=False,
        )
        try:
            if response.status_code in (400, 401, 403):
                raise RegistryDenied(f"the token service of {self.host} does not accept the credentials")
            _refuse(response, self.host, "give a token")
            return authentication.bearer(json.loads(b"".join(_limited(response))))
        except (authentication.TokenUnreadable, ValueError, RecursionError):
            raise RegistryFailed(f"the token service of {self.host} answered without a token") from None
        finally:
            response.close()


def _client(trust: ssl.SSLContext, *, proxies: bool) -> httpx.Client:
    """Return an HTTP client; ``proxies`` takes those of HTTPS_PROXY, ALL_PROXY and NO_PROXY.

    Raises:
        UsageError: A variable names a proxy that cannot be used. The message never holds it: a password may be in it.
    """
    try:
        return httpx.Client(
            verify=trust,
            timeout=_TIMEOUT,
            headers={"User-Agent": f"bedside/{__version__}", "Accept-Encoding": "identity"},
            trust_env=proxies,
        )
    except (ValueError, ImportError, httpx.InvalidURL):
        raise UsageError(
            "the proxy in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY cannot be used",
            remedy="Write http://HOST:PORT or https://HOST:PORT; SOCKS is not spoken.",
        ) from None


def failed(host: str, answer: Answer, doing: str) -> RegistryFailed:
    """Return the error that says which ``answer`` was not the one hoped for."""
    return RegistryFailed(f"{host} would not {doing}: status {answer.status}{answer.codes()}")


def _limited(response: httpx.Response) -> Iterator[bytes]:
    """Read a body that is a document; a larger one is refused, not kept in memory."""
    size = 0
    for chunk in response.iter_raw():
        size += len(chunk)
        if size > oci.LARGEST_DOCUMENT:
            raise RegistryFailed(
                f"the registry answered more than {oci.LARGEST_DOCUMENT} bytes where a document is due"
            )
        yield chunk


def _refuse(response: httpx.Response, host: str, doing: str) -> None:
    """Raise for what no caller goes on with: no permission, or a registry that is busy or broken."""
    status = response.status_code
    if status in (401, 403):
        answer = Answer(status, response.headers, b"".join(_limited(response)))
        raise RegistryDenied(f"{host} does not let these credentials {doing}: status {status}{answer.codes()}")
    if status in _BUSY or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        answer = Answer(status, response.headers, b"".join(_limited(response)))
        error = RegistryInterrupted(f"{host} could not {doing}: status {status}{answer.codes()}")
        after = response.headers.get("retry-after", "")
        error.after = float(after) if re.fullmatch(r"[0-9]{1,6}", after) else 0.0
        raise error


@contextmanager
def _said_plainly(host: str, doing: str) -> Iterator[None]:
    """Turn what the HTTP library raises into a sentence that holds no header and no address."""
    try:
        yield
    except httpx.ConnectError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise RegistryFailed(
                f"the certificate of {host} is not trusted here: {_reason(error)}",
                remedy="Name the certificate of your authority with --ca-file.",
            ) from None
        raise RegistryInterrupted(f"{host} cannot be reached: {_reason(error)}") from None
    except httpx.ProxyError:
        raise RegistryInterrupted(
            f"the proxy does not lead to {host}",
            remedy="Look at HTTPS_PROXY, and at the password in it; NO_PROXY names hosts that need none.",
        ) from None
    except httpx.TimeoutException:
        raise RegistryInterrupted(f"{host} did not answer in time when it should {doing}") from None
    except httpx.TransportError:
        raise RegistryInterrupted(f"{host} dropped the connection when it should {doing}") from None


def _reason(error: httpx.ConnectError) -> str:
    return re.sub(r"^\[.*?\]\s*|\s*\(_ssl.*$", "", str(error)) or "no reason given"

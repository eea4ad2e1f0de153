"""`bedside predict`: ask a server for one prediction, or for every line of a CSV."""

import csv
import io
import re
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from bedside.errors import GateRefused, ToolFailed, UsageError
from bedside_runtime import canonical

_BATCH = 100
"""Rows of a CSV that go in one request."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""RFC 6750, section 2.1."""

_HERE = frozenset({"127.0.0.1", "::1", "localhost"})

_TIMEOUT = 60.0
"""Seconds for one request."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """What the server answered.

    Attributes:
        release: Name, version and digest of what answered.
        rows: One a prediction: its value, band and flags, for a CSV together with the columns that are no
            input of the model, such as an identifier.
        unsent: Columns of the CSV that the model does not declare, which therefore stayed here.
    """

    release: dict[str, str]
    rows: tuple[dict[str, Any], ...]
    unsent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Credential:
    """An API key or a token, sent as `Authorization: Bearer`; never part of a message or a repr."""

    value: str = field(repr=False)

    @classmethod
    def read(cls, file: Path) -> "Credential":
        """Read the credential that stands alone in ``file``.

        Raises:
            UsageError: The file cannot be read, or holds something else.
        """
        return cls.given(_read(file).decode("latin-1"), str(file))

    @classmethod
    def given(cls, text: str, origin: str) -> "Credential":
        """Take ``text`` from ``origin`` as a credential.

        Raises:
            UsageError: It is none; the message does not quote it.
        """
        value = text.strip()
        if not _TOKEN.fullmatch(value):
            raise UsageError(
                f"{origin} holds no credential", remedy="It holds the API key or the token, and nothing else."
            )
        return cls(value)


@dataclass(frozen=True, slots=True)
class Trust:
    """How a server is known, and how it is shown a certificate; files, PEM.

    Attributes:
        authorities: Believed instead of the system's.
        certificate: Shown to the server, with ``key``.
        key: Its key; ``None`` where it stands in the same file.
    """

    authorities: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Return what connections shake hands with.

        Raises:
            UsageError: A file cannot be used.
        """
        try:
            made = ssl.create_default_context(cafile=self.authorities)
            if self.certificate is not None:
                made.load_cert_chain(self.certificate, self.key, password="")
        except (OSError, ValueError) as error:
            raise UsageError(f"certificates or key cannot be used: {getattr(error, 'reason', None) or error}") from None
        return made


def predict(
    url: str,
    file: Path,
    *,
    credential: Credential | None = None,
    trust: Trust = Trust(),
    on_rows: Callable[[int, int], None] = lambda _done, _all: None,
) -> Predictions:
    """Send ``file`` to the server at ``url``.

    Args:
        url: Base URL of a server, ``http://127.0.0.1:8080``.
        file: JSON (the inputs themselves, ``{"inputs": ...}`` or ``{"instances": [...]}``) or CSV with a
            header; empty cells are missing values.
        trust: How the server is known over https, and what it is shown.
        credential: Shows the server who asks. Sent over TLS, or to this machine, and nowhere else.
        on_rows: Told how many rows of how many are answered.

    Raises:
        UsageError: The file cannot be read as either, or the credential would go through a network in clear.
        GateRefused: The server refused the inputs; the message names each problem, never a value.
        ToolFailed: No answer, or the server is not ready.
    """
    shown = _shown(url, credential)
    with httpx.Client(base_url=url, timeout=_TIMEOUT, headers=shown, verify=trust.context()) as client:
        if file.suffix.lower() == ".csv":
            return _csv(client, file, on_rows)
        answer = _post(client, _request(_read(file), file))
        on_rows(len(answer["predictions"]), len(answer["predictions"]))
        return Predictions(answer["release"], tuple(answer["predictions"]))


def _shown(url: str, credential: Credential | None) -> dict[str, str]:
    if credential is None:
        return {}
    target = httpx.URL(url)
    if target.scheme != "https" and target.host not in _HERE:
        raise UsageError(
            f"{target.host} would be sent the credential in clear", remedy="Use https, or a server on this machine."
        )
    return {"authorization": f"Bearer {credential.value}"}


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None


def _request(data: bytes, file: Path) -> dict[str, Any]:
    try:
        value = canonical.decode(data)
    except canonical.NotStrictJSON as error:
        raise UsageError(f"{file} is no JSON that a server would take: {error}") from None
    if isinstance(value, list):
        return {"instances": value}
    if not isinstance(value, dict):
        raise UsageError(f"{file} holds neither an object nor a list of objects")
    return value if value.keys() & {"inputs", "instances"} else {"inputs": value}


def _csv(client: httpx.Client, file: Path, on_rows: Callable[[int, int], None]) -> Predictions:
    declared = {item["name"]: item["type"] for item in _get(client, "/model")["inputs"]}
    rows = _rows(file)
    unsent = tuple(name for name in rows[0] if name not in declared)
    release: dict[str, str] = {}
    answered: list[dict[str, Any]] = []
    for batch in _batches(rows):
        instances = [_instance(row, declared) for row in batch]
        answer = _post(client, {"instances": instances}, first=len(answered))
        release = answer["release"]
        kept = ({name: row[name] for name in unsent} for row in batch)
        answered += [{**columns, **prediction} for columns, prediction in zip(kept, answer["predictions"], strict=True)]
        on_rows(len(answered), len(rows))
    return Predictions(release, tuple(answered), unsent)


def _rows(file: Path) -> list[dict[str, str]]:
    try:
        text = _read(file).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{file} is not UTF-8", remedy="Save the CSV as UTF-8 and send it again.") from None
    rows = list(csv.DictReader(io.StringIO(text), strict=True))
    if not rows:
        raise UsageError(f"{file} has no row below its header")
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise UsageError(f"{file} line {number} has not as many cells as the header")
    return rows


def _batches(rows: Sequence[dict[str, str]]) -> Iterator[Sequence[dict[str, str]]]:
    for start in range(0, len(rows), _BATCH):
        yield rows[start : start + _BATCH]


def _instance(row: dict[str, str], declared: dict[str, str]) -> dict[str, Any]:
    return {name: _cell(row[name], kind) for name, kind in declared.items() if name in row}


def _cell(text: str, kind: str) -> Any:  # noqa: ANN401 - a JSON value
    """Return the JSON value that a CSV cell stands for; one that is none is sent as it is, to be refused."""
    stripped = text.strip()
    if not stripped:
        return None
    if kind == "category":
        return stripped
    if kind == "boolean":
        return {"true": True, "false": False, "1": True, "0": False}.get(stripped.lower(), stripped)
    try:
        return canonical.decode(stripped.encode())
    except canonical.NotStrictJSON:
        return stripped


def _get(client: httpx.Client, path: str) -> dict[str, Any]:
    return _answer(client, client.build_request("GET", path), 0)


def _post(client: httpx.Client, body: dict[str, Any], first: int = 0) -> dict[str, Any]:
    return _answer(client, client.build_request("POST", "/predict", json=body), first)


def _answer(client: httpx.Client, request: httpx.Request, first: int) -> dict[str, Any]:
    try:
        response = client.send(request)
    except httpx.TransportError as error:
        raise ToolFailed(
            f"no answer from {request.url.copy_with(path='/')}: {error}",
            remedy="Is the server running? See `bedside serve`.",
        ) from None
    if response.is_success:
        answer: dict[str, Any] = response.json()
        return answer
    raise _refused(response, first)


def _refused(response: httpx.Response, first: int) -> GateRefused | ToolFailed:
    if not response.headers.get("content-type", "").startswith("application/problem+json"):
        return ToolFailed(f"the server answered {response.status_code}, and not as bedside does")
    problem = response.json()
    named = [f"\n  row {first + item['instance'] + 1}: {item['message']}" for item in problem.get("violations", ())]
    message = f"the server answered {response.status_code} {problem['code']}: {problem['title']}{''.join(named)}"
    return GateRefused(message) if response.is_client_error else ToolFailed(message)

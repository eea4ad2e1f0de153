"""Asking one pod a golden case, and why it is not ready: through a tunnel, so that no policy stands in the way."""

import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpcore

from bedside.errors import ClusterInterrupted, UsageError
from bedside.kube.cluster.session import Session
from bedside.kube.cluster.tunnel import tunnel
from bedside.kube.plan import ADMIN_PORT, PORT
from bedside_runtime import canonical, golden
from bedside_runtime.contract import Output, Scalar

_TIMEOUT: Final = {"connect": 10.0, "read": 40.0, "write": 10.0, "pool": 10.0}
_SHORT: Final = {**_TIMEOUT, "read": 5.0}


@dataclass(frozen=True, slots=True)
class Case:
    """A golden case as the study recorded it; ``inputs`` as a request holds them."""

    id: str
    inputs: Mapping[str, Any]
    expected: Scalar


@dataclass(frozen=True, slots=True)
class Expected:
    """What a pod must answer to be the release.

    Attributes:
        digest: Of the release, ``sha256:...``.
        output: What the model declares to answer; gives the bands.
        tolerance: Largest absolute difference to what the study recorded.
        cases: At least one, unless none was small enough to be kept.
        name: That the pods' certificates hold, where their public port speaks TLS; empty where it does not.
    """

    digest: str
    output: Output
    tolerance: float
    cases: tuple[Case, ...]
    name: str = ""

    def case(self, turn: int) -> Case:
        """Return the case whose turn it is."""
        return self.cases[turn % len(self.cases)]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks the pods.

    Attributes:
        headers: Credentials, where the release asks for some.
        tls: Whom a pod's certificate must be signed by, and what is shown to it, where its port speaks TLS.
    """

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    tls: ssl.SSLContext | None = None


NOBODY: Final = Caller()
"""Asks without credentials."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a pod answered: HTTP status and JSON, an empty object where it was none."""

    status: int
    value: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a pod answered as it must; ``why`` says what was otherwise, without an input's value."""

    proven: bool
    why: str = ""
    case: str = ""


def prove(session: Session, namespace: str, pod: str, expected: Expected, caller: Caller, turn: int) -> Verdict:
    """Ask ``pod`` one golden case and judge the answer.

    Raises:
        UsageError: It asks for credentials, and those given are not enough.
        ClusterInterrupted: It cannot be asked now, or says that it is busy.
    """
    if not expected.cases:
        reply = _exchange(session, namespace, pod, "GET", "/model", caller, None, name=expected.name)
        _refuse_strangers(reply, pod, caller)
        return _identity(reply, expected)
    case = expected.case(turn)
    asked = {"inputs": case.inputs}
    reply = _exchange(session, namespace, pod, "POST", "/predict", caller, asked, name=expected.name)
    _refuse_strangers(reply, pod, caller)
    return judge(reply, expected, case)


def _refuse_strangers(reply: Reply, pod: str, caller: Caller) -> None:
    if reply.status in (401, 403):
        raise UsageError(
            f"{pod} asks for credentials, and takes {'not these' if caller.headers else 'no stranger'}",
            remedy="Give those of a caller: --credential-file FILE, or the variable BEDSIDE_CREDENTIAL.",
        )
    if reply.status in (429, 503, 504):
        raise ClusterInterrupted(f"{pod} is not ready to answer: {reply.value.get('code', reply.status)}")


def _identity(reply: Reply, expected: Expected) -> Verdict:
    """Where a record keeps no case: the release that the pod says it is, as it replayed the cases itself."""
    digest = reply.value.get("digest")
    if reply.status == 200 and digest == expected.digest:
        return Verdict(True)
    return Verdict(False, f"it says that it is release {str(digest)[:80]}; {expected.digest} was asked for")


def judge(reply: Reply, expected: Expected, case: Case) -> Verdict:
    """Compare an answer with what the study recorded. Pure."""
    if reply.status != 200:
        return Verdict(False, f"golden case {case.id} was answered with status {reply.status}", case.id)
    said = reply.value.get("release")
    digest = said.get("digest") if isinstance(said, dict) else None
    if digest != expected.digest:
        return Verdict(False, f"it answers as release {str(digest)[:80]}; {expected.digest} was asked for", case.id)
    predictions = reply.value.get("predictions")
    if not isinstance(predictions, list) or len(predictions) != 1 or not isinstance(predictions[0], dict):
        return Verdict(False, f"golden case {case.id} was answered with no prediction", case.id)
    value, band = predictions[0].get("value"), predictions[0].get("band")
    if not isinstance(value, bool | int | float | str):
        return Verdict(False, f"golden case {case.id} was answered without a value", case.id)
    apart, due = golden.difference(case.expected, value), expected.output.band(case.expected)
    if apart <= expected.tolerance and band == due:
        return Verdict(True, case=case.id)
    how = f"{apart:g} away from the study (tolerance {expected.tolerance:g})" if apart else "as the study did"
    bands = "" if band == due else f", in band {band} where the study has {due}"
    return Verdict(False, f"golden case {case.id} was answered {how}{bands}", case.id)


def reason(session: Session, namespace: str, pod: str) -> str:
    """Return why ``pod`` says that it is not ready, a fixed code of the runtime; ``ready`` where it is.

    Raises:
        ClusterInterrupted: It does not say: it has not begun to listen, or has ended.
    """
    reply = _exchange(session, namespace, pod, "GET", "/readyz", NOBODY, None, port=ADMIN_PORT, timeout=_SHORT)
    return str(reply.value.get("reason", f"status {reply.status}"))[:80]


def _exchange(
    session: Session,
    namespace: str,
    pod: str,
    method: str,
    path: str,
    caller: Caller,
    body: Mapping[str, Any] | None,
    *,
    port: int = PORT,
    name: str = "",
    timeout: Mapping[str, float] = _TIMEOUT,
) -> Reply:
    content = json.dumps(body, ensure_ascii=False).encode() if body is not None else b""
    headers: Sequence[tuple[str, str]] = [
        ("Content-Type", "application/json"),
        ("Connection", "close"),
        *caller.headers,
    ]
    url = f"https://{name}:{port}{path}" if name else f"http://localhost:{port}{path}"
    extensions = {"timeout": dict(timeout)}
    try:
        with tunnel(session, namespace, pod, port) as stream:
            carrier: httpcore.NetworkStream = stream
            if name:
                carrier = stream.start_tls(_trust(caller), name, timeout["connect"])
            origin = httpcore.URL(url).origin
            connection = httpcore.HTTP11Connection(origin, carrier)
            answer = connection.request(method, url, headers=headers, content=content, extensions=extensions)
            return Reply(answer.status, _object(answer.content))
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise UsageError(
                f"the certificate of {pod} is not trusted",
                remedy="Name the authority of the pods' certificates with --pod-ca.",
            ) from None
        raise ClusterInterrupted(f"{pod} did not answer") from None


def check(expected: Expected, caller: Caller) -> None:
    """Refuse, before anything is done, to ask pods that speak TLS without knowing whom to believe.

    Raises:
        UsageError: With the option that says it.
    """
    if expected.name:
        _trust(caller)


def _trust(caller: Caller) -> ssl.SSLContext:
    if caller.tls is None:
        raise UsageError(
            "the pods of this release speak TLS, and nothing says whom to believe",
            remedy="Name the authority of their certificates with --pod-ca.",
        )
    return caller.tls


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        value = canonical.decode(body)
    except canonical.NotStrictJSON:
        return {}
    return value if isinstance(value, dict) else {}

"""The two routes that answer patients, from a request's head and body to a reply. Knows no transport.

Whatever happens in here, what comes out is a reply; an unexpected exception becomes a fixed problem, and the log
gets its class and place, never its text, which may quote a patient.
"""

import asyncio
import itertools
import math
import secrets
import time
from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, Final, TypeAlias, TypeVar

import msgspec
from msgspec import Raw, Struct

from bedside_runtime.compiled import CompiledDecoder
from bedside_runtime.errors import BedsideRuntimeError, Overloaded
from bedside_runtime.inputs import InputDecoder, ValidRow
from bedside_runtime.serve import bodies, deadlines, inference, plain, problems
from bedside_runtime.serve.allowance import Allowance
from bedside_runtime.serve.auth.verdict import TURNED_AWAY
from bedside_runtime.serve.inference import InferRequest
from bedside_runtime.serve.lifecycle import Lifecycle
from bedside_runtime.serve.logs import EventLog, place
from bedside_runtime.serve.metrics import Metrics
from bedside_runtime.serve.problems import STATUS, Problem, not_ready
from bedside_runtime.serve.tracing.current import CURRENT, Trace, Tracing, trace_id
from bedside_runtime.service import Caller, Prediction, PredictionService, Recorder, Refused

PREDICT: Final = "/predict"
INFER: Final = "/v2/models/{model}/infer"
INFER_VERSION: Final = "/v2/models/{model}/versions/{version}/infer"

_SAFE: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_LONGEST_ID: Final = 128
_PROCESS: Final = secrets.token_hex(8)
_COUNTER: Final = itertools.count(1)
"""Together they name a request like no other of any process."""


_AT_ONCE: Final = TURNED_AWAY | {Overloaded.code}
"""Problems whose answers do not wait for the disk: turning somebody away may not cost what serving does."""

_UNUSUAL: Final = deadlines.NAMES | {b"content-encoding"}
"""Header fields that the usual request does not have."""

_STRANGERS: Final = 200
_STRANGERS_PER_SECOND: Final = 10.0
"""Records of callers who were turned away: as many at once, and as many on the average, as the log takes."""

_One = TypeVar("_One", bound="Asked")

Route: TypeAlias = tuple[str, tuple[str, str | None] | None]
"""A route's template, and the model and version that the path names, ``None`` where it names none."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the routes need once a release is loaded: the service, its decoders, its card, what every answer says."""

    service: PredictionService
    decoder: InputDecoder
    compiled: CompiledDecoder
    card: Any
    release: Raw


class Asked(Struct, eq=False):
    """One request for predictions.

    Attributes:
        route: Template of the route, for metrics.
        named: Model and version that the path names; ``None`` where it names none.
        head: Header names in lower case, and values; the first of those that are repeated.
        received: When its head had arrived, on the monotonic clock, seconds: uvloop's own stands still while it works.
        body: The body, received whole.
        identity: The authenticated caller; ``None`` where nobody authenticates.
    """

    route: str
    named: tuple[str, str | None] | None
    head: Mapping[bytes, bytes]
    received: float
    body: bytes
    identity: str | None


class Reply(Struct, frozen=True, gc=False):
    """What is answered.

    Attributes:
        status: HTTP status.
        body: The body.
        request_id: Names the request, in the header ``X-Request-Id``.
        media_type: Of the body.
        more: Further header fields, names in lower case, without those of the connection.
    """

    status: int
    body: bytes
    request_id: str
    media_type: str = "application/json"
    more: tuple[tuple[str, str], ...] = ()


def request_id(head: Mapping[bytes, bytes]) -> str:
    """Return the caller's ``X-Request-Id`` where it is a plain token, else a new one."""
    sent = head.get(b"x-request-id")
    if sent and len(sent) <= _LONGEST_ID and _SAFE.issuperset(sent):
        return sent.decode()
    return f"{_PROCESS}{next(_COUNTER):016x}"


def route(target: bytes) -> Route | None:
    """Return the route of ``target``, ``None`` where it is none of these.

    Args:
        target: Path and query as they came. A path with escapes is left to the router.
    """
    path = target.partition(b"?")[0]
    if path == b"/predict":
        return PREDICT, None
    match path.split(b"/"):
        case [b"", b"v2", b"models", model, b"infer"]:
            return INFER, (model.decode("latin-1"), None)
        case [b"", b"v2", b"models", model, b"versions", version, b"infer"]:
            return INFER_VERSION, (model.decode("latin-1"), version.decode("latin-1"))
        case _:
            return None


class Predictions:
    """Answers requests for predictions.

    Attributes:
        loaded: The release; set once, before the lifecycle says ready.
        tracing: Notes where the time goes; ``None`` unless the release asks for it.
    """

    def __init__(self, lifecycle: Lifecycle, metrics: Metrics, log: EventLog) -> None:
        self.loaded: Loaded | None = None
        self.tracing: Tracing | None = None
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._log = log
        self._strangers = Allowance(_STRANGERS, _STRANGERS_PER_SECOND)

    async def answer(self, asked: Asked) -> Reply:
        """Return the reply to ``asked``; never raises."""
        caller = Caller(request_id(asked.head), asked.identity)
        try:
            loaded = self.serving() if asked.named is None else self.named(*asked.named)
            deadline = _deadline(asked)
            rows, request = _read(loaded, asked)
            if self.tracing is not None:
                _validated()
            predictions = await loaded.service.predict(rows, caller, deadline)
            self._metrics.answered(predictions)
            return _written(loaded, caller, predictions, request)
        except asyncio.CancelledError:  # the process ends and its grace is over: say so instead of breaking off
            problem = not_ready("draining")
        except Problem as found:
            problem = found
        except Exception as error:  # noqa: BLE001 - the outermost boundary of these routes
            problem = self.understood(error, caller.request)
        return await self.refuse(problem, caller, asked.received)

    def together(self) -> Loaded | None:
        """Return what answers usual requests together, ``None`` where each has to be answered by itself now."""
        loaded = self.loaded
        if loaded is None or self.tracing is not None or self._lifecycle.service is None:
            return None
        return loaded if loaded.service.answers_at_once else None

    def usual(self, loaded: Loaded, asked: Asked) -> ValidRow | None:
        """Return the row of a usual request; ``None`` for any other one, which `answer` has to look at."""
        head = asked.head
        if (
            asked.named is not None
            or head.get(b"content-type") != b"application/json"
            or not _UNUSUAL.isdisjoint(head)
            or len(asked.body) > loaded.service.contract.serve.max_body
        ):
            return None
        try:
            rows = loaded.compiled.rows(asked.body)
        except Exception:  # noqa: BLE001 - a defect in here is this request's own: `answer` says so
            return None
        return None if rows is None else rows[0]

    def answer_together(
        self, loaded: Loaded, asked: Sequence[_One], rows: Sequence[ValidRow]
    ) -> tuple[Sequence[_One], Coroutine[Any, Any, Sequence[tuple[_One, Reply]]] | None]:
        """Ask the model for usual requests. Never raises.

        Returns:
            Those that `answer` has to look at: nothing is recorded of them. And the replies to all others, once these
            are recorded; ``None`` where nobody was answered at all, for a defect.
        """
        callers = [Caller(request_id(one.head), one.identity) for one in asked]
        try:
            answered, recording = loaded.service.predict_together(rows, callers)
        except Exception:  # noqa: BLE001 - the outermost boundary; each request by itself will show whose it is
            return asked, None
        if all(answered):
            return (), self._replies(loaded, asked, callers, recording)
        left = [one for one, is_answered in zip(asked, answered, strict=True) if not is_answered]
        asked, callers = list(compress(asked, answered)), list(compress(callers, answered))
        return left, self._replies(loaded, asked, callers, recording)

    async def _replies(
        self,
        loaded: Loaded,
        asked: Sequence[_One],
        callers: Sequence[Caller],
        recording: Awaitable[Sequence[Prediction]],
    ) -> Sequence[tuple[_One, Reply]]:
        """Return the replies to requests whose records are on their way: none is asked for again. Never raises."""
        replies, wrong = [], []
        try:
            predictions = await recording
            self._metrics.answered(predictions)
        except asyncio.CancelledError:
            wrong = [(one, caller, not_ready("draining")) for one, caller in zip(asked, callers, strict=True)]
        except Exception as error:  # noqa: BLE001 - the outermost boundary of these routes
            known = [self.understood(error, caller.request) for caller in callers]
            wrong = list(zip(asked, callers, known, strict=True))
        else:
            for one, caller, prediction in zip(asked, callers, predictions, strict=True):
                try:
                    replies.append((one, _written(loaded, caller, (prediction,), None)))
                except Exception as error:  # noqa: BLE001 - a defect, of this answer alone
                    wrong.append((one, caller, self.understood(error, caller.request)))
        return replies if not wrong else replies + await self._refuse_together(wrong)

    async def _refuse_together(self, wrong: Sequence[tuple[_One, Caller, Problem]]) -> list[tuple[_One, Reply]]:
        refusals = [self.refuse(problem, caller, one.received) for one, caller, problem in wrong]
        replies = await asyncio.gather(*refusals)  # one sync of the log for all of them
        return [(one, reply) for (one, _, _), reply in zip(wrong, replies, strict=True)]

    async def refuse(self, problem: Problem, caller: Caller, received: float) -> Reply:
        """Record that somebody asked for a prediction and gets none, and return what is said."""
        recorder = self.recorder
        if recorder is not None and self._worth_recording(problem):
            seconds = time.monotonic() - received
            at_once = problem.code in _AT_ONCE
            status = STATUS[problem.code]
            await recorder.refused(Refused(caller, status, problem.recorded_as, seconds, at_once))
        return reply(problem, caller.request)

    def _worth_recording(self, problem: Problem) -> bool:
        """Count those who may not ask, and say whether it goes into the log: strangers cannot fill its disk."""
        if problem.code not in TURNED_AWAY:
            return True
        recorded = self._strangers.take(time.monotonic())
        self._metrics.turned_away(problem.recorded_as, recorded=recorded)
        return recorded

    def understood(self, error: Exception, identity: str) -> Problem:
        """Return the problem for ``error``; one that nobody expects is logged, by class and place alone."""
        problem = problems.from_domain(error) if isinstance(error, BedsideRuntimeError) else Problem("internal-error")
        if problem.code in ("internal-error", "output-invalid"):
            trace = trace_id()
            known = {"trace_id": trace} if trace is not None else {}
            self._log.error(problem.code, error=type(error).__name__, at=place(error), request_id=identity, **known)
        return problem

    @property
    def recorder(self) -> Recorder | None:
        """The audit log of the loaded release."""
        return self.loaded.service.recorder if self.loaded is not None else None

    def serving(self) -> Loaded:
        """Return what answers predictions; that is so while draining too.

        Raises:
            Problem: Nothing does now.
        """
        if self.loaded is None or self._lifecycle.service is None:
            raise not_ready(self._lifecycle.readiness().reason)
        return self.loaded

    def named(self, model: str, version: str | None) -> Loaded:
        """Return what answers for ``model``.

        Raises:
            Problem: It is another model, another version, or nothing answers now.
        """
        loaded = self.serving()
        contract = loaded.service.contract
        if model != contract.name or version not in (None, contract.version):
            raise Problem("unknown-model")
        return loaded


def _deadline(asked: Asked) -> float:
    """Return when the caller wants no answer any more, on the monotonic clock, seconds."""
    wait = deadlines.seconds(asked.head)
    return math.inf if wait is None else asked.received + wait


def _read(loaded: Loaded, asked: Asked) -> tuple[Sequence[ValidRow], InferRequest | None]:
    """Return the rows that are asked about, and what else a request of the Open Inference Protocol says.

    Raises:
        Problem: The request is not good.
        InvalidInputs: Its inputs are not.
    """
    contract, body = loaded.service.contract, asked.body
    if len(body) > contract.serve.max_body:
        raise bodies.too_large(contract.serve.max_body)
    if not body:
        raise Problem("empty-body")
    kind = bodies.media_type(asked.head)
    if asked.named is not None:
        if kind not in ("", "application/json", "application/octet-stream"):
            raise Problem("media-type")
        length = asked.head.get(b"inference-header-content-length")
        request = inference.decode(body, None if length is None else length.decode("latin-1"), contract)
        return loaded.decoder.rows(request.instances), request
    if kind != "application/json":
        raise Problem("media-type")
    rows = loaded.compiled.rows(body)
    if rows is None:  # more than one patient, other units, or something is wrong with it
        rows = loaded.decoder.rows(plain.decode(body, contract.serve.max_instances))
    return rows, None


def _written(loaded: Loaded, caller: Caller, predictions: Sequence[Prediction], request: InferRequest | None) -> Reply:
    """Return the reply that says ``predictions``, in the protocol that was asked in."""
    if request is None:
        return Reply(200, plain.encode(caller.request, loaded.release, predictions), caller.request)
    service = loaded.service
    body, headers = inference.encode(request, caller.request, service.contract, service.digest, predictions)
    return Reply(200, body, caller.request, headers.pop("content-type"), tuple(headers.items()))


def _validated() -> None:
    if (trace := CURRENT.get()) is not None:
        trace.validated()


def traced(answer: Reply, trace: Trace) -> Reply:
    """Return ``answer`` with what it says about its trace."""
    if not trace.response:
        return answer
    return msgspec.structs.replace(answer, more=(*answer.more, ("traceresponse", trace.response)))


def reply(problem: Problem, identity: str) -> Reply:
    """Return ``problem`` as a reply."""
    document = problems.document(problem, identity)
    more = tuple((name, value) for name, value in problem.headers.items() if name != "connection")
    return Reply(STATUS[problem.code].value, document, identity, problems.MEDIA_TYPE, more)

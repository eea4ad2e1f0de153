"""The outermost wall of the application: request ids, metrics, and the only catch-all.

Whatever happens further in, what leaves is a response of ours; an unexpected exception becomes a fixed problem,
and the log gets its class and place, never its text, which may quote a patient.
"""

import asyncio
import time
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bedside_runtime.serve import predicting
from bedside_runtime.serve.auth.verdict import DECISION, TURNED_AWAY, Decision, Verdict
from bedside_runtime.serve.metrics import Metrics
from bedside_runtime.serve.predicting import Predictions
from bedside_runtime.serve.problems import Problem, not_ready, response
from bedside_runtime.serve.tracing.current import Trace
from bedside_runtime.service import Caller

_SERVER_ERROR = 500
_IDENTITY: Final = "bedside.identity"


def request_id(request: Request) -> str:
    """Return the request's id: the caller's ``X-Request-Id`` where it is a plain token, else a new one."""
    found: str | None = request.scope.get("bedside.request_id")
    if found is None:
        found = request.scope["bedside.request_id"] = predicting.request_id(head(request))
    return found


def caller_of(request: Request) -> Caller:
    """Return who asks."""
    return Caller(request_id(request), request.scope.get(_IDENTITY))


def head(request: Request) -> dict[bytes, bytes]:
    """Return the header fields, the first of those that are repeated."""
    return dict(reversed(request.headers.raw))


class Boundary:
    """ASGI middleware around all routes."""

    def __init__(self, app: ASGIApp, metrics: Metrics, predictions: Predictions) -> None:
        self._app = app
        self._metrics = metrics
        self._predictions = predictions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request to its end."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request, started = Request(scope), time.perf_counter()
        tracing = self._predictions.tracing
        trace = tracing.begin(request.method, head(request), time.monotonic()) if tracing is not None else None
        answer = _Answer(send, request_id(request), trace)
        try:
            await self._let_in(request, receive, answer)
        except ClientDisconnect:
            answer.status = 499  # nginx's number for a client that went away; nobody reads an answer
        except asyncio.CancelledError:  # the process ends and its grace is over: say so instead of breaking off
            await self._problem(not_ready("draining"), request, receive, answer)
        except Problem as problem:
            await self._problem(problem, request, receive, answer)
        except Exception as error:  # noqa: BLE001 - the outermost boundary of the server
            understood = self._predictions.understood(error, request_id(request))
            await self._problem(understood, request, receive, answer)
        route = getattr(scope.get("route"), "path", "other")
        if trace is not None:
            trace.end(route, answer.status)
        self._metrics.request(route, request.method, answer.status, time.perf_counter() - started)

    async def _let_in(self, request: Request, receive: Receive, answer: "_Answer") -> None:
        """Do what the gate decided. Without a decision, as behind another server than ours, nobody is let in."""
        decision: Decision | None = request.scope.get(DECISION)
        if decision is None:
            refusal: Problem | None = Problem("authentication-unavailable")
        else:
            verdict = decision if isinstance(decision, Verdict) else await decision
            request.scope[_IDENTITY], refusal = verdict.identity, verdict.refusal
        if refusal is None:
            await self._app(request.scope, receive, answer.send)
        else:
            await self._problem(refusal, request, receive, answer)

    async def _problem(self, problem: Problem, request: Request, receive: Receive, answer: "_Answer") -> None:
        if answer.begun:
            return
        caller = caller_of(request)
        if request.method == "POST" or problem.code in TURNED_AWAY:  # somebody asked for something and gets it not
            await self._predictions.refuse(problem, caller, answer.began)
        await response(problem, caller.request)(request.scope, receive, answer.send)


class _Answer:
    """Remembers the status of an answer, and gives each one its request id and what it says about its trace."""

    def __init__(self, send: Send, identity: str, trace: Trace | None) -> None:
        self.status = _SERVER_ERROR
        self.begun = False
        self.began = asyncio.get_running_loop().time()
        self._send = send
        self._fields = [(b"x-request-id", identity.encode())]
        if trace is not None and trace.response:
            self._fields.append((b"traceresponse", trace.response.encode()))

    async def send(self, message: Message) -> None:
        """Pass a message on."""
        if message["type"] == "http.response.start":
            self.status, self.begun = message["status"], True
            message["headers"] = [*message.get("headers", ()), *self._fields]
        await self._send(message)

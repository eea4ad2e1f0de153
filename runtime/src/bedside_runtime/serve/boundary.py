"""The outermost wall of the application: request ids, metrics, and the only catch-all.

Whatever happens further in, what leaves is a response of ours; an unexpected exception becomes a fixed problem,
and the log gets its class and place, never its text, which may quote a patient.
"""

import asyncio
import secrets
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bedside_runtime.errors import BedsideRuntimeError
from bedside_runtime.serve.logs import EventLog
from bedside_runtime.serve.metrics import Metrics
from bedside_runtime.serve.problems import STATUS, Problem, from_domain, not_ready, response
from bedside_runtime.service import Caller, Refused

_SAFE: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_LONGEST_ID = 128
_OURS = str(Path(__file__).parents[1])
_SERVER_ERROR = 500


def request_id(request: Request) -> str:
    """Return the request's id: the caller's ``X-Request-Id`` where it is a plain token, else a new one."""
    found: str | None = request.scope.get("bedside.request_id")
    if found is None:
        sent = request.headers.get("x-request-id", "")
        good = 0 < len(sent) <= _LONGEST_ID and _SAFE.issuperset(sent)
        found = request.scope["bedside.request_id"] = sent if good else secrets.token_hex(16)
    return found


class Boundary:
    """ASGI middleware around all routes."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, log: EventLog, on_refused: Callable[[Refused], Awaitable[None]]
    ) -> None:
        self._app = app
        self._on_refused = on_refused
        self._metrics = metrics
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request to its end."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request, started = Request(scope), time.perf_counter()
        answer = _Answer(send, request_id(request))
        try:
            await self._app(scope, receive, answer.send)
        except ClientDisconnect:
            answer.status = 499  # nginx's number for a client that went away; nobody reads an answer
        except asyncio.CancelledError:  # the process ends and its grace is over: say so instead of breaking off
            await self._problem(not_ready("draining"), request, receive, answer)
        except Problem as problem:
            await self._problem(problem, request, receive, answer)
        except BedsideRuntimeError as error:
            self._report(error, request)
            await self._problem(from_domain(error), request, receive, answer)
        except Exception as error:  # noqa: BLE001 - the outermost boundary of the server
            self._report(error, request)
            await self._problem(Problem("internal-error"), request, receive, answer)
        route = getattr(scope.get("route"), "path", "other")
        self._metrics.request(route, request.method, answer.status, time.perf_counter() - started)

    async def _problem(self, problem: Problem, request: Request, receive: Receive, answer: "_Answer") -> None:
        if answer.begun:
            return
        if request.method == "POST":  # somebody asked for a prediction and gets none
            caller, seconds = Caller(request_id(request)), time.perf_counter() - answer.began
            await self._on_refused(Refused(caller, STATUS[problem.code], problem.code, seconds))
        await response(problem, request_id(request))(request.scope, receive, answer.send)

    def _report(self, error: Exception, request: Request) -> None:
        problem = from_domain(error) if isinstance(error, BedsideRuntimeError) else Problem("internal-error")
        if problem.code not in ("internal-error", "output-invalid"):
            return
        self._log.error(problem.code, error=type(error).__name__, at=_place(error), request_id=request_id(request))


class _Answer:
    """Remembers the status of an answer, and gives each one its request id."""

    def __init__(self, send: Send, identity: str) -> None:
        self.status = _SERVER_ERROR
        self.begun = False
        self.began = time.perf_counter()
        self._send = send
        self._identity = identity.encode()

    async def send(self, message: Message) -> None:
        """Pass a message on."""
        if message["type"] == "http.response.start":
            self.status, self.begun = message["status"], True
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self._identity)]
        await self._send(message)


def _place(error: Exception) -> str:
    """Return file and line of the innermost frame of this package."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(_OURS)]
    last = frames[-1] if frames else None
    return f"{Path(last.filename).name}:{last.lineno}" if last is not None else ""

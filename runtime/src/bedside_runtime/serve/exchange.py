"""One request for predictions on its way through a connection, and its answer."""

import time
from typing import TYPE_CHECKING, Any, Final

from bedside_runtime.serve import predicting
from bedside_runtime.serve.auth.verdict import Decision, Verdict
from bedside_runtime.serve.predicting import Asked, Predictions, Reply
from bedside_runtime.service import Caller

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bedside_runtime.serve.connection import Connection


class _Nobody:
    """Takes the place of the event that an ASGI application would wait for."""

    def set(self) -> None:
        """Wake nobody."""


_NOBODY: Final = _Nobody()


class Exchange:
    """One request for predictions and its answer; looks to uvicorn like a cycle of its own."""

    __slots__ = (
        "before",
        "body",
        "connection",
        "decision",
        "disconnected",
        "head",
        "keep_alive",
        "length",
        "more_body",
        "named",
        "problem",
        "received",
        "response_complete",
        "route",
    )
    message_event = _NOBODY

    def __init__(
        self,
        connection: "Connection",
        before: Any,  # noqa: ANN401 - uvicorn's cycle or one of these
        keep_alive: bool,
        route: predicting.Route,
        head: "Mapping[bytes, bytes]",
        decision: Decision,
    ) -> None:
        self.connection, self.before, self.keep_alive = connection, before, keep_alive
        self.route, self.named = route
        self.decision = decision
        self.head: Mapping[bytes, bytes] = head
        self.received = time.monotonic()  # uvloop's own clock stands still while it works, and counts milliseconds
        self.body = bytearray()
        self.length = 0
        self.more_body = True
        self.response_complete = False
        self.disconnected = False
        self.problem = decision.refusal if isinstance(decision, Verdict) else None

    def take(self, body: bytes) -> None:
        """Take a part of the body; nothing is kept of a request that is refused."""
        self.length += len(body)
        if self.problem is None:
            self.body += body

    async def run_asgi(self, _application: object) -> None:
        """Answer; the name is uvicorn's."""
        wall = self.connection.wall
        if wall.predictions is None:
            raise AssertionError("only a port with predictions makes exchanges")
        tracing = wall.predictions.tracing
        trace = tracing.begin("POST", self.head, self.received) if tracing is not None else None
        reply = await self._reply(wall.predictions)
        if trace is not None:
            trace.end(self.route, reply.status)
            reply = predicting.traced(reply, trace)
        wall.metrics.request(self.route, "POST", reply.status, time.monotonic() - self.received)
        self.connection.reply(self, reply)

    async def _reply(self, predictions: Predictions) -> Reply:
        verdict = self.decision if isinstance(self.decision, Verdict) else await self.decision
        problem = self.problem or verdict.refusal
        if problem is None:
            body = bytes(self.body)
            asked = Asked(self.route, self.named, self.head, body, self.received, verdict.identity)
            return await predictions.answer(asked)
        caller = Caller(predicting.request_id(self.head), verdict.identity)
        return await predictions.refuse(problem, caller, self.received)

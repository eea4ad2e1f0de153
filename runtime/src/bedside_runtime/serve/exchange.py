"""One request for predictions on its way through a connection, and its answer."""

import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, ClassVar, Final

from msgspec import field

from bedside_runtime.serve import predicting
from bedside_runtime.serve.auth.verdict import Decision, Verdict
from bedside_runtime.serve.predicting import Asked, Predictions, Reply
from bedside_runtime.serve.problems import Problem
from bedside_runtime.serve.tracing.current import Tracing
from bedside_runtime.service import Caller

if TYPE_CHECKING:
    from bedside_runtime.serve.answering import Answering


class _Nobody:
    """Takes the place of the event that an ASGI application would wait for."""

    def set(self) -> None:
        """Wake nobody."""


_NOBODY: Final = _Nobody()


class Exchange(Asked, eq=False):
    """One request for predictions and its answer; looks to uvicorn like a cycle of its own.

    Attributes:
        connection: It came on this one.
        before: uvicorn's cycle, or another of these, that is answered first.
        keep_alive: Whether the connection goes on after the answer.
        decision: Whether it may go on.
        problem: What it is refused with.
        parts: Of its body, until it is whole.
        length: Bytes of them.
    """

    connection: "Answering"
    before: Any
    keep_alive: bool
    decision: Decision
    problem: Problem | None = None
    parts: list[bytes] = field(default_factory=list)
    length: int = 0
    more_body: bool = True
    response_complete: bool = False
    disconnected: bool = False

    message_event: ClassVar[_Nobody] = _NOBODY

    async def run_asgi(self, _application: object) -> None:
        """Answer; the name is uvicorn's."""
        wall = self.connection.wall
        predictions = wall.predictions
        if predictions is None:
            raise AssertionError("only a port with predictions makes exchanges")
        try:
            if predictions.tracing is None:
                reply = await self._reply(predictions)
            else:
                reply = await self._traced(predictions, predictions.tracing)
        except BaseException:
            self.connection.fail()
            raise
        self.say(reply, time.monotonic())

    def say(self, reply: Reply, now: float) -> None:
        """Send ``reply``, at ``now`` on the monotonic clock."""
        connection = self.connection
        try:
            connection.wall.metrics.request(self.route, "POST", reply.status, now - self.received)
            connection.reply(self, reply)
        except BaseException:
            connection.fail()
            raise

    @property
    def is_next(self) -> bool:
        """Whether everything before it is answered."""
        return self.before is None or self.before.response_complete

    @property
    def may_go_on(self) -> bool:
        """Whether it is decided, and not against it."""
        return self.problem is None and isinstance(self.decision, Verdict)

    async def _traced(self, predictions: Predictions, tracing: Tracing) -> Reply:
        trace = tracing.begin("POST", self.head, self.received)
        reply = await self._reply(predictions)
        trace.end(self.route, reply.status)
        return predicting.traced(reply, trace)

    def _reply(self, predictions: Predictions) -> Awaitable[Reply]:
        decision = self.decision
        if not isinstance(decision, Verdict):
            return self._decided(predictions, decision)
        if self.problem is None:
            return predictions.answer(self)
        caller = Caller(predicting.request_id(self.head), self.identity)
        return predictions.refuse(self.problem, caller, self.received)

    async def _decided(self, predictions: Predictions, decision: Awaitable[Verdict]) -> Reply:
        self.decision = verdict = await decision
        self.identity, self.problem = verdict.identity, self.problem or verdict.refusal
        return await self._reply(predictions)

"""The half of a connection that answers: in which order, how long its client is waited for, and how it ends.

uvicorn's class keeps its requests as *cycles*, answered in their order; `Exchange` is one of ours in its queue. The
other half, `connection`, takes what comes in, and is built on this one.
"""

import asyncio
import math
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bedside_runtime.serve import bodies, predicting
from bedside_runtime.serve.auth.certificates import Peer, peer
from bedside_runtime.serve.auth.gate import is_probe
from bedside_runtime.serve.auth.verdict import DECISION, Verdict
from bedside_runtime.serve.exchange import Exchange
from bedside_runtime.serve.predicting import Reply
from bedside_runtime.serve.problems import RETRY_AFTER, Problem
from bedside_runtime.serve.wall import Wall

if TYPE_CHECKING:
    from uvicorn.server import ServerState

_UNREAD: Final = 16 * 1024
"""Bytes beyond what the kernel keeps that a client may leave unread before nothing more is answered."""

IDLE: Final = -1.0
"""Stands for the time at which a connection without a request ends, until the next sweep sets it: most send the next
request long before."""


class Answering(HttpToolsProtocol):
    """See the module.

    What is ours stands in slots: of a class with more than thirty attributes in its dictionary CPython 3.11 keeps no
    common layout, and looks up anew what it would find at once.
    """

    __slots__ = (
        "_begun",
        "_expires",
        "_has_turn",
        "_held",
        "_in_head",
        "_in_message",
        "_reads_until",
        "_refused",
        "_shown",
        "_thrown_away",
        "wall",
    )

    _of_port: ClassVar[Wall]
    cycle: Any  # uvicorn's cycle, an `Exchange`, or None before the first request
    pipeline: Any  # of them, those that wait for their turn

    def __init__(
        self,
        config: Any,  # noqa: ANN401 - uvicorn's own signature
        server_state: "ServerState",
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.wall = self._of_port
        self._in_head = False  # this and the next three: how far the other half is
        self._in_message = False
        self._held: bytes | memoryview = b""  # came, and waits for its turn
        self._has_turn = False  # to come
        self._refused: Problem | None = None
        self._thrown_away = 0
        self._begun: Any = None  # the cycle that the application answers
        self._expires = math.inf
        self._reads_until = math.inf
        self._shown: Peer | None = None

    # -- how long

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there; it has to send its first request soon."""
        super().connection_made(transport)  # type: ignore[arg-type] # uvicorn narrows asyncio's signature
        self.transport.set_write_buffer_limits(_UNREAD)
        self._expires = self.loop.time() + self.wall.limits.header_seconds
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            self._shown = peer(tls.getpeercert())
        if len(self.connections) > self.wall.limits.max_connections:
            self._refuse(Problem("too-many-connections", headers={"retry-after": RETRY_AFTER}))

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone. uvicorn tells that the request that came last; another one may be under way."""
        if self._begun is not None:
            self._begun.disconnected = True
            self._begun.message_event.set()
        super().connection_lost(exc)

    def sweep(self, now: float) -> None:
        """End the connection where its time is up."""
        if self._expires == IDLE:
            self._expires = now + self.wall.limits.idle_seconds
        if now > self._reads_until:
            self.wall.metrics.refused("slow-reader")
            self.transport.abort()
        elif now > self._expires and (self.flow.read_paused or self._has_turn) and self._refused is None:
            self._expires = now + self.wall.limits.body_seconds  # it is we who do not read
        elif now > self._expires:
            self._expires = math.inf
            if self.transport.is_closing():  # and what was written is still not read
                self.transport.abort()
            elif self._refused is not None or not self._in_message:
                self._close()
            else:
                self._refuse(Problem("head-timeout" if self._in_head else "body-timeout"))

    def pause_writing(self) -> None:
        """The client does not read; nothing more is answered until it does, and not for ever."""
        super().pause_writing()
        self.flow.pause_reading()
        self._reads_until = self.loop.time() + self.wall.limits.body_seconds

    def resume_writing(self) -> None:
        """The client reads on."""
        super().resume_writing()
        self._reads_until = math.inf
        self._next()

    # -- one answer after the other

    def _queue(self, exchange: Exchange) -> None:
        """Answer ``exchange`` now, or after those before it."""
        exchange.more_body = False
        exchange.body = b"".join(exchange.parts)
        is_next, exchange.before = exchange.is_next, None
        if not is_next:
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, self.app))
            return
        self.wall.turn.answer(exchange)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:  # noqa: ANN401 - uvicorn's own signature
        """Have the application answer; what is neither a prediction nor a probe waits in line for it."""
        if isinstance(app, Problem):  # its body was refused while it waited
            self._say(app)
            return
        if isinstance(cycle, Exchange):
            self.wall.turn.answer(cycle)
            return
        self._begun = cycle
        start = partial(super()._start_asgi_task, cycle, app)
        if is_probe(cycle.scope["method"].encode(), cycle.scope["raw_path"]):
            start()
        else:
            self.wall.line.join(start, partial(self._is_for_nobody, cycle.scope))

    def _is_for_nobody(self, scope: Any) -> bool:  # noqa: ANN401 - as uvicorn has it
        """Say whether the client has gone, and nothing about what it asked is to be recorded."""
        decision = scope[DECISION]
        lets_in = isinstance(decision, Verdict) and decision.refusal is None
        return self not in self.connections and lets_in and scope["method"] != "POST"

    def reply(self, exchange: Exchange, reply: Reply) -> None:
        """Send the answer of an exchange, in one write."""
        transport = self.transport
        if exchange.disconnected or transport.is_closing():
            return
        close = not exchange.keep_alive or self.wall.closing
        transport.write(self._bytes(reply, close=close))
        exchange.response_complete = True
        if self._refused is not None and not self.pipeline:
            self._linger()
            return  # it was the last answer: the connection has a moment now, not the time of an idle one
        if close:
            self._close()
        elif not (self._in_message or self._held or self.pipeline or self.flow.read_paused):
            self._expires = IDLE  # and nothing waits behind this answer
            return
        self.on_response_complete()

    def on_response_complete(self) -> None:
        """Go on with what waits behind the answer that was just sent."""
        self._begun = None
        if self.transport.is_closing():
            self._expires = self.loop.time() + bodies.LINGER_SECONDS
            return
        if not self._in_message:
            self._expires = IDLE
        self._next()

    def _next(self) -> None:
        if self.flow.write_paused or self.transport.is_closing():
            return
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        cycle = self.cycle
        if self.expect_100_continue and isinstance(cycle, Exchange) and cycle.more_body and cycle.is_next:
            self._ask_for_body()
        self._go_on()

    def _go_on(self) -> None:
        """Take what came meanwhile, or read on: where the other half begins again."""
        raise NotImplementedError

    def _ask_for_body(self) -> None:
        """Tell a client to go on that asked whether to; once, and when all before is answered."""
        self.expect_100_continue = False
        self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _bytes(self, reply: Reply, *, close: bool) -> bytes:
        identity, body = reply.request_id.encode(), reply.body
        more = "".join([f"{name}: {value}\r\n" for name, value in reply.more]).encode() if reply.more else b""
        begins = self.wall.head(self.server_state, reply.status, reply.media_type)
        ends = b"connection: close\r\n" if close else b""
        parts = begins, identity, more, len(body), ends, body
        return b"%bx-request-id: %b\r\n%bcontent-length: %d\r\n%b\r\n%b" % parts

    # -- ends

    def outdated(self) -> None:
        """Authorities that are believed no more have judged this connection: nothing it carries from now on counts."""
        self._shown = None
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.keep_alive = False
        elif not self._in_message:
            self._close()

    def fail(self) -> None:
        """End the connection after a defect of ours: a client that is not answered would wait for ever."""
        self._close()

    def _end_after_answer(self) -> None:
        """Answer what was asked, and take nothing after it."""
        self._refused = Problem("bad-request")
        if self.cycle is None or self.cycle.response_complete:
            self._close()
        else:
            self.cycle.keep_alive = False

    def _refuse(self, problem: Problem) -> None:
        """Say what is wrong once all that was asked before is answered, and end the connection."""
        self._refused = problem
        self.wall.metrics.refused(problem.code)
        cycle = self.cycle
        if isinstance(cycle, Exchange) and cycle.more_body:  # somebody asked for a prediction and gets none
            cycle.problem, cycle.keep_alive = problem, False
            self._queue(cycle)
        elif cycle is None or cycle.response_complete:
            self._say(problem)
        elif not self._in_message or self._in_head:
            cycle.keep_alive = False
            self._expires = math.inf  # it is answered when it is answered
        elif self.pipeline:  # the application would get this body once all before it are answered
            self.pipeline[0] = cycle, problem
            self._expires = math.inf
        elif cycle.response_started:
            self._close()
        else:  # the application waits for this body: to it the client has gone
            cycle.disconnected = True
            cycle.message_event.set()
            self._say(problem)

    def _say(self, problem: Problem) -> None:
        self.transport.write(self._bytes(predicting.reply(problem, predicting.request_id({})), close=True))
        self._linger()

    def _linger(self) -> None:
        """Read on for a while: a client that still sends would see a reset instead of the answer."""
        self._expires = self.loop.time() + bodies.LINGER_SECONDS
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _throw_away(self, size: int) -> None:
        self._thrown_away += size
        if self._thrown_away > bodies.LINGER_BYTES:
            self._close()

    def _close(self) -> None:
        """Close once what was written is read, or after a while."""
        self._expires = self.loop.time() + bodies.LINGER_SECONDS
        self.transport.close()

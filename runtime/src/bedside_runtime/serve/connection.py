"""One connection: uvicorn's own protocol class, with limits on everything that a client can make long or large.

llhttp parses (through httptools), uvicorn keeps sockets, TLS and the ASGI application. What is ours:

- whether a request may go on is decided here, by the gate, as soon as its head has arrived, whoever answers it then;
- the two routes that answer patients are answered here, without an ASGI application in between;
- the head, the body and the silence between requests have a size and a time, and so has a client that does not read;
- what is refused before it is a request gets a problem document too, and the connection ends.

uvicorn's class keeps its requests as *cycles*, answered in their order; `Exchange` is one of ours in its queue.
"""

import asyncio
import math
import time
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bedside_runtime.serve import bodies, heads, predicting
from bedside_runtime.serve.auth.certificates import Peer, peer
from bedside_runtime.serve.auth.gate import PROBES, is_probe
from bedside_runtime.serve.auth.verdict import ANYBODY, DECISION, Decision, Verdict
from bedside_runtime.serve.exchange import Exchange
from bedside_runtime.serve.heads import MAX_HEAD
from bedside_runtime.serve.predicting import Reply
from bedside_runtime.serve.problems import RETRY_AFTER, Problem
from bedside_runtime.serve.wall import Wall

if TYPE_CHECKING:
    from uvicorn.server import ServerState

_AT_ONCE: Final = 2 * 1024
"""Bytes that are parsed in one turn of the loop; of more, pieces that double until a request has ended in one. Who
sends many requests at once takes turns with everybody else; a large body is read on."""

_PIECE: Final = 512
"""As many, where the last request was one that waits in line."""

_UNREAD: Final = 16 * 1024
"""Bytes beyond what the kernel keeps that a client may leave unread before nothing more is answered."""

_URGENT: Final = (b"POST ", *(b"GET " + path for path in sorted(PROBES)))
"""How predictions and probes begin, and hardly anything else; only an order rests on it."""

_NOTHING: Final = b""

SWEEP_SECONDS: Final = 0.25
"""How often connections are asked whether their time is up."""

_IDLE: Final = -1.0
"""Stands for the time at which a connection without a request ends, until the next sweep sets it: most send the next
request long before."""


class Connection(HttpToolsProtocol):
    """See the module. One instance a connection.

    What is ours stands in slots: of a class with more than thirty attributes in its dictionary CPython 3.11 keeps no
    common layout, and looks up anew what it would find at once.
    """

    __slots__ = (
        "_at_once",
        "_declines",
        "_ended",
        "_expires",
        "_grew",
        "_has_turn",
        "_held",
        "_in_head",
        "_in_message",
        "_piece",
        "_reads_until",
        "_refused",
        "_shown",
        "_thrown_away",
        "_timed",
        "_unparsed",
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
        self._read_anew()
        self._declines = False  # another protocol, offered by the head that has just ended
        self._in_head = False
        self._in_message = False
        self._ended = False  # a message ended in the bytes that are being parsed
        self._timed = ""  # the part of the message that has a time to arrive in: head, body, or none yet
        self._piece = 0  # how many these are
        self._held: bytes | memoryview = _NOTHING  # came, and waits for its turn
        self._at_once = _AT_ONCE  # none, where the last request was one that waits in line
        self._has_turn = False  # to come
        self._unparsed = 0  # bytes of a head that has not ended, or that came since its body last grew
        self._grew = False  # whether a body grew by the bytes that are being parsed
        self._refused: Problem | None = None
        self._thrown_away = 0
        self._expires = math.inf
        self._reads_until = math.inf
        self._shown: Peer | None = None

    # -- the connection's life

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

    def data_received(self, data: bytes) -> None:
        """Bytes came; those of a connection that is being ended are thrown away."""
        if self._refused is not None:
            self._throw_away(len(data))
        elif self._at_once or self._looks_urgent(data):
            self._at_once = _AT_ONCE
            self._held = memoryview(bytes(self._held) + data) if self._held else data
            if not self._has_turn and not self.flow.read_paused:
                self._has_turn = True
                self.wall.turn.read(self)
        else:
            self._held = memoryview(bytes(self._held) + data)
            self.flow.pause_reading()
            self._await_turn()

    def _looks_urgent(self, data: bytes) -> bool:
        """Guess whether a prediction or a probe begins here: it does not wait because the last request was another."""
        waits = self._held or self._in_message or not self.cycle.response_complete
        return not waits and data.startswith(_URGENT)

    def take_turn(self) -> None:
        """Parse what is held, piece by piece, until a request has ended; what is left waits for another turn."""
        self._has_turn = False
        if self.flow.write_paused:  # goes on when the client has read
            return
        left, size = self._held, self._at_once or _PIECE
        try:
            while left and self._refused is None and not self.transport.is_closing():
                self._parse(left[:size])
                left = left[size:]
                if self._ended:
                    break
                size *= 2
        except BaseException:
            self.fail()  # some of what it holds is parsed, and may not be parsed again
            raise
        if self._refused is not None or self.transport.is_closing():
            self._held = _NOTHING
            return
        self._held = left
        if left:
            self.flow.pause_reading()
        if self.flow.read_paused:
            self._go_on()

    def _parse(self, data: "bytes | memoryview") -> None:
        self._ended = self._grew = False
        self._piece = len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._declines:
                self._decline(data[upgrade.args[0] :])
                return
            self._end_after_answer()
        except httptools.HttpParserError:
            self._refuse(Problem("bad-request"))
            return
        if self._in_message:
            self._await_rest()
        if self._refused is not None:
            self._refuse(self._refused)

    def _await_rest(self) -> None:
        """Give the rest of a message its time; a part that has one already gets no more, however it trickles in."""
        limits = self.wall.limits
        if not self._ended and self._refused is None:  # it has not ended yet, and may never
            self._unparsed = 0 if self._grew else self._unparsed + self._piece
            if self._unparsed > MAX_HEAD:
                self._refused = Problem("head-too-large")
        part = "head" if self._in_head else "body"
        if part != self._timed:
            self._timed = part
            self._expires = self.loop.time() + (limits.header_seconds if self._in_head else limits.body_seconds)

    def _read_anew(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=False)

    def _decline(self, rest: "bytes | memoryview") -> None:
        """Take a request that offers another protocol as one that does not: none is spoken here (RFC 9110, 7.8).

        Java's client offers HTTP/2 with every first request. llhttp takes what follows such a head for the other
        protocol and reads no body, so the head is parsed once more, without its offer.
        """
        fields = b"".join([b"%b: %b\r\n" % field for field in self.headers if field[0] != b"upgrade"])
        line = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        self._declines = False
        self._read_anew()
        self._parse(b"%b%b\r\n%b" % (line, fields, bytes(rest)))

    def eof_received(self) -> bool:  # type: ignore[override] # uvicorn closes at once
        """The client will send nothing more, but it may still read the answer to what it sent.

        Over TLS it cannot: close_notify ends both ways there, whatever is returned. Nobody would get the answer to
        what has not begun, so it does not begin.
        """
        if not self.transport.can_write_eof():
            self._refused = Problem("bad-request")
            return False
        if self._has_turn and self._at_once:
            self.take_turn()
        if self._in_message or self.cycle is None or self.cycle.response_complete:
            return False
        self._end_after_answer()
        return True

    def sweep(self, now: float) -> None:
        """End the connection where its time is up."""
        if self._expires == _IDLE:
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

    def outdated(self) -> None:
        """Authorities that are believed no more have judged this connection: nothing it carries from now on counts."""
        self._shown = None
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.keep_alive = False
        elif not self._in_message:
            self._close()

    def shutdown(self) -> None:
        """The process ends: so does this connection, once what has come is answered."""
        if self._held and self._has_turn:
            self.take_turn()
        super().shutdown()

    def fail(self) -> None:
        """End the connection after a defect of ours: a client that is not answered would wait for ever."""
        self._close()

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

    # -- one message after the other, called by the parser

    def on_message_begin(self) -> None:
        """A request begins; the scope of the ASGI application is made only where it is needed."""
        self.url = b""
        self.headers = []
        self._in_head = self._in_message = True
        self._timed = ""

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head came. One behind the body is nobody's: the gate has not seen it."""
        if self._in_head:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head is there: find out whose request it is."""
        if self._refused is not None:
            return
        fields = self.headers
        head = dict(reversed(fields))  # the first of repeated ones
        wall, method = self.wall, self.parser.get_method()
        offers = b"upgrade" in head and self.parser.should_upgrade() and method != b"CONNECT"
        self._declines = offers and heads.has_body(head)  # the parser would not read that
        if self._declines:
            return
        self._refused = self._wrong_head(head, fields)
        self._unparsed = 0
        if self._refused is not None:
            return
        self._in_head = False
        self.expect_100_continue = b"expect" in head and head[b"expect"].lower() == b"100-continue"
        decision = wall.gate.decide(method, self.url, fields, self._shown)
        found = predicting.route(self.url) if method == b"POST" and wall.predictions is not None else None
        if found is None:
            self._hand_on(decision)
        else:
            self._begin(found, head, decision)
        if wall.closing:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """A part of the body came."""
        self._grew = True
        if self._refused is not None:
            return
        exchange = self.cycle
        if not isinstance(exchange, Exchange):
            super().on_body(body)
            if len(exchange.body) > self.wall.limits.max_body:  # that the application has not read
                self._refused = bodies.too_large(self.wall.limits.max_body)
            return
        exchange.length = length = exchange.length + len(body)
        if exchange.problem is None:  # else nothing of it is kept
            exchange.parts.append(body)
        if length > self.wall.limits.max_body:
            self._refused = bodies.too_large(self.wall.limits.max_body)

    def on_message_complete(self) -> None:
        """The request is there as a whole."""
        if self._refused is not None or self._declines:
            return
        self._in_message = False
        self._ended = True
        self._expires = math.inf
        if isinstance(self.cycle, Exchange):
            self._queue(self.cycle)
            return
        super().on_message_complete()
        if self.cycle.response_complete:  # it was answered before it had ended
            self._expires = _IDLE

    # -- answers

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
        elif close:
            self._close()
        elif not (self._in_message or self._held or self.pipeline or self.flow.read_paused):
            self._expires = _IDLE  # and nothing waits behind this answer
            return
        self.on_response_complete()

    def on_response_complete(self) -> None:
        """Go on with what waits behind the answer that was just sent."""
        if self.transport.is_closing():
            self._expires = self.loop.time() + bodies.LINGER_SECONDS
            return
        if not self._in_message:
            self._expires = _IDLE
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
        """Take another turn, or read on, unless somebody has to be answered or has to read first."""
        if self.pipeline or self.flow.write_paused:
            return
        if not self._held:
            self.flow.resume_reading()
        else:
            self._await_turn()

    def _await_turn(self) -> None:
        """Have a turn soon; who asked for a document last waits for it in line with all others who did."""
        if self._has_turn:
            return
        self._has_turn = True
        if self._at_once:
            self.wall.turn.read(self)
        else:
            self.wall.line.join(self.take_turn, lambda: self not in self.connections)

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

    def _bytes(self, reply: Reply, *, close: bool) -> bytes:
        identity, body = reply.request_id.encode(), reply.body
        more = "".join([f"{name}: {value}\r\n" for name, value in reply.more]).encode() if reply.more else b""
        begins = self.wall.head(self.server_state, reply.status, reply.media_type)
        ends = b"connection: close\r\n" if close else b""
        parts = begins, identity, more, len(body), ends, body
        return b"%bx-request-id: %b\r\n%bcontent-length: %d\r\n%b\r\n%b" % parts

    # -- whose request it is

    def _wrong_head(self, head: heads.Head, fields: heads.Fields) -> Problem | None:
        if self._unparsed + self._piece > MAX_HEAD and heads.size(self.url, fields) > MAX_HEAD:
            return Problem("head-too-large")
        return heads.wrong(head, fields, self.parser.get_http_version, self.wall.limits.max_body)

    def _begin(self, found: predicting.Route, head: heads.Head, decision: Decision) -> None:
        """Take the request as one for predictions."""
        keep_alive = self.parser.should_keep_alive()
        if b"connection" in head:  # by which a client that speaks HTTP/1.0 may ask for what it cannot have here
            keep_alive = keep_alive and self.parser.get_http_version() != "1.0"
        before = self.cycle
        if before is not None and before.response_complete:
            before = None
        decided = decision if isinstance(decision, Verdict) else ANYBODY  # until it is
        now = time.monotonic()
        self._at_once = _AT_ONCE
        self.cycle = Exchange(
            *found, head, now, b"", decided.identity, self, before, keep_alive, decision, decided.refusal
        )
        if not self.expect_100_continue:
            return
        if self.cycle.problem is not None:
            self._refused = self.cycle.problem  # said at once, instead of asking for a body that is thrown away
        elif before is None:
            self._ask_for_body()

    def _ask_for_body(self) -> None:
        """Tell a client to go on that asked whether to; once, and when all before is answered."""
        self.expect_100_continue = False
        self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _hand_on(self, decision: Decision) -> None:
        """Give the request to uvicorn and the ASGI application, whose boundary does what was decided."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.scope.update({DECISION: decision})  # type: ignore[misc] # a key of ours
        self.url, self.expect_100_continue = url, expects
        self.headers += headers
        self._at_once = _AT_ONCE if is_probe(self.parser.get_method(), url) else 0
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:  # noqa: ANN401 - uvicorn's own signature
        """Have the application answer; what is neither a prediction nor a probe waits in line for it."""
        if isinstance(app, Problem):  # its body was refused while it waited
            self._say(app)
            return
        if isinstance(cycle, Exchange):
            self.wall.turn.answer(cycle)
            return
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

    # -- ends

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

    def _close(self) -> None:
        """Close once what was written is read, or after a while."""
        self._expires = self.loop.time() + bodies.LINGER_SECONDS
        self.transport.close()

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

    def _end_after_answer(self) -> None:
        """Answer what was asked, and take nothing after it."""
        self._refused = Problem("bad-request")
        if self.cycle is None or self.cycle.response_complete:
            self._close()
        else:
            self.cycle.keep_alive = False


def protocol(wall: Wall) -> type[Connection]:
    """Return the class that uvicorn makes one of for every connection of a port."""
    return type("Connection", (Connection,), {"_of_port": wall})

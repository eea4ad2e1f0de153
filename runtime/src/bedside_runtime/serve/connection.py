"""One connection: uvicorn's own protocol class, with limits on everything that a client can make long or large.

llhttp parses (through httptools), uvicorn keeps sockets, TLS and the ASGI application. What is ours:

- whether a request may go on is decided here, by the gate, as soon as its head has arrived, whoever answers it then;
- the two routes that answer patients are answered here, without an ASGI application in between;
- the head, the body and the silence between requests have a size and a time, and so has a client that does not read;
- what is refused before it is a request gets a problem document too, and the connection ends.

This is the half that takes: bytes, and the requests in them. The other half answers, and ends it: `answering`.
"""

import asyncio
import math
import time
from typing import TYPE_CHECKING, Any, Final

import httptools

from bedside_runtime.serve import bodies, heads, predicting
from bedside_runtime.serve.answering import IDLE, Answering
from bedside_runtime.serve.auth.gate import PROBES, is_probe
from bedside_runtime.serve.auth.verdict import ANYBODY, DECISION, Decision, Verdict
from bedside_runtime.serve.exchange import Exchange
from bedside_runtime.serve.heads import MAX_HEAD
from bedside_runtime.serve.problems import Problem
from bedside_runtime.serve.wall import Wall

if TYPE_CHECKING:
    from uvicorn.server import ServerState

_AT_ONCE: Final = 2 * 1024
"""Bytes that are parsed in one turn of the loop; of more, pieces that double until a request has ended in one. Who
sends many requests at once takes turns with everybody else; a large body is read on."""

_PIECE: Final = 512
"""As many, where the last request was one that waits in line."""

_URGENT: Final = (b"POST ", *(b"GET " + path for path in sorted(PROBES)))
"""How predictions and probes begin, and hardly anything else; only an order rests on it."""


class Connection(Answering):
    """See the module. One instance a connection; slots as in `Answering`."""

    __slots__ = ("_at_once", "_declines", "_ended", "_grew", "_piece", "_timed", "_unparsed")

    def __init__(
        self,
        config: Any,  # noqa: ANN401 - uvicorn's own signature
        server_state: "ServerState",
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._read_anew()
        self._declines = False  # another protocol, offered by the head that has just ended
        self._ended = False  # a message ended in the bytes that are being parsed
        self._timed = ""  # the part of the message that has a time to arrive in: head, body, or none yet
        self._piece = 0  # how many these are
        self._at_once = _AT_ONCE  # none, where the last request was one that waits in line
        self._unparsed = 0  # bytes of a head that has not ended, or that came since its body last grew
        self._grew = False  # whether a body grew by the bytes that are being parsed

    # -- bytes, in turns

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
                if not self._in_message and self._repeats(left):
                    left = b""
                    break
                self._parse(left[:size])
                left = left[size:]
                if self._ended:
                    break
                size *= 2
        except BaseException:
            self.fail()  # some of what it holds is parsed, and may not be parsed again
            raise
        if self._refused is not None or self.transport.is_closing():
            self._held = b""
            return
        self._held = left
        if left:
            self.flow.pause_reading()
        if self.flow.read_paused:
            self._go_on()

    def _repeats(self, data: "bytes | memoryview") -> bool:
        """Take ``data`` as one request with a head that came before, if it is one; the parser has nothing to add."""
        wall, before = self.wall, self.cycle
        if not isinstance(data, bytes):  # a piece of what came
            return False
        if before is not None and not before.keep_alive:  # the parser takes nothing behind it
            return False
        known = wall.repeats.find(data)
        if known is None or known.length > wall.limits.max_body:
            return False
        self._expires = math.inf
        decision = wall.gate.decide(b"POST", known.target, known.fields, self._shown)
        exchange = self._exchange(known.found, known.head, decision, keep_alive=True)
        exchange.parts.append(data[len(data) - known.length :])
        self._queue(exchange)
        return True

    def _remember(self, data: bytes, exchange: Exchange) -> None:
        """Remember the head of ``data``, which the parser took as one request."""
        if exchange.keep_alive:
            found = exchange.route, exchange.named
            self.wall.repeats.remember(data, exchange.body, found, self.url, self.headers, exchange.head)

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

    def shutdown(self) -> None:
        """The process ends: so does this connection, once what has come is answered."""
        if self._held and self._has_turn:
            self.take_turn()
        super().shutdown()

    # -- to the parser

    def _parse(self, data: "bytes | memoryview") -> None:
        begins = not self._in_message
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
        elif self._ended and begins and isinstance(data, bytes) and isinstance(self.cycle, Exchange):
            self._remember(data, self.cycle)

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

    # -- one message after the other, called by the parser

    def on_message_begin(self) -> None:
        """A request begins; the scope of the ASGI application is made only where it is needed."""
        self.url = b""
        self.headers = []
        self._in_head = self._in_message = True
        self._timed = ""
        self._unparsed = 0

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
            self._expires = IDLE

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
        exchange = self._exchange(found, head, decision, keep_alive=keep_alive)
        if not self.expect_100_continue:
            return
        if exchange.problem is not None:
            self._refused = exchange.problem  # said at once, instead of asking for a body that is thrown away
        elif exchange.before is None:
            self._ask_for_body()

    def _exchange(self, found: predicting.Route, head: heads.Head, decision: Decision, *, keep_alive: bool) -> Exchange:
        before = self.cycle
        if before is not None and before.response_complete:
            before = None
        decided = decision if isinstance(decision, Verdict) else ANYBODY  # until it is
        now = time.monotonic()
        self._at_once = _AT_ONCE
        self.cycle = exchange = Exchange(
            *found, head, now, b"", decided.identity, self, before, keep_alive, decision, decided.refusal
        )
        return exchange

    def _hand_on(self, decision: Decision) -> None:
        """Give the request to uvicorn and the ASGI application, whose boundary does what was decided."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.scope.update({DECISION: decision})  # type: ignore[misc] # a key of ours
        self.url, self.expect_100_continue = url, expects
        self.headers += headers
        self._at_once = _AT_ONCE if is_probe(self.parser.get_method(), url) else 0
        super().on_headers_complete()


def protocol(wall: Wall) -> type[Connection]:
    """Return the class that uvicorn makes one of for every connection of a port."""
    return type("Connection", (Connection,), {"_of_port": wall})

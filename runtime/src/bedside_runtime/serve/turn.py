"""What arrives in one turn of the loop is read together, and answered together.

Between two calls of the kernel the interpreter finds its own code cold, so first everything is received, then
everything is parsed, then the model is asked once for all usual requests, and the audit log waits for one sync; where
there are many, once for each part of them. Nobody waits for company: a lone request is answered in the turn in which it
came, and of several who come at the same time the first wait only while every look at the sockets brings more of them.
"""

import asyncio
import contextvars
import math
import time
from collections import deque
from collections.abc import Awaitable, Sequence
from typing import Final, Protocol

from bedside_runtime.inputs import ValidRow
from bedside_runtime.serve import eager
from bedside_runtime.serve.exchange import Exchange
from bedside_runtime.serve.metrics import Metrics
from bedside_runtime.serve.predicting import Loaded, Predictions, Reply

_LOOKS: Final = 32
"""At most so often the sockets are looked at before a turn is taken, whoever still comes: some hundred microseconds."""

_LONGEST: Final = 0.002
"""Seconds after which no look begins any more: in one much may have to be received, or answers to others written."""

_PART: Final = 48
"""About as many requests are answered at once: while their records go to the disk, the next ones are answered."""


class Reader(Protocol):
    """Holds bytes that came: a connection, seen from here."""

    def take_turn(self) -> None:
        """Parse what is held."""
        ...


class Turn:
    """One port's connections that hold bytes, and the exchanges that were parsed from them.

    A step that fails is reported by the loop and takes nobody with it: the others go on in the next turn.
    """

    def __init__(self, predictions: Predictions | None, metrics: Metrics) -> None:
        self._predictions, self._metrics = predictions, metrics
        self._reading: deque[Reader] = deque()
        self._asked: list[Exchange] = []
        self._alone: deque[Exchange] = deque()
        self._comes = False
        self._looks = self._seen = 0
        self._until = 0.0

    def read(self, reader: Reader) -> None:
        """Let ``reader`` parse what it holds."""
        self._reading.append(reader)
        if not self._comes:
            self._soon()

    def answer(self, exchange: Exchange) -> None:
        """Answer ``exchange``, which is whole."""
        self._asked.append(exchange)
        if not self._comes:
            self._soon()

    def _soon(self) -> None:
        self._comes = True
        self._looks = self._seen = 0
        self._until = time.monotonic() + _LONGEST
        asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        """Let the loop look at the sockets once more, unless only one came, or its last look brought nobody."""
        came = len(self._reading)
        if came == self._seen or came == 1 or self._looks == _LOOKS or time.monotonic() > self._until:
            self._take()
            return
        self._seen = came
        self._looks += 1
        asyncio.get_running_loop().call_soon(self._look)

    def _take(self) -> None:
        reading, alone = self._reading, self._alone
        try:
            while reading:
                reading.popleft().take_turn()
            if self._asked:
                self._answer()
            while alone:
                self._answer_alone(alone.popleft())
        finally:
            self._comes = False
            if reading or alone or self._asked:
                self._soon()

    def _answer(self) -> None:
        asked, self._asked = self._asked, []
        predictions = self._predictions
        loaded = None if predictions is None else predictions.together()
        if predictions is None or loaded is None:
            self._alone += asked
            return
        free = loaded.service.free
        usual: list[Exchange] = []
        rows = []
        for exchange in asked:
            row = predictions.usual(loaded, exchange) if len(usual) < free and exchange.may_go_on else None
            if row is None:
                self._alone.append(exchange)
            else:
                usual.append(exchange)
                rows.append(row)
        if usual:
            self._answer_usual(predictions, loaded, usual, rows)

    def _answer_usual(
        self, predictions: Predictions, loaded: Loaded, usual: Sequence[Exchange], rows: Sequence[ValidRow]
    ) -> None:
        """Ask for one part after the other; while the records of one go to the disk, the next one is asked for."""
        begun, left = 0, list[Exchange]()
        try:
            for part in _parts(len(usual)):
                if begun:
                    loaded.service.recorder.begin()
                begun, together = part.stop, usual[part]
                again, replies = predictions.answer_together(loaded, together, rows[part])
                left += again
                if replies is not None:
                    connection = together[0].connection
                    eager.start(connection.loop, _say_once_there(together, again, replies), connection.tasks)
        finally:
            self._alone.extendleft(reversed(left))  # first: they were counted among those that may be in flight
            self._asked[:0] = usual[begun:]

    def _answer_alone(self, exchange: Exchange) -> None:
        connection, predictions = exchange.connection, self._predictions
        answering = exchange.run_asgi(connection.app)
        if predictions is None or predictions.tracing is None:
            eager.start(connection.loop, answering, connection.tasks)
        else:  # in a context of its own: the current trace is that of no other request
            contextvars.copy_context().run(eager.start, connection.loop, answering, connection.tasks)


def _parts(count: int) -> Sequence[slice]:
    """Cut ``count`` requests, at least one, into parts of about one size."""
    parts = round(count / _PART)
    if parts < 2:
        return (slice(0, count),)
    size = math.ceil(count / parts)
    return [slice(start, start + size) for start in range(0, count, size)]


async def _say_once_there(
    asked: Sequence[Exchange], left: Sequence[Exchange], replies: Awaitable[Sequence[tuple[Exchange, Reply]]]
) -> None:
    try:
        answered = deque(await replies)
    except BaseException:
        for exchange in asked:
            if exchange not in left:
                exchange.connection.fail()
        raise
    say(answered)


def say(replies: deque[tuple[Exchange, Reply]]) -> None:
    """Send each its reply."""
    now = time.monotonic()
    try:
        while replies:
            exchange, reply = replies.popleft()
            exchange.say(reply, now)
    finally:
        if replies:
            asyncio.get_running_loop().call_soon(say, replies)

"""What arrives in one turn of the loop is read together, and answered together.

Between two calls of the kernel the interpreter finds its own code cold, so first everything is received, then
everything is parsed, then the model is asked once for all usual requests, and the audit log waits for one sync. Nobody
waits for company: a lone request is answered in the turn in which it came.
"""

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import Awaitable, Sequence
from typing import Protocol

from bedside_runtime.serve import eager
from bedside_runtime.serve.exchange import Exchange
from bedside_runtime.serve.metrics import Metrics
from bedside_runtime.serve.predicting import Predictions, Reply


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
        asyncio.get_running_loop().call_soon(self._take)

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
        if not usual:
            return
        left, replies = predictions.answer_together(loaded, usual, rows)
        self._alone.extendleft(reversed(left))  # first: they were counted among those that may be in flight
        if replies is not None:
            connection = usual[0].connection
            eager.start(connection.loop, _say_once_there(usual, left, replies), connection.tasks)

    def _answer_alone(self, exchange: Exchange) -> None:
        connection, predictions = exchange.connection, self._predictions
        answering = exchange.run_asgi(connection.app)
        if predictions is None or predictions.tracing is None:
            eager.start(connection.loop, answering, connection.tasks)
        else:  # in a context of its own: the current trace is that of no other request
            contextvars.copy_context().run(eager.start, connection.loop, answering, connection.tasks)


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

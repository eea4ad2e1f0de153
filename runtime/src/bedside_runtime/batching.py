"""Batching: rows that wait at the same time are answered with one call of the model, on a thread of its own.

Nothing waits for company unless it is told to: a lone request starts on the next tick of the loop. While the model
computes, the next batch gathers. What goes wrong with one request stays with that request.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeAlias, TypeVar

from msgspec import Struct

from bedside_runtime.adapters.predictor import Predictor, Quick
from bedside_runtime.contract import Row, Scalar
from bedside_runtime.errors import DeadlineExceeded, OutputInvalid

_Result = TypeVar("_Result")
_AtOnce: TypeAlias = Callable[[Sequence[Row]], Sequence[Scalar | None]]


class Answered(Struct, frozen=True):
    """What the model answered one request.

    Attributes:
        values: One raw value a row.
        batch: How many rows the model was asked at once, those of other requests included.
        seconds: How long that call took.
    """

    values: Sequence[Scalar]
    batch: int
    seconds: float


class Asking(Protocol):
    """How the model is asked: at once in the loop, or in batches on a thread."""

    @property
    def waiting(self) -> int:
        """Rows that wait for the model."""
        ...

    @property
    def abandoned(self) -> int:
        """Requests that nobody waits for any more, and which the model may still be busy with."""
        ...

    def predict(self, rows: Sequence[Row], deadline: float) -> Answered | Awaitable[Answered]:
        """Answer the rows of one request, now or later.

        Args:
            rows: At least one.
            deadline: When the answer is worth nothing any more, on the monotonic clock, seconds.

        Raises:
            DeadlineExceeded: It passed. Work that had not begun is never begun.
            OutputInvalid: The model answered another number of values than rows.
        """
        ...

    @property
    def answers_at_once(self) -> bool:
        """Whether `at_once` answers anything."""
        ...

    def at_once(self, rows: Sequence[Row]) -> Sequence[Scalar | None]:
        """Answer rows of several requests in the loop itself, ``None`` where that cannot be; raises nothing."""
        ...

    async def run(self, work: Callable[[], _Result]) -> _Result:
        """Do ``work`` where the model is asked, so that it proves that place alive."""
        ...

    def close(self) -> None:
        """Let the running call end, and begin no other."""
        ...


class Inline:
    """Asks in the loop itself: for engines that take microseconds a row and cannot block.

    Where such an engine has to ask the model itself, that is done on a thread: it takes its time, and a request may
    hold a thousand rows at the edge of a band.
    """

    def __init__(
        self,
        predictor: Predictor,
        beside: "Batching | None" = None,
        on_batch: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Made anywhere, used on one event loop.

        Args:
            predictor: The model.
            beside: Asks it on a thread; ``None`` for one that never takes its time.
            on_batch: Told the rows of every call in the loop itself.
        """
        self._predictor = predictor
        self._beside = beside
        self._on_batch = on_batch
        self._told: _AtOnce = predictor.predict
        if beside is not None and isinstance(predictor, Quick):
            self._told = predictor.at_once

    @property
    def waiting(self) -> int:
        """See ``Asking``."""
        return self._beside.waiting if self._beside is not None else 0

    @property
    def abandoned(self) -> int:
        """See ``Asking``."""
        return self._beside.abandoned if self._beside is not None else 0

    def predict(self, rows: Sequence[Row], deadline: float) -> Answered | Awaitable[Answered]:
        """See ``Asking``."""
        started = time.monotonic()
        if started > deadline:
            raise DeadlineExceeded("the deadline passed before the model was asked")
        values = self._told(rows)
        if None not in values:
            self._on_batch(len(rows))
            return _answered(values, rows, time.monotonic() - started)  # type: ignore[arg-type] # none of them is None
        if self._beside is None:
            raise AssertionError("only an engine with a thread beside it leaves rows to the model")
        return self._beside.predict(rows, deadline)

    @property
    def answers_at_once(self) -> bool:
        """See ``Asking``."""
        return True

    def at_once(self, rows: Sequence[Row]) -> Sequence[Scalar | None]:
        """See ``Asking``."""
        try:
            values = self._told(rows)
        except Exception:  # noqa: BLE001 - a model may raise anything; each request by itself will show whose it is
            values = ()
        if len(values) != len(rows):
            return [None] * len(rows)
        self._on_batch(len(rows))
        return values

    async def run(self, work: Callable[[], _Result]) -> _Result:
        """See ``Asking``."""
        return work()

    def close(self) -> None:
        """See ``Asking``."""
        if self._beside is not None:
            self._beside.close()


class _Request:
    """The rows of one request on their way through the queue."""

    __slots__ = ("abandoned", "answer", "rows", "settled")

    def __init__(self, rows: Sequence[Row], answer: "asyncio.Future[Answered]") -> None:
        self.rows, self.answer = rows, answer
        self.settled = False  # the model is done with it, or will never see it
        self.abandoned = False  # nobody waits for it, and it is not settled


class Batching:
    """Asks on a thread of its own, together for all that wait."""

    def __init__(
        self,
        predictor: Predictor,
        max_batch: int = 64,
        wait_seconds: float = 0.0,
        on_batch: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Made anywhere, used on one event loop.

        Args:
            predictor: The model.
            max_batch: Most rows of one call; a request with more of its own is a call of its own.
            wait_seconds: How long the first of a batch may wait for others while the model is idle.
            on_batch: Told the rows of every call.
        """
        self.waiting = 0
        self.abandoned = 0
        self._predictor = predictor
        self._max_batch = max_batch
        self._wait_seconds = wait_seconds
        self._on_batch = on_batch
        self._queue: deque[_Request] = deque()
        self._busy = False
        self._flush: asyncio.Handle | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="predict")

    async def predict(self, rows: Sequence[Row], deadline: float) -> Answered:
        """See ``Asking``."""
        loop = asyncio.get_running_loop()
        if time.monotonic() > deadline:
            raise DeadlineExceeded("the deadline passed before the model was asked")
        request = _Request(rows, loop.create_future())
        self._queue.append(request)
        self.waiting += len(rows)
        self._schedule(loop)
        timer = loop.call_at(deadline, _expire, request.answer)
        try:
            return await request.answer
        except (DeadlineExceeded, asyncio.CancelledError):
            if not request.settled:
                request.abandoned = True
                self.abandoned += 1
            raise
        finally:
            timer.cancel()

    @property
    def answers_at_once(self) -> bool:
        """See ``Asking``."""
        return False

    def at_once(self, rows: Sequence[Row]) -> Sequence[Scalar | None]:
        """See ``Asking``."""
        return [None] * len(rows)

    async def run(self, work: Callable[[], _Result]) -> _Result:
        """See ``Asking``."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def close(self) -> None:
        """See ``Asking``."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._busy:
            return
        if self._flush is None:
            wait = self._wait_seconds
            self._flush = loop.call_later(wait, self._start, loop) if wait else loop.call_soon(self._start, loop)
        elif self.waiting >= self._max_batch and self._wait_seconds:
            self._flush.cancel()
            self._flush = loop.call_soon(self._start, loop)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hand what waits to the model, as much as one call takes."""
        self._flush = None
        batch = self._take()
        if not batch:
            return
        self._busy = True
        self._on_batch(sum(len(request.rows) for request in batch))
        work = loop.run_in_executor(self._thread, _answers, self._predictor, [request.rows for request in batch])
        work.add_done_callback(lambda done: self._deliver(loop, batch, done))

    def _take(self) -> list[_Request]:
        batch: list[_Request] = []
        size = 0
        while self._queue:
            request = self._queue[0]
            if request.answer.done():  # expired, or its caller went away, before the model began
                self._settle(request)
            elif batch and size + len(request.rows) > self._max_batch:
                break
            else:
                batch.append(request)
                size += len(request.rows)
            self.waiting -= len(self._queue.popleft().rows)
        return batch

    def _deliver(
        self,
        loop: asyncio.AbstractEventLoop,
        batch: Sequence[_Request],
        done: "asyncio.Future[list[Answered | Exception]]",
    ) -> None:
        self._busy = False
        if done.cancelled():
            return
        for request, answer in zip(batch, done.result(), strict=True):
            self._settle(request)
            if request.answer.done():
                continue
            if isinstance(answer, Answered):
                request.answer.set_result(answer)
            else:
                request.answer.set_exception(answer)
        if self._queue:
            self._start(loop)

    def _settle(self, request: _Request) -> None:
        request.settled = True
        self.abandoned -= request.abandoned


def _expire(answer: "asyncio.Future[Answered]") -> None:
    if not answer.done():
        answer.set_exception(DeadlineExceeded("the deadline passed before the model had answered"))


def _answers(predictor: Predictor, requests: Sequence[Sequence[Row]]) -> list[Answered | Exception]:
    """Ask for all requests at once; where that fails, for each by itself, so that a failure is its own."""
    rows = [row for request in requests for row in request]
    together = _attempt(predictor, rows)
    if isinstance(together, Exception):
        return [together] if len(requests) == 1 else [_attempt(predictor, request) for request in requests]
    answers: list[Answered | Exception] = []
    start = 0
    for request in requests:
        end = start + len(request)
        answers.append(Answered(together.values[start:end], together.batch, together.seconds))
        start = end
    return answers


def _attempt(predictor: Predictor, rows: Sequence[Row]) -> Answered | Exception:
    try:
        return _asked(predictor, rows)
    except Exception as error:  # noqa: BLE001 - a model may raise anything; it is handed to its own request
        return error


def _asked(predictor: Predictor, rows: Sequence[Row]) -> Answered:
    started = time.monotonic()
    values = predictor.predict(rows)
    return _answered(values, rows, time.monotonic() - started)


def _answered(values: Sequence[Scalar], rows: Sequence[Row], seconds: float) -> Answered:
    if len(values) != len(rows):
        raise OutputInvalid(f"the model answered {len(values)} values for {len(rows)} rows")
    return Answered(values, len(rows), seconds)

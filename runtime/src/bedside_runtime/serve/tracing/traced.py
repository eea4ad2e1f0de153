"""Asking the model and recording, each noted in the trace of its request: wrappers, there only if asked for."""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from bedside_runtime.batching import Answered, Asking
from bedside_runtime.contract import Row, Scalar
from bedside_runtime.errors import DeadlineExceeded
from bedside_runtime.serve.tracing.current import CURRENT
from bedside_runtime.service import Entry, Recorder, Refused

_Result = TypeVar("_Result")


class TracedAsking:
    """Notes how long a request waited for the model, and how long the call took that answered it."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    @property
    def waiting(self) -> int:
        """See ``Asking``."""
        return self._asking.waiting

    @property
    def abandoned(self) -> int:
        """See ``Asking``."""
        return self._asking.abandoned

    async def predict(self, rows: Sequence[Row], deadline: float) -> Answered:
        """See ``Asking``."""
        trace = CURRENT.get()
        if trace is None:
            return await self._answered(rows, deadline)
        since = time.time_ns()
        try:
            answered = await self._answered(rows, deadline)
        except DeadlineExceeded:
            trace.lap("wait", since, time.time_ns())
            raise
        until = time.time_ns()
        called = max(since, until - round(answered.seconds * 1e9))
        trace.lap("wait", since, called)
        trace.lap("model", called, until, answered.batch)
        return answered

    async def _answered(self, rows: Sequence[Row], deadline: float) -> Answered:
        answered = self._asking.predict(rows, deadline)
        return answered if isinstance(answered, Answered) else await answered

    @property
    def answers_at_once(self) -> bool:
        """See ``Asking``."""
        return False  # each request has a trace of its own

    def at_once(self, rows: Sequence[Row]) -> Sequence[Scalar | None]:
        """See ``Asking``."""
        return [None] * len(rows)

    async def run(self, work: Callable[[], _Result]) -> _Result:
        """See ``Asking``."""
        return await self._asking.run(work)

    def close(self) -> None:
        """See ``Asking``."""
        self._asking.close()


class TracedRecorder:
    """Notes how long it took until a record was durable."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    @property
    def healthy(self) -> bool:
        """See ``Recorder``."""
        return self._recorder.healthy

    @property
    def detail(self) -> str:
        """See ``Recorder``."""
        return self._recorder.detail

    def begin(self) -> None:
        """See ``Recorder``."""
        self._recorder.begin()

    async def record(self, entries: Sequence[Entry]) -> None:
        """See ``Recorder``."""
        since = time.time_ns()
        if (recorded := self._recorder.record(entries)) is not None:
            await recorded
        self._note(since)

    async def refused(self, refused: Refused) -> None:
        """See ``Recorder``."""
        since = time.time_ns()
        await self._recorder.refused(refused)
        self._note(since)

    def _note(self, since: int) -> None:
        trace = CURRENT.get()
        if trace is not None:
            trace.lap("audit", since, time.time_ns())

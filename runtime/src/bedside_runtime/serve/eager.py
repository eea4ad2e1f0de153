"""Starts a coroutine at once, and goes on with it from the callbacks of what it waits for.

Most answers are ready without waiting for anything, the others wait for one future; a task for each would cost more
than the prediction does.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any


def start(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, None], waiting: "set[Any]") -> None:
    """Run ``coroutine`` until it first waits; until it has ended it is one of ``waiting`` then, as a task would be.

    It is no task: ``asyncio.current_task`` and what rests on it, as ``asyncio.timeout``, are not to be used in it.
    """
    try:
        waits_for = coroutine.send(None)
    except StopIteration:
        return
    Waiting(loop, coroutine, waiting).on(waits_for)


class Waiting:
    """A coroutine that waits for a future. Can be cancelled like a task."""

    __slots__ = ("_coroutine", "_loop", "_others", "_waits_for")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, None], others: "set[Waiting]"
    ) -> None:
        self._loop, self._coroutine, self._others = loop, coroutine, others
        others.add(self)

    def on(self, future: "asyncio.Future[Any] | None") -> None:
        """Go on when ``future`` is done; in the next turn of the loop where there is none."""
        self._waits_for = future
        if future is None:
            self._loop.call_soon(self._go_on, None)
            return
        future._asyncio_future_blocking = False
        future.add_done_callback(self._go_on)

    def cancel(self, msg: object = None) -> bool:
        """Cancel what is waited for, which the coroutine then sees."""
        return self._waits_for is not None and self._waits_for.cancel(msg)

    def _go_on(self, _done: "asyncio.Future[Any] | None") -> None:
        try:
            waits_for = self._coroutine.send(None)
        except StopIteration:
            self._others.discard(self)
        except BaseException:
            self._others.discard(self)
            raise
        else:
            self.on(waits_for)

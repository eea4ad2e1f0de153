"""A line for what can wait: every other turn of the event loop takes one step out of it.

However many ask for documents at once, after each of them everybody else has a turn: what arrived meanwhile is read,
and answered, before the next.
"""

import asyncio
from collections import deque
from collections.abc import Callable


class Line:
    """Steps that wait, in the order in which they came."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._moves = False

    def join(self, step: Callable[[], None]) -> None:
        """Call ``step`` when all that wait already have been called."""
        self._waiting.append(step)
        if not self._moves:
            self._moves = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        asyncio.get_running_loop().call_soon(self._pass)
        self._waiting.popleft()()

    def _pass(self) -> None:
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._next)
        else:
            self._moves = False

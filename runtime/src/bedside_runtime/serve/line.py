"""A line for what can wait: one step is taken out of it, then the event loop is left to everybody else for a while.

However many ask for documents at once, predictions find the loop idle most of the time. A turn of the loop between two
steps would not do: a thread, as the model's, gets the interpreter from a loop that never waits only every 5 ms
(``sys.getswitchinterval``).
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

REST_SECONDS: Final = 0.002
"""From one step to the next. The loop's timers count whole milliseconds: of one, nothing might be left."""


class Line:
    """Steps that wait, in the order in which they came.

    Attributes:
        moves: Whether one was taken a moment ago, or is to be.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[Callable[[], None], Callable[[], bool]]] = deque()
        self.moves = False

    def join(self, step: Callable[[], None], is_for_nobody: Callable[[], bool] = lambda: False) -> None:
        """Call ``step`` when all that wait already have been called; never at once.

        One that is for nobody when its turn comes is left out, and takes no time: who connects, asks and goes away,
        again and again, makes nobody wait.
        """
        self._waiting.append((step, is_for_nobody))
        if not self.moves:
            self.moves = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        while self._waiting:
            step, is_for_nobody = self._waiting.popleft()
            if not is_for_nobody():
                asyncio.get_running_loop().call_later(REST_SECONDS, self._next)
                step()
                return
        self.moves = False

"""Starts a coroutine at once, and makes a task of it only where it has to wait.

Most answers are ready without waiting for anything; a task for each would cost more than the prediction does. (From
Python 3.12 on, asyncio has eager tasks of its own.)
"""

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any


def start(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, None], tasks: "set[asyncio.Task[None]]"
) -> None:
    """Run ``coroutine`` until it first waits; what is left of it becomes one of ``tasks`` until it has ended.

    Until it first waits it is no task: ``asyncio.current_task`` and what rests on it, as ``asyncio.timeout``,
    are not to be used there.
    """
    try:
        waits_for = coroutine.send(None)
    except StopIteration:
        return
    task = loop.create_task(_rest(coroutine, waits_for))
    tasks.add(task)
    task.add_done_callback(tasks.discard)


async def _rest(coroutine: Coroutine[Any, Any, None], waits_for: object) -> None:
    await _steps(coroutine, waits_for)


@types.coroutine
def _steps(coroutine: Coroutine[Any, Any, None], waits_for: object) -> Generator[object, Any, None]:
    """Wait for what ``coroutine`` waits for already, and go on with it; a cancellation reaches it there."""
    try:
        while True:
            try:
                sent = yield waits_for
            except BaseException as thrown:  # noqa: BLE001 - a task throws a cancellation in; it is handed on as it is
                waits_for = coroutine.throw(thrown)
            else:
                waits_for = coroutine.send(sent)
    except StopIteration:
        return

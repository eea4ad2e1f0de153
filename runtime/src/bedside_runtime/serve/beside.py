"""Work beside the event loop, on a daemon thread: what hangs there holds up neither an answer nor the end."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


async def beside(work: Callable[[], T], seconds: float | None = None, *, name: str = "beside") -> T:
    """Return what ``work`` returns, done on a thread of that ``name``; wait no longer than ``seconds``, where given.

    Raises:
        TimeoutError: It takes longer; it goes on, and nobody sees its end.
        Exception: Whatever it raises.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T, failed: BaseException | None) -> None:
        if done.done():
            return
        if failed is None:
            done.set_result(result)
        else:
            done.set_exception(failed)

    def run() -> None:
        result: Any = None
        failed: BaseException | None = None
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - handed over to the loop as it is
            failed = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process is ending
            loop.call_soon_threadsafe(settle, result, failed)

    threading.Thread(target=run, name=name, daemon=True).start()
    async with asyncio.timeout(seconds):
        return await done

"""Callers with keep-alive that note what becomes of every request."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from served import PATIENT

BROKEN = 0
"""The status of a request that was never answered."""


def question(**changes: Any) -> bytes:
    """Return a whole request about the test model's patient."""
    body = json.dumps({"inputs": PATIENT | changes}).encode()
    return request("POST", "/predict", body)


def request(method: str, path: str, body: bytes = b"") -> bytes:
    head = (
        f"{method} {path} HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request."""

    status: int
    seconds: float
    headers: dict[str, str]
    body: bytes

    @property
    def refused_well(self) -> bool:
        """503 or 429 that says when to come back, with a problem document that names the request."""
        if self.status not in (429, 503) or self.headers.get("content-type") != "application/problem+json":
            return False
        said = json.loads(self.body)
        return (
            int(self.headers["retry-after"]) > 0
            and said["status"] == self.status
            and said["request_id"] == self.headers["x-request-id"]
        )


class Caller:
    """One connection that is kept alive, and made again when the server ends it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, data: bytes) -> Outcome:
        began = time.perf_counter()
        try:
            status, headers, body = await self._answer(data)
        except (OSError, EOFError, ValueError):
            self.hang_up()
            status, headers, body = BROKEN, {}, b""
        if headers.get("connection") == "close":
            self.hang_up()
        return Outcome(status, time.perf_counter() - began, headers, body)

    async def _answer(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writer.write(data)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        return int(head[0].split()[1]), headers, await self._reader.readexactly(int(headers["content-length"]))

    def hang_up(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


@contextlib.asynccontextmanager
async def in_turn(
    port: int, callers: int, data: bytes, pause: float = 0.0, *, anew: bool = False
) -> AsyncIterator[list[Outcome]]:
    """Ask with so many callers while the block runs, each again ``pause`` seconds after it is answered.

    With ``anew`` each request goes over a connection of its own.
    """
    outcomes: list[Outcome] = []
    going_on = True

    async def calls(caller: Caller) -> None:
        while going_on:
            outcomes.append(await caller.ask(data))
            if anew:
                caller.hang_up()
            await asyncio.sleep(pause)
        caller.hang_up()

    asking = [asyncio.create_task(calls(Caller(port))) for _ in range(callers)]
    try:
        yield outcomes
    finally:
        going_on = False
        await asyncio.gather(*asking)


async def at_rate(port: int, per_second: float, seconds: float, data: bytes, most: int = 400) -> list[Outcome]:
    """Ask at a rate that does not care about answers, over at most so many connections.

    What finds no connection free is not asked.
    """
    outcomes: list[Outcome] = []
    idle = [Caller(port) for _ in range(most)]
    asking: set[asyncio.Task[None]] = set()

    async def call(caller: Caller) -> None:
        outcomes.append(await caller.ask(data))
        idle.append(caller)

    began, asked = time.perf_counter(), 0
    while (now := time.perf_counter() - began) < seconds:
        while asked < now * per_second:
            asked += 1
            if idle:
                task = asyncio.create_task(call(idle.pop()))
                asking.add(task)
                task.add_done_callback(asking.discard)
        await asyncio.sleep(0.001)
    await asyncio.gather(*asking)
    for caller in idle:
        caller.hang_up()
    return outcomes

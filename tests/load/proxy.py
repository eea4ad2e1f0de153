"""A cluster's way to a pod, small: new connections go to those endpoints that were ready a while ago.

As with a Service, a connection stays where it went, nothing is tried twice, and whoever changes the endpoints is late.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Callable

from tests.load.asking import Caller, request

_PROBE = request("GET", "/readyz")
_PERIOD = 0.1
"""Seconds between two probes of an endpoint."""


class Proxy:
    """Passes bytes on, in both directions."""

    def __init__(self, lag: Callable[[], float]) -> None:
        """``lag`` says how many seconds late the next change of an endpoint is known."""
        self._lag = lag
        self._endpoints: list[int] = []
        self._turn = itertools.count()
        self._server: asyncio.Server | None = None
        self._work: set[asyncio.Task[None]] = set()
        self.unreachable = 0

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def endpoints(self) -> tuple[int, ...]:
        """Where new connections go."""
        return tuple(self._endpoints)

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(lambda *both: self._begin(self._connected(*both)), "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)

    def watch(self, port: int) -> None:
        """Probe the endpoint from now on until it is gone."""
        self._begin(self._probe(port))

    async def _probe(self, port: int) -> None:
        known = False
        while True:
            outcome = await self._ready(port)
            ready = outcome == 200
            if ready != known:
                known = ready
                self._begin(self._later(port, ready=ready))
            if outcome == 0 and port not in self._endpoints:
                return
            await asyncio.sleep(_PERIOD)

    @staticmethod
    async def _ready(port: int) -> int:
        caller = Caller(port)
        try:
            return (await caller.ask(_PROBE)).status
        finally:
            caller.hang_up()

    async def _later(self, port: int, *, ready: bool) -> None:
        await asyncio.sleep(self._lag())
        if ready:
            self._endpoints.append(port)
        elif port in self._endpoints:
            self._endpoints.remove(port)

    def _begin(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.ensure_future(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        endpoints = self.endpoints
        try:
            port = endpoints[next(self._turn) % len(endpoints)]
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        except (OSError, ZeroDivisionError):
            self.unreachable += 1
            writer.close()
            return
        with contextlib.closing(writer), contextlib.closing(inner_writer):
            await asyncio.gather(_pass_on(reader, inner_writer), _pass_on(inner_reader, writer))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()

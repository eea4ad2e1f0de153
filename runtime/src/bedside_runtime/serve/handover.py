"""A worker's entrance: the process that listens hands connections over, and is told how the worker is.

Two socket pairs join the two processes. Over the first comes one byte and one file descriptor for each connection; its
end says that no more will come. Over the second goes a report, as a line of JSON, whenever something changed; every
`EVERY_SECONDS`, and whenever a byte asks for it, the metrics go with it.
"""

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from typing import Final

import msgspec

from bedside_runtime.serve.entrance import Inside, Server
from bedside_runtime.serve.logs import EventLog
from bedside_runtime.serve.probes import Report

EVERY_SECONDS: Final = 1.0
"""Longest silence of a worker that is well, and what of its counts may be lost with it."""

_LOOK_SECONDS: Final = 0.05
"""How often a worker looks whether there is something to report."""

_GRACE_SECONDS: Final = 2.0
"""How much longer than the lag a draining worker waits to be told that nobody comes any more."""

_AT_ONCE: Final = 64
"""Connections that are taken before others have their turn on the event loop."""


class Told(msgspec.Struct, frozen=True):
    """What a worker reports. ``exposition`` is Prometheus' text format, or empty between two times."""

    report: Report
    exposition: str = ""


class Handed:
    """Connections that another process accepted."""

    def __init__(self, connections: int, reports: int) -> None:
        """Take the two descriptors that this process was started with."""
        self._connections = socket.socket(fileno=connections)
        self._inside: Inside | None = None
        self._reports = socket.socket(fileno=reports)
        self._connections.setblocking(False)
        self._no_more = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def sockets(self) -> tuple[Sequence[socket.socket], Sequence[socket.socket]]:
        """Nothing is listened on here."""
        return (), ()

    def opened(self, server: Server, inside: Inside, _log: EventLog) -> None:
        """Take connections, and report."""
        self._inside = inside
        loop = asyncio.get_running_loop()
        loop.add_reader(self._connections.fileno(), self._take, server)
        self._start(self._report(inside))

    async def lag(self, seconds: float) -> None:
        """Wait until the process that listens says that it has stopped, or is gone."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._no_more.wait(), seconds + _GRACE_SECONDS)

    def close(self) -> None:
        """Do nothing: the process that listens has seen to it."""

    def _take(self, server: Server) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, descriptors, _, _ = socket.recv_fds(self._connections, 1, 1)
            except BlockingIOError:
                return
            except OSError:
                data, descriptors = b"", []
            if not data:
                self._ended()
                return
            for descriptor in descriptors:
                connection = socket.socket(fileno=descriptor)
                connection.setblocking(False)
                self._start(server.adopt(connection))

    def _ended(self) -> None:
        asyncio.get_running_loop().remove_reader(self._connections.fileno())
        self._connections.close()
        self._no_more.set()
        if self._inside is not None:
            self._inside.stop()  # whoever listened may be gone

    async def _report(self, inside: Inside) -> None:
        reader, writer = await asyncio.open_connection(sock=self._reports)
        asked = asyncio.Event()
        self._start(_listen(reader, asked))
        loop = asyncio.get_running_loop()
        last, due = None, 0.0
        while not writer.is_closing():
            report, full = inside.report(), asked.is_set() or loop.time() >= due
            if full or report != last:
                asked.clear()
                exposition = inside.exposition().decode() if full else ""
                writer.write(msgspec.json.encode(Told(report, exposition)) + b"\n")
                last, due = report, loop.time() + EVERY_SECONDS if full else due
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asked.wait(), _LOOK_SECONDS)

    def _start(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _listen(reader: asyncio.StreamReader, asked: asyncio.Event) -> None:
    """Set ``asked`` whenever the other side asks."""
    while await reader.read(64):
        asked.set()

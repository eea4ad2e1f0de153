"""One worker, seen from the process that listens."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from bedside_runtime.serve.handover import EVERY_SECONDS, Told
from bedside_runtime.serve.lifecycle import State

if TYPE_CHECKING:
    from bedside_runtime.serve.probes import Report

STALE_SECONDS: Final = 5 * EVERY_SECONDS
"""A worker that has been silent for this long gets no connection."""

HUNG_SECONDS: Final = 30 * EVERY_SECONDS
"""And one that has been silent for this long is ended."""

_ASKING_SECONDS: Final = 0.5
"""Longest that a scrape waits for one worker."""

_LONGEST_REPORT: Final = 16 * 1_048_576
"""Bytes."""


class Worker:
    """A child process and the two sockets that join it; see `handover`.

    Attributes:
        report: What it said last; ``None`` before its first report.
        exposition: The metrics that it said last.
        was_ready: Whether it has ever been ready.
    """

    def __init__(self, process: asyncio.subprocess.Process, connections: socket.socket) -> None:
        self.report: Report | None = None
        self.exposition = ""
        self.was_ready = False
        self._process = process
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        self._answered = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None
        self._listening: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, command: Sequence[str], index: int, environment: Mapping[str, str]) -> "Worker":
        """Start ``command`` as worker ``index``, in a session of its own: a terminal's signals are for the parent."""
        connections, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        reports, their_reports = socket.socketpair()
        with theirs, their_reports:
            passed = (theirs.fileno(), their_reports.fileno())
            process = await asyncio.create_subprocess_exec(
                *command,
                *("--worker", ",".join(map(str, (index, *passed)))),
                pass_fds=passed,
                env=dict(environment),
                start_new_session=True,
            )
        connections.setblocking(False)
        worker = cls(process, connections)
        reader, worker._writer = await asyncio.open_connection(sock=reports, limit=_LONGEST_REPORT)
        worker._listening = asyncio.create_task(worker._listen(reader))
        return worker

    @property
    def ready(self) -> bool:
        """Whether patients may be sent to it."""
        return self.report is not None and self.report.ready and self._silent < STALE_SECONDS

    @property
    def failure(self) -> str | None:
        """The code that it failed with; a worker that failed says so while it drains too."""
        report = self.report
        if report is None or report.status not in (State.FAILED, State.DRAINING) or report.reason == report.status:
            return None
        return report.reason

    @property
    def hung(self) -> bool:
        """Whether it has reported once, and not for long."""
        return self.report is not None and self._silent > HUNG_SECONDS

    def hand(self, connection: socket.socket) -> bool:
        """Give it ``connection``; whether it could be given."""
        try:
            socket.send_fds(self._connections, [b"c"], [connection.fileno()])
        except OSError:  # it has ended, or does not take what it was given before
            return False
        return True

    def no_more(self) -> None:
        """Say that no connection will come any more."""
        self._connections.close()

    async def ask(self) -> None:
        """Wait until it has said its metrics anew, or has not in time."""
        if self._writer is None or self._writer.is_closing():
            return
        self._answered.clear()
        self._writer.write(b"?")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._answered.wait(), _ASKING_SECONDS)

    def signal(self, number: int) -> None:
        """Send it a signal, where it still is."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def ended(self) -> int:
        """Wait for its end, and return the exit code as a shell gives it."""
        code = await self._process.wait()
        if self._listening is not None:
            await self._listening  # what it said last counts
        if self._writer is not None:
            self._writer.close()
        self._connections.close()
        return code if code >= 0 else 128 - code

    @property
    def _silent(self) -> float:
        return self._loop.time() - self._heard

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                told = msgspec.json.decode(line, type=Told)
                self.report, self._heard = told.report, self._loop.time()
                self.was_ready = self.was_ready or told.report.ready
                if told.exposition:
                    self.exposition = told.exposition
                    self._answered.set()


def environment(index: int) -> dict[str, str]:
    """Return the environment of worker ``index``: its audit log is in a folder of its own, as of a pod of its own."""
    pod = os.environ.get("POD_NAME") or socket.gethostname()
    return {**os.environ, "POD_NAME": f"{pod}-{index}"}


TERMINATED: Final = 128 + signal.SIGTERM
"""Exit code of a worker that was told to end before it could listen to that."""

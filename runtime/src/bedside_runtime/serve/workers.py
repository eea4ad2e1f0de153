"""Several workers behind one port: this process listens, hands connections over, and replaces a worker that ends.

A connection goes to a worker that is ready, in turn; to one that is not only while none is. So a worker that is still
loading, has failed or hangs costs nobody an answer, and connections that nobody has accepted yet survive its end.
"""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Sequence
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bedside_runtime.contract import Serve
from bedside_runtime.serve import event_loop, server
from bedside_runtime.serve.app import not_routed
from bedside_runtime.serve.auth.gate import Open
from bedside_runtime.serve.boundary import Boundary
from bedside_runtime.serve.entrance import Accepting, Listening, Server, say_listening
from bedside_runtime.serve.lifecycle import Lifecycle, State
from bedside_runtime.serve.logs import EventLog, silence_server
from bedside_runtime.serve.merging import Merged
from bedside_runtime.serve.metrics import CONTENT_TYPE, Metrics
from bedside_runtime.serve.predicting import Predictions
from bedside_runtime.serve.probes import Probes, Report
from bedside_runtime.serve.wall import Wall
from bedside_runtime.serve.worker import TERMINATED, Worker, environment

_FIRST_PAUSE: Final = 0.2
"""Seconds before a worker that ended is replaced; doubled with every one that ends before it has been ready."""

_LONGEST_PAUSE: Final = 30.0
_SLACK_SECONDS: Final = 5.0
"""How much longer than its own bound a worker may take to end."""

_WORST_FIRST: Final = ("failed", "answering-unrecorded", "closed", "stalled", "space-low", "open", "none")
"""What several audit logs come to together."""

_KEYS_WORST_FIRST: Final = ("unavailable", "stale", "current", "none")
"""And what they believe."""

_FORCED: Final = 1


class Workers:
    """Workers, the sockets that they answer on, and what they are together."""

    def __init__(
        self, command: Sequence[str], settings: Serve, entrance: Listening, log: EventLog, *, local: bool = False
    ) -> None:
        """Nothing is started yet.

        Args:
            command: Starts a worker; told with ``--worker`` who it is.
            settings: Of the release.
            entrance: The ports that are listened on.
            log: Takes the events.
            local: No endpoint of a cluster points here.
        """
        self._command, self._settings, self._log, self._local = command, settings, log, local
        self._public, self._admin = entrance.public, entrance.admin
        self._workers: dict[int, Worker] = {}
        self._next = 0
        self._started = False
        self._stop = asyncio.Event()
        self._failure: str | None = None
        self._codes: list[int] = []
        self._ended = Merged()
        self._metrics = Metrics(lambda: self.report().ready, self)
        self._restarts = self._metrics.workers(lambda: sum(worker.ready for worker in self._workers.values()))

    # -- what they are together

    unrecorded = unrecorded_refusals = 0

    @property
    def detail(self) -> str:
        """A fixed word about the audit logs, of the worst one."""
        words = [worker.report.audit for worker in self._workers.values() if worker.report is not None]
        return min(words, key=_WORST_FIRST.index, default="none")

    def report(self) -> Report:
        """Return how they are: ready while one is, started once all have been."""
        reports = [worker.report for worker in self._workers.values() if worker.report is not None]
        if len(reports) == self._settings.workers and all(report.started for report in reports):
            self._started = True
        if self._failure is not None:
            status, reason = str(State.FAILED), self._failure
        elif self._stop.is_set():
            status = reason = str(State.DRAINING)
        elif any(worker.ready for worker in self._workers.values()):
            status = reason = str(State.READY)
        elif failures := [worker.failure for worker in self._workers.values() if worker.failure is not None]:
            status, reason = str(State.FAILED), failures[0]
        else:
            status, reason = (reports[0].status, reports[0].reason) if reports else (str(State.LOADING),) * 2
        keys = min((report.keys for report in reports), key=_KEYS_WORST_FIRST.index, default="none")
        started = self._started and self._failure is None
        return Report(started, reason == State.READY, status, reason, self.detail, keys)

    async def exposition(self) -> str:
        """Return the metrics of all, asked anew."""
        workers = list(self._workers.values())
        await asyncio.gather(*(worker.ask() for worker in workers))
        self._metrics.entered(State(self.report().status))
        merged = Merged()
        merged.add(self._metrics.exposition().decode(), own=True)
        merged.add(self._ended.exposition(), ended=True)
        for worker in workers:
            merged.add(worker.exposition)
        return merged.exposition()

    # -- from start to end

    async def run(self) -> int:
        """Serve until a signal or a start that fails ends it, and return the exit code."""
        # 1. Both ports listen; probes answer from here on.
        # 2. The workers start, and get what comes.
        # 3. Wait for SIGTERM, or for a start that failed with nobody else ready.
        # 4. The workers drain: not ready at once, but answering while endpoints still point here.
        # 5. Stop listening; the workers finish and end.
        silence_server(self._log)
        self._handle_signals()
        overview = Server(self._application(), Wall(None, self._metrics, Open()))
        probes = asyncio.create_task(overview.serve([self._admin]))  # 1
        accepting = Accepting(self._public, self._take)
        say_listening(self._log, self._public, self._admin)
        kept = [asyncio.create_task(self._keep(index)) for index in range(self._settings.workers)]  # 2
        watching = asyncio.create_task(self._watch())
        await self._stop.wait()  # 3
        await self._drain()  # 4
        accepting.close()  # 5
        await self._finish(kept)
        watching.cancel()
        overview.should_exit = True
        await probes
        exit_code = next(filter(None, self._codes), 0)
        self._log.info("stopped", exit_code=exit_code)
        return exit_code

    async def _keep(self, index: int) -> None:
        """Keep one worker running until the end."""
        pause = _FIRST_PAUSE
        while not self._stop.is_set():
            worker = self._workers[index] = await Worker.start(self._command, index, environment(index))
            if self._stop.is_set():
                worker.signal(signal.SIGTERM)
            code = await worker.ended()
            del self._workers[index]
            self._ended.add(worker.exposition, ended=True)
            if self._stop.is_set():
                self._codes.append(0 if code == TERMINATED and not worker.was_ready else code)
                return
            self._log.error("worker-ended", worker=index, exit_code=code)
            if not worker.was_ready and not any(other.ready for other in self._workers.values()):
                self._fail(worker, code)
                return
            self._restarts.add()
            pause = _FIRST_PAUSE if worker.was_ready else min(2 * pause, _LONGEST_PAUSE)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), pause)

    def _fail(self, worker: Worker, code: int) -> None:
        """End: what this worker met, the others will meet too, and nobody else answers."""
        self._failure = worker.failure or "worker-ended"
        self._codes.append(code or _FORCED)
        self._log.error("failed", reason=self._failure, exit_code=code)
        self._stop.set()

    async def _watch(self) -> None:
        """End workers that hang; they are replaced as others that end."""
        while True:
            await asyncio.sleep(1)
            for index, worker in list(self._workers.items()):
                if worker.hung:
                    self._log.error("worker-hung", worker=index)
                    worker.signal(signal.SIGKILL)

    # -- connections

    def _take(self, connection: socket.socket) -> None:
        with connection:
            self._hand_over(connection)

    def _hand_over(self, connection: socket.socket) -> None:
        """Give ``connection`` to the next one that is ready, else to any; where there is none it is closed."""
        workers = [worker for _, worker in sorted(self._workers.items())]
        self._next += 1
        turn = self._next % len(workers) if workers else 0
        in_turn = workers[turn:] + workers[:turn]
        for worker in sorted(in_turn, key=lambda worker: not worker.ready):
            if worker.hand(connection):
                return

    # -- the end

    async def _drain(self) -> None:
        answering = any(worker.ready for worker in self._workers.values()) and not self._local
        for worker in self._workers.values():
            worker.signal(signal.SIGTERM)
        self._log.info("draining", seconds=self._settings.drain_seconds if answering else 0.0)
        if answering:
            await asyncio.sleep(self._settings.drain_seconds)

    async def _finish(self, kept: Sequence["asyncio.Task[None]"]) -> None:
        for worker in self._workers.values():
            worker.no_more()
        _, late = await asyncio.wait(kept, timeout=self._settings.shutdown_seconds + _SLACK_SECONDS)
        for worker in self._workers.values():
            worker.signal(signal.SIGKILL)
        if late:
            await asyncio.wait(late)

    def _handle_signals(self) -> None:
        def handle() -> None:
            if self._stop.is_set():
                self._log.error("forced", exit_code=_FORCED)
                for worker in self._workers.values():
                    worker.signal(signal.SIGKILL)
                server.end(_FORCED)
            self._stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, handle)

    def _application(self) -> Starlette:
        async def exposition(_request: Request) -> Response:
            return Response(await self.exposition(), media_type=CONTENT_TYPE)

        nobody = Predictions(Lifecycle(), self._metrics, self._log)
        return Starlette(
            routes=[*Probes(self.report).routes(), Route("/metrics", exposition)],
            middleware=[Middleware(Boundary, metrics=self._metrics, predictions=nobody)],
            exception_handlers={HTTPException: not_routed},
        )


def serve(command: Sequence[str], settings: Serve, entrance: Listening, log: EventLog, *, local: bool = False) -> int:
    """Serve with the workers that ``settings`` asks for; see `Workers`. Returns the exit code."""

    async def run() -> int:
        return await Workers(command, settings, entrance, log, local=local).run()

    return event_loop.run(run())

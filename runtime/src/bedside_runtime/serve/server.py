"""One process, one loop. Listens before it loads, drains before it stops."""

import asyncio
import contextlib
import gc
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from bedside_runtime import loading
from bedside_runtime.adapters import engines
from bedside_runtime.batching import Asking, Batching, Inline
from bedside_runtime.compiled import CompiledDecoder
from bedside_runtime.contract import Contract, Serve
from bedside_runtime.errors import AuditUnavailable, BedsideRuntimeError
from bedside_runtime.inputs import compile_inputs
from bedside_runtime.serve import event_loop, plain
from bedside_runtime.serve.app import Application
from bedside_runtime.serve.auditing import Auditing
from bedside_runtime.serve.auth.gate import Open, Shut
from bedside_runtime.serve.auth.guard import Guard
from bedside_runtime.serve.beside import beside
from bedside_runtime.serve.connection import Connection
from bedside_runtime.serve.entrance import Entrance, Server
from bedside_runtime.serve.lifecycle import Lifecycle, State
from bedside_runtime.serve.line import REST_SECONDS
from bedside_runtime.serve.logs import EventLog, silence_server
from bedside_runtime.serve.metrics import Metrics
from bedside_runtime.serve.predicting import Loaded, Predictions
from bedside_runtime.serve.probes import Report
from bedside_runtime.serve.tracing import starting
from bedside_runtime.serve.tracing.traced import TracedAsking, TracedRecorder
from bedside_runtime.serve.wall import Wall
from bedside_runtime.service import PredictionService, Recorder
from bedside_runtime.signature import Verifies

OnStage = Callable[[str], None]
OnContract = Callable[[Contract], None]
Load = Callable[[OnStage, OnContract], loading.Loaded]
"""Loads a release, told where to report its stages and its verified contract; blocking."""

_GARBAGE = 20_000
"""Objects that are made, and not gone again, before cycles among them are looked for."""

SWEEP_SECONDS = 0.25
"""How often connections are asked whether their time is up."""

_SWEPT = 8
"""Connections that are asked between two rests of the loop: to end hundreds at once would hold up every answer."""

_FORCED = 1
"""Exit code of a process that was ended before it had finished."""


class Process:
    """A serving process from its entrance to its exit code."""

    def __init__(self, load: Load, entrance: Entrance, guard: Guard, log: EventLog, *, local: bool = False) -> None:
        self._load = load
        self._entrance = entrance
        self._guard = guard
        self._local = local
        self._log = log
        self._started = time.monotonic()
        self._lifecycle = Lifecycle(unready=lambda: "keys-unavailable" if guard.detail == "unavailable" else None)
        self._auditing = Auditing(log, self._audit_latched)
        self._metrics = Metrics(lambda: self._lifecycle.readiness().ready, self._auditing)
        self._metrics.guarded(guard.sources, guard.expires)
        self._predictions = Predictions(self._lifecycle, self._metrics, log)
        self._application = Application(self.report, self._metrics, self._predictions)
        shut = Shut(lambda: self._lifecycle.readiness().reason)
        self._walls = (Wall(self._predictions, self._metrics, shut), Wall(None, self._metrics, Open()))
        self._ask_to_stop: Callable[[], None] = lambda: None
        self._exit_code = 0
        self._settings = Serve()  # until the release's own are read and verified

    async def run(self) -> int:
        """Serve until a signal or a failure ends it, and return the exit code."""
        # 1. The entrance is open; probes answer from here on.
        # 2. The release is loaded and proven beside them, on a thread of its own.
        # 3. Wait for SIGTERM, or for the end of a failed process's grace.
        # 4. Drain: not ready at once, but answering while endpoints still point here.
        # 5. Stop accepting, close idle connections, finish what is in flight.
        # 6. Close the audit log: what was answered is durable, and a checkpoint says where it ends.
        silence_server(self._log)
        stop = asyncio.Event()
        self._handle_signals(stop)
        applications = (self._application.public, self._application.admin)
        contexts = (self._guard.context, None)
        servers = [
            Server(application, wall, context)
            for application, wall, context in zip(applications, self._walls, contexts, strict=True)
        ]
        serving = [
            asyncio.create_task(server.serve(list(taken)))  # 1
            for server, taken in zip(servers, self._entrance.sockets, strict=True)
        ]
        await _all_started(servers)
        self._entrance.opened(servers[0], self, self._log)
        beside = [
            asyncio.create_task(_sweep(servers)),
            asyncio.create_task(_forget(self._walls)),
            asyncio.create_task(self._follow_readiness()),
            asyncio.create_task(self._relieve()),
            asyncio.create_task(self._guard.watch(self._log, lambda: _end_outdated(servers[0]))),
            asyncio.create_task(self._load_and_check(stop)),  # 2
        ]
        await stop.wait()  # 3
        drained = asyncio.create_task(self._auditing.changed("drain"))  # not waited for yet: a disk may hang
        await self._drain()  # 4
        self._entrance.close()  # 5
        for server in servers:
            server.config.timeout_graceful_shutdown = max(1, math.ceil(self._settings.shutdown_seconds))
            server.should_exit = True
        await asyncio.gather(*serving)
        for task in beside:
            task.cancel()
        if (tracing := self._predictions.tracing) is not None:
            await tracing.close()
        await drained
        if not await self._auditing.close() and not self._exit_code:  # 6
            self._exit_code = AuditUnavailable.exit_code
        self._log.info("stopped", exit_code=self._exit_code)
        return self._exit_code

    def stop(self) -> None:
        """Do what a first SIGTERM does; may be called from any thread once the ports listen."""
        self._ask_to_stop()

    # -- what an entrance asks

    def report(self) -> Report:
        """Return how the process is."""
        readiness = self._lifecycle.readiness()
        started = self._lifecycle.started()
        details = self._auditing.detail, self._guard.detail
        return Report(started, readiness.ready, readiness.status, readiness.reason, *details)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return self._metrics.exposition()

    # -- loading, self-checks

    async def _load_and_check(self, stop: asyncio.Event) -> None:
        try:
            loaded = await self._in_thread()
            gate = self._guard.gate(loaded.contract)
            recorder = await self._auditing.open(loaded)
            self._walls[0].gate = gate
            self._predictions.tracing = starting.tracing(loaded.contract, loaded.digest, self._log)
            await self._become_ready(loaded, recorder)
            await self._self_checks(loaded.contract.serve.self_check_seconds)
        except BedsideRuntimeError as error:
            self._fail(error.code, error.exit_code)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - an outer boundary: model code may raise or exit
            self._log.error("load-failed", error=type(error).__name__)
            self._fail("load-failed", 3)
        await self._auditing.follow(self._lifecycle.readiness())
        await asyncio.sleep(self._settings.failed_exit_seconds)
        stop.set()

    async def _in_thread(self) -> loading.Loaded:
        loop = asyncio.get_running_loop()
        return await beside(
            lambda: self._load(
                lambda stage: _call(loop, self._on_stage, stage),
                lambda contract: _call(loop, self._on_contract, contract),
            ),
            name="load",
        )

    def _on_stage(self, stage: str) -> None:
        if stage == State.VERIFYING and self._lifecycle.state is State.LOADING:
            self._lifecycle.verifying()
            self._metrics.entered(State.VERIFYING)
            self._log.info("state", state=stage)

    def _on_contract(self, contract: Contract) -> None:
        self._settings = contract.serve
        for wall in self._walls:
            wall.limits = contract.serve

    async def _become_ready(self, loaded: loading.Loaded, recorder: Recorder) -> None:
        self._on_stage(State.VERIFYING)
        contract, asking = loaded.contract, self._asking(loaded)
        if self._predictions.tracing is not None:
            asking = TracedAsking(asking)
            recorder = TracedRecorder(recorder) if contract.audit is not None else recorder
        service = PredictionService(contract, loaded.digest, loaded.predictor, asking, loaded.cases, recorder)
        await service.self_check()  # where patients will be answered, and before one is
        if self._lifecycle.state is not State.VERIFYING:  # it was told to stop, or the log has failed
            return
        seconds = time.monotonic() - self._started
        decoders = compile_inputs(contract.inputs), CompiledDecoder(contract.inputs)
        release = plain.encoded_release(contract, loaded.digest)
        self._predictions.loaded = Loaded(service, *decoders, loaded.card, release)
        self._metrics.loaded(contract, loaded.digest, seconds, service)
        self._lifecycle.ready(service)
        self._metrics.entered(State.READY)
        digest, cases = f"sha256:{loaded.digest}", len(loaded.cases)
        await self._auditing.follow(self._lifecycle.readiness())
        self._log.info("ready", release=loaded.contract.ref, digest=digest, cases=cases, seconds=round(seconds, 3))

    def _asking(self, loaded: loading.Loaded) -> Asking:
        serve = loaded.contract.serve
        batching = Batching(loaded.predictor, serve.max_batch, serve.batch_wait_ms / 1000, self._metrics.batch)
        if loaded.contract.engine.name not in engines.INLINE:
            return batching
        return Inline(loaded.predictor, batching, self._metrics.batch)

    async def _self_checks(self, period: float) -> None:
        while self._lifecycle.service is not None:
            await asyncio.sleep(period)  # in which the service may have failed for another reason
            if (service := self._lifecycle.service) is not None:
                await service.self_check()
                self._lifecycle.checked()

    async def _follow_readiness(self) -> None:
        """Have every change of readiness recorded, whatever it comes from."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            if self._lifecycle.state is State.READY:
                await self._auditing.follow(self._lifecycle.readiness())

    async def _relieve(self) -> None:
        """Let nobody wait for a disk that hangs. Beside `_follow_readiness`, whose record waits for it."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self._auditing.relieve()

    def _fail(self, code: str, exit_code: int) -> None:
        self._lifecycle.fail(code)
        for wall in self._walls:  # whoever comes back finds another process
            wall.closing = True
        self._metrics.entered(self._lifecycle.state)
        self._exit_code = exit_code
        self._log.error("failed", reason=code, exit_code=exit_code)

    def _audit_latched(self, code: str) -> None:
        """Answer nobody from now on, and end: a new process opens a new segment."""
        self._fail(code, AuditUnavailable.exit_code)
        self.stop()

    # -- signals, draining

    def _handle_signals(self, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        self._ask_to_stop = lambda: _call(loop, lambda _: stop.set(), None)
        if threading.current_thread() is not threading.main_thread():
            return

        signalled = threading.Event()

        def handle() -> None:
            if signalled.is_set():
                self._log.error("forced", exit_code=_FORCED)
                end(_FORCED)
            signalled.set()
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, handle)

    async def _drain(self) -> None:
        answering = self._lifecycle.state is State.READY and not self._local
        self._lifecycle.drain()
        for wall in self._walls:  # whoever keeps a connection learns with its next answer to make a new one
            wall.closing = True
        self._metrics.entered(self._lifecycle.state)
        self._log.info("draining", seconds=self._settings.drain_seconds if answering else 0.0)
        if answering:
            await self._entrance.lag(self._settings.drain_seconds)


def serve(load: Load, entrance: Entrance, guard: Guard, log: EventLog, *, local: bool = False) -> int:
    """Serve what ``load`` loads until a signal ends it, and return the exit code.

    Args:
        load: Loads the release.
        entrance: How connections come in.
        guard: Whom it lets in.
        log: Takes the events.
        local: No endpoint of a cluster points here, so that there is no lag to answer through when stopping.
    """
    return event_loop.run(Process(load, entrance, guard, log, local=local).run())


def release(directory: Path, digest: str | None, key: Verifies | None = None) -> Load:
    """Return how to load the release in ``directory``: of ``digest``, and signed with ``key``, where they are given."""

    def load(on_stage: OnStage, on_contract: OnContract) -> loading.Loaded:
        loaded = loading.load(directory, on_stage=on_stage, on_contract=on_contract, digest=digest, key=key)
        settle()
        return loaded

    return load


def settle() -> None:
    """Keep what is there now, model and libraries: going through all of it now and then would hold up every answer."""
    gc.freeze()
    gc.set_threshold(_GARBAGE)  # an answer leaves no cycles behind


def end(exit_code: int) -> NoReturn:
    """End the process now, whatever a model library's threads still do."""
    os._exit(exit_code)


async def _all_started(servers: list[Server]) -> None:
    while not all(server.started for server in servers):
        await asyncio.sleep(0.005)


async def _forget(walls: Sequence[Wall]) -> None:
    """Forget the heads that came before, which may carry credentials, however many connections there are."""
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        for wall in walls:
            wall.repeats.forget()


async def _sweep(servers: list[Server]) -> None:
    """End the connections whose time is up."""
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        now = asyncio.get_running_loop().time()
        for server in servers:
            for number, connection in enumerate(list(server.server_state.connections)):
                if number % _SWEPT == 0:
                    await asyncio.sleep(REST_SECONDS)
                if isinstance(connection, Connection):
                    connection.sweep(now)


def _end_outdated(server: Server) -> None:
    """End the connections whose client certificates were judged by authorities that are believed no more."""
    for connection in list(server.server_state.connections):
        if isinstance(connection, Connection):
            connection.outdated()


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[Any], None], argument: object) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: the process is ending
        loop.call_soon_threadsafe(function, argument)

"""Two processes behind a proxy are replaced one after the other while callers ask all the time."""

import asyncio
import contextlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.load import LONG
from tests.load.asking import BROKEN, Outcome, in_turn, question
from tests.load.figures import note
from tests.load.processes import Process
from tests.load.proxy import Proxy

pytestmark = pytest.mark.load

REQUESTS = 100_000 if LONG else 3_000
"""As many are asked at least."""

LAG = 10.0 if LONG else 1.0
"""Longest time, in seconds, until a change of an endpoint is known."""

CALLERS = 8
"""Those that keep their connection."""

NEWCOMERS = 4
"""Those that make a new one for each request: they go where the endpoints point, also where nobody listens any more."""

PAUSE = 0.02
"""Seconds between two requests of a newcomer: every connection holds a port of this machine for a while."""

BOTH_TWICE = 4
"""As many processes are replaced at least."""

_WAIT = 120.0


class Fleet:
    """The processes, of which two are to be ready."""

    def __init__(self, folder: Path, proxy: Proxy, drain_seconds: float) -> None:
        self._folder, self._proxy, self._drain_seconds = folder, proxy, drain_seconds
        self._running: list[Process] = []
        self._started = 0
        self.exit_codes: list[int] = []

    async def add(self) -> None:
        """Start one more, and wait until it is known to be ready."""
        self._started += 1
        log = self._folder / f"log-{self._started}"
        process = Process(log, serve={"drain_seconds": self._drain_seconds, "shutdown_seconds": 10.0})
        self._running.append(process)
        port = await asyncio.to_thread(lambda: process.port)
        self._proxy.watch(port)
        async with asyncio.timeout(_WAIT):
            while port not in self._proxy.endpoints:
                await asyncio.sleep(0.02)

    async def take_oldest_away(self) -> None:
        """End the oldest as a cluster does, and wait until it has."""
        process = self._running.pop(0)
        process.terminate()
        self.exit_codes.append(await asyncio.to_thread(process.child.wait, _WAIT))

    def end(self) -> None:
        for process in self._running:
            process.child.kill()
            process.child.wait(10)


@contextlib.contextmanager
def fleet(folder: Path, proxy: Proxy, drain_seconds: float) -> Iterator[Fleet]:
    made = Fleet(folder, proxy, drain_seconds)
    try:
        yield made
    finally:
        made.end()


async def restarted(folder: Path, drain_seconds: float, requests: int) -> tuple[list[Outcome], list[int]]:
    """Ask all the time, so often at least, while both processes are replaced."""
    lags = random.Random(1)
    async with Proxy(lambda: lags.uniform(0.0, LAG)) as proxy:
        with fleet(folder, proxy, drain_seconds) as processes:
            await processes.add()
            await processes.add()
            async with (
                in_turn(proxy.port, CALLERS, question()) as kept,
                in_turn(proxy.port, NEWCOMERS, question(), PAUSE, anew=True) as new,
            ):
                while len(kept) + len(new) < requests or len(processes.exit_codes) < BOTH_TWICE:
                    await processes.add()
                    await processes.take_oldest_away()
            return kept + new, processes.exit_codes


@pytest.mark.timeout(3_600 if LONG else 300)
def test_no_request_fails_while_both_processes_are_replaced(tmp_path: Path) -> None:
    outcomes, exit_codes = asyncio.run(restarted(tmp_path, drain_seconds=LAG + 2.0, requests=REQUESTS))
    failed = sum(outcome.status != 200 for outcome in outcomes)
    note(restart_requests=len(outcomes), restart_failed=failed, restart_processes=len(exit_codes))
    assert len(outcomes) >= REQUESTS
    assert {outcome.status for outcome in outcomes} == {200}
    assert set(exit_codes) == {0}


@pytest.mark.timeout(300)
def test_without_waiting_for_the_endpoints_the_same_restart_loses_requests(tmp_path: Path) -> None:
    outcomes, exit_codes = asyncio.run(restarted(tmp_path, drain_seconds=0.0, requests=100))
    broken = sum(outcome.status == BROKEN for outcome in outcomes)
    note(restart_without_lag_requests=len(outcomes), restart_without_lag_failed=broken)
    assert broken > 0
    assert set(exit_codes) == {0}

"""Ten times more than it can do: some are answered as ever, all others are told at once when to come back."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.load import LONG
from tests.load.asking import Outcome, at_rate, in_turn, question, request
from tests.load.figures import note, share
from tests.load.processes import Process, running

pytestmark = pytest.mark.load

CALL = 0.2
"""Seconds that each call of the model takes, however many rows it is asked for."""

BATCH = 4
SETTINGS = {"max_batch": BATCH, "max_in_flight": 2 * BATCH, "max_connections": 2_000, "shutdown_seconds": 2.0}
SUSTAINABLE = BATCH / CALL
"""Answers a second."""

SLOW = question(age=99)
PROBES = (request("GET", "/livez"), request("GET", "/readyz"))
SECONDS = 40.0 if LONG else 6.0
GROWTH = 48 * 2**20
"""Bytes that a process may grow by; the requests that were asked hold many times as much."""


async def _overloaded(process: Process) -> tuple[list[Outcome], list[Outcome]]:
    """Return what became of ten times the sustainable load, and of probes meanwhile."""
    probes: list[Outcome] = []

    async def probing() -> None:
        for port in (process.port, process.admin_port):
            for probe in PROBES:
                async with in_turn(port, 1, probe, pause=0.02) as outcomes:
                    await asyncio.sleep(SECONDS / 6)
                probes.extend(outcomes)

    outcomes, _ = await asyncio.gather(at_rate(process.port, 10 * SUSTAINABLE, SECONDS, SLOW), probing())
    return outcomes, probes


async def _in_turn(process: Process, callers: int, seconds: float) -> list[Outcome]:
    async with in_turn(process.port, callers, SLOW) as outcomes:
        await asyncio.sleep(seconds)
    return outcomes


def _p99(outcomes: Sequence[Outcome]) -> float:
    """Seconds."""
    return share([outcome.seconds for outcome in outcomes], 0.99)


def test_what_cannot_be_done_is_refused_with_a_time_to_come_back_and_probes_answer(tmp_path: Path) -> None:
    with running(tmp_path / "log", predict_seconds=CALL, serve=SETTINGS) as process:
        alone = asyncio.run(_in_turn(process, 1, SECONDS / 2))
        full = asyncio.run(_in_turn(process, 2 * BATCH, SECONDS / 2))
        before = process.resident()
        outcomes, probes = asyncio.run(_overloaded(process))
        grown = process.resident() - before
    answered = [outcome for outcome in outcomes if outcome.status == 200]
    refused = [outcome for outcome in outcomes if outcome.status != 200]
    unexplained = [outcome for outcome in refused if not outcome.refused_well]
    note(
        overload_goodput_over_peak=(len(answered) / SECONDS) / (len(full) / (SECONDS / 2)),
        overload_p99_over_unloaded=_p99(answered) / _p99(alone),
        overload_refused=len(refused),
        overload_refused_otherwise=len(unexplained),
        overload_probe_p99_ms=1000 * _p99(probes),
        overload_growth_mib=grown / 2**20,
    )
    assert len(answered) > 0.25 * SUSTAINABLE * SECONDS
    assert len(refused) > len(answered)
    assert unexplained == []
    assert {outcome.status for outcome in probes} == {200}
    assert grown < GROWTH


def test_after_the_rush_everybody_is_answered_again(tmp_path: Path) -> None:
    with running(tmp_path / "log", predict_seconds=CALL, serve=SETTINGS) as process:
        outcomes = asyncio.run(at_rate(process.port, 10 * SUSTAINABLE, 1.0, SLOW))
        assert any(outcome.status == 503 for outcome in outcomes)
        time.sleep(3 * CALL)
        after = asyncio.run(at_rate(process.port, SUSTAINABLE / 10, 2.0, SLOW))
        assert {outcome.status for outcome in after} == {200}

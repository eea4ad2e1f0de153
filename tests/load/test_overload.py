"""Ten times more than it can do: some are answered as ever, all others are told at once when to come back."""

import asyncio
import time
from pathlib import Path

import pytest
from tests.load.asking import Outcome, at_rate, in_turn, question, request
from tests.load.processes import Process, running

pytestmark = pytest.mark.load

CALL = 0.04
"""Seconds that each call of the model takes, however many rows it is asked for."""

BATCH = 4
SETTINGS = {"max_batch": BATCH, "max_in_flight": 2 * BATCH, "max_connections": 2_000, "shutdown_seconds": 2.0}
SUSTAINABLE = BATCH / CALL
"""Answers a second."""

SLOW = question(age=99)
PROBES = (request("GET", "/livez"), request("GET", "/readyz"))
SECONDS = 6.0
GROWTH = 48 * 2**20
"""Bytes that a process may grow by; the requests that were asked hold many times as much."""


async def _overloaded(process: Process) -> tuple[list[Outcome], list[Outcome]]:
    """Return what became of ten times the sustainable load, and of probes meanwhile."""
    probes: list[Outcome] = []

    async def probing() -> None:
        for port in (process.port, process.admin_port):
            for probe in PROBES:
                async with in_turn(port, 1, probe) as outcomes:
                    await asyncio.sleep(SECONDS / 6)
                probes.extend(outcomes)

    outcomes, _ = await asyncio.gather(at_rate(process.port, 10 * SUSTAINABLE, SECONDS, SLOW), probing())
    return outcomes, probes


def test_what_cannot_be_done_is_refused_with_a_time_to_come_back_and_probes_answer(tmp_path: Path) -> None:
    with running(tmp_path / "log", predict_seconds=CALL, serve=SETTINGS) as process:
        asyncio.run(at_rate(process.port, 10 * SUSTAINABLE, 1.0, SLOW))
        before = process.resident()
        outcomes, probes = asyncio.run(_overloaded(process))
        grown = process.resident() - before
    answered = [outcome for outcome in outcomes if outcome.status == 200]
    refused = [outcome for outcome in outcomes if outcome.status != 200]
    assert len(answered) > 0.25 * SUSTAINABLE * SECONDS
    assert len(refused) > len(answered)
    assert [outcome for outcome in refused if not outcome.refused_well] == []
    assert {outcome.status for outcome in probes} == {200}
    assert grown < GROWTH


def test_after_the_rush_everybody_is_answered_again(tmp_path: Path) -> None:
    with running(tmp_path / "log", predict_seconds=CALL, serve=SETTINGS) as process:
        outcomes = asyncio.run(at_rate(process.port, 10 * SUSTAINABLE, 1.0, SLOW))
        assert any(outcome.status == 503 for outcome in outcomes)
        time.sleep(3 * CALL)
        after = asyncio.run(at_rate(process.port, SUSTAINABLE / 20, 1.0, SLOW))
        assert {outcome.status for outcome in after} == {200}

"""Hundreds of clients that send or read too slowly: everybody else is answered, and they are shown out."""

import asyncio
from pathlib import Path

import pytest
from tests.load import LONG
from tests.load.asking import Outcome, in_turn
from tests.load.figures import note, share
from tests.load.misbehaving import WHOLE, Misbehaving, misbehaving, slow_body, slow_header, slow_reader
from tests.load.processes import Process, running

pytestmark = pytest.mark.load

CLIENTS = 500 if LONG else 100
SECONDS = 10.0 if LONG else 4.0
"""Header and body may take so long, and so may reading an answer."""

SETTINGS = {
    "header_seconds": SECONDS,
    "body_seconds": SECONDS,
    "max_connections": 2 * CLIENTS,
    "max_body": 1_048_576,
    "shutdown_seconds": 2.0,
}
GROWTH = 96 * 2**20
"""Bytes that a process may grow by for all of them together."""

OTHERS = 4
_PAUSE = 0.01
_WAIT = 240.0


async def _alone(process: Process) -> list[Outcome]:
    async with in_turn(process.port, OTHERS, WHOLE, _PAUSE) as outcomes:
        await asyncio.sleep(SECONDS)
    return outcomes


async def _beside(process: Process, how: Misbehaving) -> tuple[list[Outcome], list[bytes], int]:
    """Return what others were answered while all clients misbehaved, what these were told, and the growth in bytes."""
    before = process.resident()
    grown = 0
    with misbehaving(process.port, how, CLIENTS) as told:
        async with in_turn(process.port, OTHERS, WHOLE, _PAUSE) as outcomes, asyncio.timeout(_WAIT):
            while not told.poll():
                await asyncio.sleep(0.2)
                grown = max(grown, process.resident() - before)
        return outcomes, told.recv(), grown


@pytest.mark.timeout(400)
@pytest.mark.parametrize("how", [slow_header, slow_body, slow_reader])
def test_clients_that_misbehave_are_shown_out_and_others_are_answered(tmp_path: Path, how: Misbehaving) -> None:
    with running(tmp_path / "log", serve=SETTINGS) as process:
        alone = asyncio.run(_alone(process))
        outcomes, told, grown = asyncio.run(_beside(process, how))
    note(
        **{
            f"{how.__name__}_clients_p99_over_unloaded": _p99(outcomes) / _p99(alone),
            f"{how.__name__}_clients_growth_mib": grown / 2**20,
        }
    )
    assert {outcome.status for outcome in outcomes} == {200}
    assert len(told) == CLIENTS
    assert how is slow_reader or all(end.startswith(b"HTTP/1.1 408 ") for end in told)
    assert grown < GROWTH


def _p99(outcomes: list[Outcome]) -> float:
    """Seconds."""
    return share([outcome.seconds for outcome in outcomes], 0.99)

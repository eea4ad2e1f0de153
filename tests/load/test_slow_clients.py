"""Five hundred clients that send or read too slowly: everybody else is answered, and they are shown out."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from tests.load.asking import in_turn, question
from tests.load.processes import Process, running

pytestmark = pytest.mark.load

CLIENTS = 500
SECONDS = 4.0
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

WHOLE = question()
_WAIT = 60.0

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Misbehaving = Callable[[Streams], Awaitable[None]]


async def slow_header(streams: Streams) -> None:
    """Send a byte of the head now and then."""
    for byte in WHOLE:
        streams[1].write(bytes([byte]))
        await asyncio.sleep(0.5)


async def slow_body(streams: Streams) -> None:
    """Send the head at once, and a byte of the body now and then."""
    head, _, body = WHOLE.partition(b"\r\n\r\n")
    streams[1].write(head + b"\r\n\r\n")
    for byte in body:
        streams[1].write(bytes([byte]))
        await asyncio.sleep(0.5)


async def slow_reader(streams: Streams) -> None:
    """Ask again and again, and read nothing of the answers."""
    while True:
        streams[1].write(WHOLE * 50)
        await streams[1].drain()
        await asyncio.sleep(0.1)


async def _connected(port: int) -> socket.socket:
    """Return a connection on which little fits between the server and a client that does not read."""
    made = socket.socket()
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", port))
    return made


@contextlib.asynccontextmanager
async def misbehaving(port: int, how: Misbehaving) -> AsyncIterator[list[bytes]]:
    """Give what each client was told in the end, as far as they have been shown out."""
    ends: list[bytes] = []

    async def client() -> None:
        streams = await asyncio.open_connection(sock=await _connected(port), limit=1_024)
        sending = asyncio.ensure_future(how(streams))
        said = b""
        with contextlib.suppress(OSError):
            if how is slow_reader:
                await sending
            while chunk := await streams[0].read(4_096):
                said += chunk
        ends.append(said)
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await sending
        streams[1].close()

    clients = [asyncio.create_task(client()) for _ in range(CLIENTS)]
    try:
        yield ends
    finally:
        for task in clients:
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)


async def _others(process: Process, how: Misbehaving) -> tuple[set[int], list[bytes], int]:
    """Return what others were answered while all clients misbehaved, what these were told, and the growth in bytes."""
    before = process.resident()
    async with misbehaving(process.port, how) as ends, in_turn(process.port, 4, WHOLE) as outcomes:
        grown = 0
        async with asyncio.timeout(_WAIT):
            while len(ends) < CLIENTS:
                await asyncio.sleep(0.2)
                grown = max(grown, process.resident() - before)
    return {outcome.status for outcome in outcomes}, ends, grown


@pytest.mark.timeout(180)
@pytest.mark.parametrize("how", [slow_header, slow_body])
def test_clients_that_send_slowly_are_told_so_and_others_are_answered(tmp_path: Path, how: Misbehaving) -> None:
    with running(tmp_path / "log", serve=SETTINGS) as process:
        statuses, ends, grown = asyncio.run(_others(process, how))
    assert statuses == {200}
    assert all(end.startswith(b"HTTP/1.1 408 ") for end in ends)
    assert grown < GROWTH


@pytest.mark.timeout(180)
def test_clients_that_do_not_read_are_cut_off_and_others_are_answered(tmp_path: Path) -> None:
    with running(tmp_path / "log", serve=SETTINGS) as process:
        statuses, ends, grown = asyncio.run(_others(process, slow_reader))
    assert statuses == {200}
    assert len(ends) == CLIENTS
    assert grown < GROWTH

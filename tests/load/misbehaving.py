"""Clients that send or read too slowly, in a process of their own, so that their work is not that of the others."""

import asyncio
import contextlib
import multiprocessing
import socket
from collections.abc import Awaitable, Callable, Iterator
from multiprocessing.connection import Connection

from tests.load.asking import question, request

WHOLE = question()
LONG_ANSWER = request("GET", "/openapi.json")
_PAUSE = 0.5
"""Seconds between two bytes."""

_FORK = multiprocessing.get_context("fork")

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Misbehaving = Callable[[Streams], Awaitable[None]]


async def slow_header(streams: Streams) -> None:
    """Send a byte of the head now and then."""
    for byte in WHOLE:
        streams[1].write(bytes([byte]))
        await asyncio.sleep(_PAUSE)


async def slow_body(streams: Streams) -> None:
    """Send the head at once, and a byte of the body now and then."""
    head, _, body = WHOLE.partition(b"\r\n\r\n")
    streams[1].write(head + b"\r\n\r\n")
    for byte in body:
        streams[1].write(bytes([byte]))
        await asyncio.sleep(_PAUSE)


async def slow_reader(streams: Streams) -> None:
    """Ask again and again for much, and read nothing of the answers."""
    while True:
        streams[1].write(LONG_ANSWER * 2)
        await streams[1].drain()
        await asyncio.sleep(_PAUSE)


@contextlib.contextmanager
def misbehaving(port: int, how: Misbehaving, clients: int) -> Iterator[Connection]:
    """Let ``clients`` misbehave; what the last of them was told arrives as a list with what all were told."""
    ours, theirs = _FORK.Pipe(duplex=False)
    child = _FORK.Process(target=_misbehave, args=(port, how, clients, theirs))
    child.start()
    theirs.close()
    try:
        yield ours
    finally:
        child.kill()
        child.join(10)
        ours.close()


def _misbehave(port: int, how: Misbehaving, clients: int, told: Connection) -> None:
    async def all_of_them() -> list[bytes]:
        return await asyncio.gather(*(_client(port, how) for _ in range(clients)))

    told.send(asyncio.run(all_of_them()))


async def _client(port: int, how: Misbehaving) -> bytes:
    """Return what it was told until it was shown out."""
    streams = await asyncio.open_connection(sock=await _connected(port), limit=1_024)
    sending = asyncio.ensure_future(how(streams))
    said = b""
    with contextlib.suppress(OSError):
        if how is slow_reader:
            await sending
        while chunk := await streams[0].read(4_096):
            said += chunk
    sending.cancel()
    with contextlib.suppress(asyncio.CancelledError, OSError):
        await sending
    streams[1].close()
    return said


async def _connected(port: int) -> socket.socket:
    """Return a connection on which little fits between the server and a client that does not read."""
    made = socket.socket()
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", port))
    return made

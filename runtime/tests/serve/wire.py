"""Bytes to a server and bytes back, for tests of what no HTTP client would send."""

import contextlib
import fcntl
import socket
import struct
import termios
import time
from collections.abc import Iterable, Iterator

from served import Served


@contextlib.contextmanager
def dialled(server: Served, timeout: float = 10) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout) as connection:
        yield connection


def arrived(connections: Iterable[socket.socket]) -> None:
    """Wait until all that was sent lies on the server's side: a busy kernel takes its time over loopback too."""
    deadline = time.monotonic() + 60
    for connection in connections:
        while struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))[0]:
            assert time.monotonic() < deadline
            time.sleep(0.001)


def rest(connection: socket.socket) -> bytes:
    """Read to the end; a reset counts as one."""
    received = b""
    with contextlib.suppress(ConnectionError, TimeoutError):
        while chunk := connection.recv(65_536):
            received += chunk
    return received


def said(server: Served, *parts: bytes, pause: float = 0.0, end: bool = True) -> bytes:
    """Send ``parts`` and return all that comes back."""
    with dialled(server) as connection:
        with contextlib.suppress(ConnectionError):
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)
            if end:
                connection.shutdown(socket.SHUT_WR)
        return rest(connection)


def statuses(received: bytes) -> list[int]:
    return [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]

"""The way to a registry, as a process between: it counts the bytes, cuts the connection after so many, or stands still.

TLS passes through it untouched, so that it knows as much as a broken network does: nothing.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum


class Way(Enum):
    """Which bytes are meant."""

    THERE = "to the registry"
    BACK = "from the registry"


@dataclass
class Wire:
    """Leads a free port of 127.0.0.1 to another port.

    Attributes:
        target: Port that it leads to.
        carried: Bytes so far, by way.
    """

    target: int
    carried: dict[Way, int] = field(default_factory=lambda: dict.fromkeys(Way, 0))
    stalled: threading.Event = field(default_factory=threading.Event)
    asked: list[str] = field(default_factory=list)
    _limit: dict[Way, int | None] = field(default_factory=lambda: dict.fromkeys(Way))
    _stall: bool = False
    _once: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    _open: set[socket.socket] = field(default_factory=set)

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def cut(self, way: Way, after: int, *, once: bool = False) -> None:
        """Carry ``after`` bytes more, then close every connection; for ever, or once."""
        self._plan(way, after, stall=False, once=once)

    def stall(self, way: Way, after: int) -> None:
        """Carry ``after`` bytes more, then none: the connections stay open, and ``stalled`` is set."""
        self._plan(way, after, stall=True, once=False)

    def heal(self) -> None:
        """Carry everything again; what stood still is closed."""
        with self._lock:
            self._limit = dict.fromkeys(Way)
            self._stall = False
            self.stalled.clear()
        self._hang_up()

    def _plan(self, way: Way, after: int, *, stall: bool, once: bool) -> None:
        with self._lock:
            self.carried = dict.fromkeys(Way, 0)
            self._limit = {item: after if item is way else None for item in Way}
            self._stall, self._once = stall, once

    def serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._hang_up()

    def connect(self, near: socket.socket) -> socket.socket:
        """Connect to where ``near`` wants to go."""
        return socket.create_connection(("127.0.0.1", self.target))

    def _carry(self, near: socket.socket) -> None:
        try:
            far = self.connect(near)
        except OSError:
            near.close()
            return
        with self._lock:
            self._open |= {near, far}
        back = threading.Thread(target=self._pump, args=(far, near, Way.BACK), daemon=True)
        back.start()
        self._pump(near, far, Way.THERE)
        back.join()
        with self._lock:
            self._open -= {near, far}
        near.close()
        far.close()

    def _pump(self, source: socket.socket, target: socket.socket, way: Way) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 14):
                allowed, end = self._allowed(way, len(data))
                target.sendall(data[:allowed])
                if end and self._stall:
                    self.stalled.set()
                    return
                if end:
                    self._hang_up()
                    return
        for end_of in (source, target):
            with suppress(OSError):
                end_of.shutdown(socket.SHUT_RDWR)

    def _allowed(self, way: Way, size: int) -> tuple[int, bool]:
        """Return how many of ``size`` bytes go on, and whether the wire ends there."""
        with self._lock:
            limit = self._limit[way]
            left = size if limit is None else max(limit - self.carried[way], 0)
            allowed = min(size, left)
            self.carried[way] += allowed
            end = limit is not None and self.carried[way] >= limit
            if end and self._once:
                self._limit[way] = None
            return allowed, end

    def _hang_up(self) -> None:
        with self._lock:
            connections = tuple(self._open)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class Proxy(Wire):
    """A web proxy: leads where CONNECT asks, and writes down what it was told."""

    def connect(self, near: socket.socket) -> socket.socket:
        told = b""
        while b"\r\n\r\n" not in told:
            told += near.recv(4096)
        self.asked.append(told.decode())
        host, _, port = told.split()[1].decode().rpartition(":")
        far = socket.create_connection((host, int(port)))
        near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return far


@contextmanager
def laid(wire: Wire) -> Iterator[Wire]:
    """Run ``wire`` for the time of the ``with``."""
    thread = threading.Thread(target=wire.serve, daemon=True)
    thread.start()
    try:
        yield wire
    finally:
        wire.close()
        thread.join(5)

"""How connections reach a serving process: on ports of its own, or handed over by a process that listens for it."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import uvicorn

from bedside_runtime.errors import PortUnavailable
from bedside_runtime.serve.connection import Wall
from bedside_runtime.serve.logs import EventLog
from bedside_runtime.serve.probes import Report

_BACKLOG = 2_048
"""Connections that may wait to be accepted."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. Port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 8080
    admin_port: int = 8081


class Server(uvicorn.Server):
    """uvicorn without its own signal handling, which also takes connections that somebody else accepted."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the process."""
        yield

    async def adopt(self, connection: socket.socket) -> None:
        """Serve a connection that is open already."""

        def protocol() -> asyncio.Protocol:
            kind: Any = self.config.http_protocol_class
            state = self.lifespan.state
            return kind(config=self.config, server_state=self.server_state, app_state=state)  # type: ignore[no-any-return] # uvicorn's class

        with contextlib.suppress(OSError):  # the client has gone again, or its TLS handshake failed
            await asyncio.get_running_loop().connect_accepted_socket(protocol, connection, ssl=self.config.ssl)


class Inside(Protocol):
    """What an entrance may ask of the process behind it."""

    def report(self) -> Report:
        """Return how the process is."""
        ...

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        ...

    def stop(self) -> None:
        """Drain and end."""
        ...


class Entrance(Protocol):
    """How connections come in."""

    @property
    def sockets(self) -> tuple[Sequence[socket.socket], Sequence[socket.socket]]:
        """What the public and the admin port listen on."""
        ...

    def opened(self, server: Server, inside: Inside, log: EventLog) -> None:
        """``server``, of the public port, takes connections now."""
        ...

    async def lag(self, seconds: float) -> None:
        """Return when nobody sends new connections here any more: ``seconds`` after readiness went off."""
        ...


class Listening:
    """On two ports of its own."""

    def __init__(self, address: Address) -> None:
        """Listen.

        Raises:
            PortUnavailable: A port cannot be listened on.
        """
        self._public = listen(address.host, address.port)
        self._admin = listen(address.host, address.admin_port)

    @property
    def sockets(self) -> tuple[Sequence[socket.socket], Sequence[socket.socket]]:
        """What the public and the admin port listen on."""
        return [self._public], [self._admin]

    def opened(self, _server: Server, _inside: Inside, log: EventLog) -> None:
        """Say where."""
        say_listening(log, self._public, self._admin)

    async def lag(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        PortUnavailable: It cannot.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken = socket.socket(family, socket.SOCK_STREAM)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((host, port))
        taken.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        taken.close()
        reason = error.strerror if isinstance(error, OSError) else "no such port"
        raise PortUnavailable(f"port {port} on {host} cannot be listened on: {reason}") from None
    return taken


def say_listening(log: EventLog, public: socket.socket, admin: socket.socket) -> None:
    """Log where the two ports are."""
    host, port = public.getsockname()[:2]
    log.info("listening", host=host, port=port, admin_port=admin.getsockname()[1])


def configuration(application: Any, wall: Wall) -> uvicorn.Config:  # noqa: ANN401 - an ASGI application
    """Return how uvicorn serves ``application``."""
    return uvicorn.Config(
        application,
        http=wall.protocol(),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=True,
    )

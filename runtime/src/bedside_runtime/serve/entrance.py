"""How connections reach a serving process: on ports of its own, or handed over by a process that listens for it."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import uvicorn

from bedside_runtime.errors import PortUnavailable
from bedside_runtime.serve import bodies
from bedside_runtime.serve.connection import protocol
from bedside_runtime.serve.logs import EventLog
from bedside_runtime.serve.probes import Report
from bedside_runtime.serve.wall import Wall

_BACKLOG = 2_048
"""Connections that may wait to be accepted."""

_RECEIVED: Final = 128 * 1024
_SENT: Final = 64 * 1024
"""Bytes that the kernel keeps of a connection in each direction (it counts them twice): what clients send too fast or
read too slowly is memory of this pod too."""

_AT_ONCE: Final = 64
"""Connections that are accepted before something else has its turn."""

_FULL_SECONDS: Final = 0.1
"""How long accepting pauses when the process has no descriptor left."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. Port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 8080
    admin_port: int = 8081


class Server(uvicorn.Server):
    """uvicorn without its own signal handling, which also takes connections that somebody else accepted."""

    def __init__(self, application: Any, wall: Wall, context: Callable[[], ssl.SSLContext] | None = None) -> None:  # noqa: ANN401
        """Nothing is listened on yet.

        Args:
            application: An ASGI application.
            wall: What its connections share.
            context: Returns what a new connection shakes hands with; ``None`` where TLS is not spoken.
        """
        super().__init__(configuration(application, wall))
        self._wall, self._context = wall, context
        self._shaking = 0

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the process."""
        yield

    async def adopt(self, connection: socket.socket) -> None:
        """Serve a connection that is open already."""
        if self._context is None:
            with contextlib.suppress(OSError):  # the client has gone again
                await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)
        elif self._shaking + len(self.server_state.connections) >= self._wall.limits.max_connections:
            self._wall.metrics.refused("too-many-connections")
            connection.close()
        else:
            await self._shake_hands(connection, self._context())

    async def _shake_hands(self, connection: socket.socket, context: ssl.SSLContext) -> None:
        self._shaking += 1
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol,
                connection,
                ssl=context,
                ssl_handshake_timeout=self._wall.limits.header_seconds,
                ssl_shutdown_timeout=bodies.LINGER_SECONDS,
            )
        except OSError:  # it speaks no TLS, shows a certificate that is none of ours, or has gone again
            self._wall.metrics.refused("tls-handshake")
        finally:
            self._shaking -= 1

    def _protocol(self) -> asyncio.Protocol:
        kind: Any = self.config.http_protocol_class
        state = self.lifespan.state
        return kind(config=self.config, server_state=self.server_state, app_state=state)  # type: ignore[no-any-return] # uvicorn's class


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

    def close(self) -> None:
        """Let nobody in any more."""
        ...


class Listening:
    """On two ports of its own."""

    def __init__(self, address: Address, *, tls: bool = False) -> None:
        """Listen.

        Args:
            address: Where.
            tls: Whether the public port speaks TLS. Connections are then accepted here one by one, as each shakes
                hands with the certificate that is mounted at that time.

        Raises:
            PortUnavailable: A port cannot be listened on.
        """
        self.public = listen(address.host, address.port)
        self.admin = listen(address.host, address.admin_port)
        self._accepting: Accepting | None = None
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def sockets(self) -> tuple[Sequence[socket.socket], Sequence[socket.socket]]:
        """What uvicorn listens on: the public and the admin port."""
        return [] if self._tls else [self.public], [self.admin]

    def opened(self, server: Server, _inside: Inside, log: EventLog) -> None:
        """Say where."""
        if self._tls:
            self._accepting = Accepting(self.public, lambda connection: self._start(server.adopt(connection)))
        say_listening(log, self.public, self.admin)

    def _start(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Let nobody in any more; who has knocked already is still let in."""
        if self._accepting is not None:
            self._accepting.close()

    async def lag(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class Accepting:
    """Accepts what comes on a socket that listens."""

    def __init__(self, listening: socket.socket, take: Callable[[socket.socket], None]) -> None:
        """Begin; ``take`` is given each connection, and closes it or keeps it."""
        self._listening, self._take = listening, take
        listening.setblocking(False)
        self._more()

    def close(self) -> None:
        """Accept who has knocked already, and nobody after that."""
        self._accept()
        asyncio.get_running_loop().remove_reader(self._listening)
        self._listening.close()

    def _more(self) -> None:
        if self._listening.fileno() >= 0:
            asyncio.get_running_loop().add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, _ = self._listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:  # no descriptor is left; what waits, waits on
                loop = asyncio.get_running_loop()
                loop.remove_reader(self._listening)
                loop.call_later(_FULL_SECONDS, self._more)
                return
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._take(connection)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        PortUnavailable: It cannot.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken = socket.socket(family, socket.SOCK_STREAM)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVED)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SENT)
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
        http=protocol(wall),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=True,
    )

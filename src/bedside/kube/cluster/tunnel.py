"""A connection to a port of one pod, through the API server, as `kubectl port-forward` makes it.

It ends inside of the pod's own network, so no NetworkPolicy and no mesh stands in the way, and TLS goes through to
the pod. On the wire: a WebSocket with the subprotocol v4.channel.k8s.io; the first byte of each message is a channel,
0 for data, 1 for errors; the first message of each channel repeats the port.
"""

import base64
import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

import httpcore
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from bedside.errors import ClusterInterrupted
from bedside.kube.cluster import requests
from bedside.kube.cluster.session import Session

_PROTOCOL: Final = "v4.channel.k8s.io"
_DATA: Final = b"\x00"
_CHANNELS: Final = 2
_PIECE: Final = 32 * 1024
_CHUNK: Final = 64 * 1024


class Tunnel(httpcore.NetworkStream):
    """A byte stream to the pod. What the pod's side refuses ends it with the kubelet's own words."""

    def __init__(self, stream: Any, pod: str) -> None:  # noqa: ANN401 - httpcore's stream of an upgraded connection
        self._stream, self._pod = stream, pod
        self._socket = Connection(ConnectionType.CLIENT)
        self._ready, self._message = bytearray(), bytearray()
        self._begun: set[int] = set()
        self._ended = False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what the pod sent next; nothing at the end."""
        while not self._ready and not self._ended:
            data = self._stream.read(_CHUNK, timeout)
            try:
                self._socket.receive_data(data or None)
                for event in self._socket.events():
                    self._take(event)
            except RemoteProtocolError:
                raise ClusterInterrupted(f"the connection to {self._pod} broke") from None
            if not data:
                self._ended = True
        piece = bytes(self._ready[:max_bytes])
        del self._ready[:max_bytes]
        return piece

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of ``buffer``."""
        try:
            for start in range(0, len(buffer), _PIECE):
                message = BytesMessage(data=_DATA + buffer[start : start + _PIECE])
                self._stream.write(self._socket.send(message), timeout)
        except LocalProtocolError:
            raise ClusterInterrupted(f"the connection to {self._pod} ended") from None

    def close(self) -> None:
        """End the connection."""
        self._ended = True
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Speak TLS with the pod itself."""
        return Within(self, ssl_context, server_hostname, timeout)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401, ARG002 - httpcore's signature
        """Nothing is known."""
        return None

    def _take(self, event: object) -> None:
        match event:
            case BytesMessage(data=data, message_finished=finished):
                self._message += data
                if finished and self._message:
                    self._channel(self._message[0], bytes(self._message[1:]))
                    self._message.clear()
            case Ping():
                self._stream.write(self._socket.send(event.response()), None)
            case CloseConnection():
                self._ended = True
            case _:
                pass

    def _channel(self, channel: int, data: bytes) -> None:
        if channel not in self._begun:  # the port, two bytes
            self._begun.add(channel)
            data = data[2:]
        if channel % _CHANNELS and data:
            said = " ".join(data.decode("utf-8", "replace").split())[:300]
            raise ClusterInterrupted(f"{self._pod} cannot be reached from its node: {said}")
        self._ready += data


class Within(httpcore.NetworkStream):
    """TLS inside of another stream."""

    def __init__(
        self, stream: httpcore.NetworkStream, context: ssl.SSLContext, name: str | None, timeout: float | None
    ) -> None:
        self._stream = stream
        self._came, self._goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._came, self._goes, server_hostname=name)
        try:
            self._until(self._tls.do_handshake, timeout)
        except ssl.SSLError as error:
            stream.close()
            raise httpcore.ConnectError(str(error)) from None

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what came next, decrypted."""
        piece: bytes = b""
        with suppress(ssl.SSLZeroReturnError):
            piece = self._until(lambda: self._tls.read(max_bytes), timeout)
        return piece

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of ``buffer``, encrypted."""
        left = memoryview(buffer)
        while left:
            left = left[self._until(partial(self._tls.write, left), timeout) :]

    def close(self) -> None:
        """End the connection."""
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore's signature
        """The TLS object, where it is asked for."""
        return self._tls if info == "ssl_object" else None

    def _until(self, action: Callable[[], Any], timeout: float | None) -> Any:  # noqa: ANN401 - what the action gives
        while True:
            wants = False
            result: Any = None
            try:
                result = action()
            except ssl.SSLWantReadError:
                wants = True
            if outgoing := self._goes.read():
                self._stream.write(outgoing, timeout)
            if not wants:
                return result
            came = self._stream.read(_CHUNK, timeout)
            self._came.write(came) if came else self._came.write_eof()


@contextmanager
def tunnel(session: Session, namespace: str, pod: str, port: int) -> Iterator[Tunnel]:
    """Give a connection to ``port`` of ``pod``.

    Raises:
        ClusterDenied: This account may not forward ports.
        ClusterInterrupted: There is no way to the pod now.
    """
    headers = {
        "Accept": "*/*",  # anything narrower is answered 406
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Protocol": _PROTOCOL,
    }
    with session.upgraded(requests.port_forward(namespace, pod, port), headers) as response:
        stream = Tunnel(response.extensions["network_stream"], pod)
        try:
            yield stream
        finally:
            stream.close()

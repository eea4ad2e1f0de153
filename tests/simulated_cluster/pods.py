"""What a pod answers on its ports, and the WebSocket over which port-forward reaches it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import h11
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection

ADMIN = 8081


@dataclass
class Release:
    """What the model of a release answers: value and band by the inputs, as canonical JSON."""

    digest: str
    version: str
    answers: Mapping[str, tuple[Any, str | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


def key(inputs: Mapping[str, Any]) -> str:
    return json.dumps(inputs, sort_keys=True)


def answer(
    asked: Asked, port: int, release: Release, what: str, credential: str, ready: bool
) -> tuple[int, dict[str, Any]]:
    """Status and document, as the runtime gives them; ``what`` is what is wrong with the pod."""
    if port == ADMIN:
        reason = {
            "fails its golden replay": "golden-mismatch",
            "is not what was validated": "integrity",
            "never gets ready": "recorder-unavailable",
        }.get(what, "ready" if ready else "verifying")
        return (200 if reason == "ready" else 503), {"status": "failed", "reason": reason, "ready": reason == "ready"}
    if credential and asked.headers.get("authorization") != f"Bearer {credential}":
        return 401, {"code": "unauthorized"}
    digest = f"sha256:{'0' * 64}" if what == "answers as another release" else release.digest
    said = {"name": "icu-test", "version": release.version, "digest": digest}
    if asked.path == "/model":
        return 200, said
    inputs = json.loads(asked.body)["inputs"]
    value, band = release.answers[key(inputs)]
    if what == "answers otherwise":
        value = value + 0.25 if isinstance(value, int | float) else f"not {value}"
    return 200, {"id": "1", "release": said, "predictions": [{"value": value, "band": band, "flags": []}]}


class Forwarded:
    """The server's side of one port-forward: frames in, frames out."""

    def __init__(self, port: int) -> None:
        self._socket = Connection(ConnectionType.SERVER)
        self._http = h11.Connection(h11.SERVER)
        self._port = port
        self.closed = False

    def begin(self) -> bytes:
        """The first message of each channel: the port."""
        port = self._port.to_bytes(2, "little")
        return self._send(b"\x00" + port) + self._send(b"\x01" + port)

    def receive(self, data: bytes) -> Asked | None:
        """Take bytes of the wire; a whole request, once there is one."""
        self._socket.receive_data(data)
        message = bytearray()
        for event in self._socket.events():
            if isinstance(event, BytesMessage):
                message += event.data
                if event.message_finished:
                    self._http.receive_data(bytes(message[1:]))
                    message.clear()
            elif isinstance(event, CloseConnection):
                self.closed = True
        return self._request()

    def reply(self, status: int, document: Mapping[str, Any]) -> bytes:
        body = json.dumps(document).encode()
        head = h11.Response(status_code=status, headers=[("Content-Length", str(len(body))), ("Connection", "close")])
        parts = [self._http.send(head), self._http.send(h11.Data(data=body)), self._http.send(h11.EndOfMessage())]
        return b"".join(self._send(b"\x00" + part) for part in parts if part) + self.end()

    def refuse(self, text: str) -> bytes:
        """What a kubelet says that finds no way to the port."""
        return self._send(b"\x01" + text.encode()) + self.end()

    def end(self) -> bytes:
        return self._socket.send(CloseConnection(code=1000))

    def _send(self, data: bytes) -> bytes:
        return self._socket.send(BytesMessage(data=data))

    def _request(self) -> Asked | None:
        head: h11.Request | None = getattr(self, "_head", None)
        body: bytearray = getattr(self, "_body", bytearray())
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                head, body = event, bytearray()
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                headers = {name.decode().lower(): value.decode() for name, value in head.headers}
                return Asked(head.method.decode(), head.target.decode(), headers, bytes(body))
            else:
                self._head, self._body = head, body
                return None

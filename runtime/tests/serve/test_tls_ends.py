"""How a connection over TLS ends, record by record: the client's last words come in the same bytes as its requests."""

import contextlib
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("cryptography", reason="the authorities of these tests are made with it")

from bypasses import BODY, request
from served import ENGINES, QUICK, Served, Switchable, loaded, serving
from test_tls import Place
from wire import statuses

from bedside_runtime.audit.reading import judge, paths
from bedside_runtime.audit.verify import Verdict
from bedside_runtime.contract import Audit, EngineName, Tls
from bedside_runtime.serve.connection import Connection

SPEAKING = msgspec.structs.replace(QUICK, tls=Tls())
MANY = 40
"""Requests that no turn takes together."""


class Spoken:
    """A client's side of a connection, whose records leave when they are told to."""

    def __init__(self, place: Place, server: Served, version: ssl.TLSVersion) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = place.context(minimum_version=version, maximum_version=version)
        self._tls = context.wrap_bio(self._in, self._out, server_hostname="127.0.0.1")
        self.socket = socket.create_connection(("127.0.0.1", server.port), 20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.was_reset = False
        self.ended_in_order = False  # the server has said close_notify too
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self.send(self._out.read())
                self._in.write(self.socket.recv(65_536))
            else:
                self.send(self._out.read())
                return

    def send(self, records: bytes) -> None:
        self.socket.sendall(records)

    def says(self, data: bytes) -> bytes:
        """The records of ``data``."""
        self._tls.write(data)
        return self._out.read()

    def goodbye(self) -> bytes:
        """The record of close_notify."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        return self._out.read()

    def answered(self) -> list[int]:
        """The statuses of all that comes until the server ends the connection."""
        return statuses(self.rest())

    def rest(self) -> bytes:
        received = b""
        try:
            while data := self.socket.recv(65_536):
                self._in.write(data)
        except ConnectionResetError:
            self.was_reset = True
        try:
            while data := self._tls.read(65_536):
                received += data
        except ssl.SSLZeroReturnError:
            pass
        except ssl.SSLWantReadError:
            return received
        self.ended_in_order = not self.was_reset
        return received

    def first(self) -> bytes:
        """What has come when the first of it has."""
        while True:
            try:
                return self._tls.read(65_536)
            except ssl.SSLWantReadError:
                self._in.write(self.socket.recv(65_536))

    def reset(self) -> None:
        """End the connection without a word."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("place"))


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> EngineName:
    return request.param  # type: ignore[no-any-return] # one of the engines


@pytest.fixture(params=["recorded", "unrecorded"])
def audit(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Audit | None:
    (tmp_path / "audit-hmac.key").write_text("ab" * 32)
    monkeypatch.setenv("BEDSIDE_AUDIT_KEYS", str(tmp_path))
    monkeypatch.setenv("BEDSIDE_AUDIT_DIRECTORY", str(tmp_path / "log"))
    monkeypatch.setenv("POD_NAME", "pod")
    return Audit() if request.param == "recorded" else None


class Asked(Switchable):
    """Counts the rows it was asked for; the golden case of the self-checks is not one of them."""

    rows = 0

    def predict(self, rows: Any) -> Any:
        self.rows += sum(row[0] != 63 for row in rows)
        return super().predict(rows)


@pytest.fixture
def model() -> Asked:
    return Asked()


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set once the server knows that a connection has ended."""
    known, knows = threading.Event(), Connection.connection_lost

    def connection_lost(connection: Connection, why: Exception | None) -> None:
        knows(connection, why)
        known.set()

    monkeypatch.setattr(Connection, "connection_lost", connection_lost)
    return known


@pytest.fixture
def server(place: Place, engine: EngineName, audit: Audit | None, model: Asked) -> Iterator[Served]:
    made = loaded(model, SPEAKING, engine)
    made = msgspec.structs.replace(made, contract=msgspec.structs.replace(made.contract, audit=audit))
    with serving(made, keys=place.keys) as served:
        yield served


@pytest.fixture(params=["TLSv1_2", "TLSv1_3"])
def client(request: pytest.FixtureRequest, server: Served, place: Place) -> Iterator[Spoken]:
    spoken = Spoken(place, server, getattr(ssl.TLSVersion, request.param))
    with contextlib.closing(spoken.socket):
        yield spoken


PATIENT = request(body=BODY.replace(b"63", b"62"))


def recorded(tmp_path: Path) -> int:
    """How many predictions stand in the log, which is whole."""
    directory = tmp_path / "log" / "pod"
    assert judge(directory).verdict is Verdict.INTACT
    lines = [line for path in paths(directory) for line in path.read_bytes().splitlines()]
    return sum(json.loads(line)["body"]["kind"] == "prediction" for line in lines)


def ends(server: Served, audit: Audit | None, tmp_path: Path, *, begun: int) -> None:
    """Assert that the server goes on as if nothing had been, and that the log has what was begun."""
    assert server.stop() == 0
    assert not [event for event in server.events() if event["level"] != "info" or event["event"] == "http-server"]
    if audit is not None:
        assert recorded(tmp_path) == begun


def begins(model: Asked) -> None:
    """Wait until the model has been asked."""
    deadline = time.monotonic() + 60
    while not model.rows and time.monotonic() < deadline:
        time.sleep(0.01)
    assert model.rows


@pytest.mark.parametrize("requests", [1, MANY])
def test_what_is_asked_together_with_close_notify_is_not_begun(
    client: Spoken, server: Served, model: Asked, audit: Audit | None, tmp_path: Path, requests: int
) -> None:
    """Over TCP a half can be closed; asyncio's TLS, and uvloop's, end both."""
    client.send(client.says(PATIENT * requests) + client.goodbye())
    assert client.answered() == []
    assert client.ended_in_order
    ends(server, audit, tmp_path, begun=0)
    assert model.rows == 0


def test_what_was_answered_before_close_notify_was_answered(
    client: Spoken, server: Served, audit: Audit | None, tmp_path: Path
) -> None:
    client.send(client.says(PATIENT))
    assert statuses(client.first()) == [200]
    client.send(client.goodbye())
    assert client.answered() == []
    assert client.ended_in_order
    ends(server, audit, tmp_path, begun=1)


def test_a_prediction_that_has_begun_is_recorded_though_close_notify_comes_before_its_answer(
    client: Spoken, server: Served, model: Asked, audit: Audit | None, tmp_path: Path
) -> None:
    model.gate.clear()
    client.send(client.says(PATIENT))
    begins(model)
    client.send(client.goodbye())
    assert client.answered() == []
    assert client.ended_in_order
    model.gate.set()
    ends(server, audit, tmp_path, begun=1)


def test_close_notify_behind_bytes_that_wait_for_their_turn_waits_too(
    client: Spoken, server: Served, model: Asked, audit: Audit | None, tmp_path: Path
) -> None:
    model.gate.clear()
    client.send(client.says(PATIENT * MANY))
    begins(model)
    client.send(client.goodbye())
    time.sleep(0.1)  # in which it arrives; nothing rests on it
    model.gate.set()
    assert client.answered() == [200] * MANY
    assert client.ended_in_order
    ends(server, audit, tmp_path, begun=MANY)
    assert model.rows == MANY


@pytest.mark.parametrize("how", ["end", "reset"])
def test_a_connection_that_breaks_off_without_close_notify_takes_what_waits_along(
    client: Spoken, server: Served, model: Asked, audit: Audit | None, tmp_path: Path, lost: threading.Event, how: str
) -> None:
    """What was cut off on the way looks like this: nothing of it is begun any more."""
    model.gate.clear()
    client.send(client.says(PATIENT * MANY))
    begins(model)
    if how == "end":
        client.socket.shutdown(socket.SHUT_WR)
        assert client.answered() == []
    else:
        client.reset()
    assert lost.wait(60)
    model.gate.set()
    ends(server, audit, tmp_path, begun=1)
    assert model.rows == 1

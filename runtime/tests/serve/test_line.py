"""Who waits in line and who does not: connections on a wire in memory, every turn of the loop counted."""

import asyncio
import contextlib
import http.client
import io
import itertools
import json
from collections.abc import Coroutine
from typing import Any

import pytest
from served import PATIENT, serving
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from bedside_runtime.serve import server as process
from bedside_runtime.serve.auth.gate import Open
from bedside_runtime.serve.connection import Connection, protocol
from bedside_runtime.serve.entrance import configuration
from bedside_runtime.serve.lifecycle import Lifecycle
from bedside_runtime.serve.line import Line
from bedside_runtime.serve.logs import EventLog
from bedside_runtime.serve.metrics import Metrics
from bedside_runtime.serve.predicting import Predictions
from bedside_runtime.serve.wall import Wall

DOCUMENT = b"GET /openapi.json HTTP/1.1\r\nhost: h\r\n\r\n"
PROBE = b"GET /livez HTTP/1.1\r\nhost: h\r\n\r\n"
PREDICTION = b"POST /predict HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n{}"
MANY = 20


class Unaudited:
    detail = "none"
    unrecorded = 0


class Wire(asyncio.Transport):
    """A transport whose other end is the test."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.reads = True
        self.closed = False
        self.high: int | None = None

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def can_write_eof(self) -> bool:
        return True


class Port:
    """One port, its connections, and what its application was asked: the paths, each with the turn of the loop."""

    def __init__(self) -> None:
        metrics = Metrics(lambda: True, Unaudited())
        self.wall = Wall(Predictions(Lifecycle(), metrics, EventLog(io.StringIO())), metrics, Open())
        self.asked: list[tuple[str, int]] = []
        self.turn = 0
        self.state = ServerState()

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            self.asked.append((scope["path"], self.turn))
            await Response(b"{}")(scope, receive, send)

        self._config = configuration(application, self.wall)
        self._config.load()
        self._count()

    def _count(self) -> None:
        self.turn += 1
        asyncio.get_running_loop().call_soon(self._count)

    def connection(self) -> tuple[Connection, Wire]:
        made, wire = protocol(self.wall)(self._config, self.state, {}), Wire()
        made.connection_made(wire)
        return made, wire

    async def idle(self, turns: int = 200) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def test_steps_are_taken_in_order_and_a_turn_is_free_after_each() -> None:
    async def main() -> None:
        line, taken = Line(), []
        for number in range(5):
            line.join(lambda number=number: taken.append(number))  # type: ignore[misc] # mypy and lambdas
        seen = []
        for _ in range(12):
            await asyncio.sleep(0)
            seen.append(len(taken))
        assert taken == [0, 1, 2, 3, 4]
        assert seen[:10] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]

    run(main())


def test_a_step_that_fails_holds_nobody_up() -> None:
    async def main() -> None:
        failed: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failed.append(context["exception"]))
        line, taken = Line(), []
        line.join(lambda: 1 // 0)  # type: ignore[arg-type] # fails before it returns
        line.join(lambda: taken.append(1))
        for _ in range(6):
            await asyncio.sleep(0)
        line.join(lambda: taken.append(2))
        for _ in range(6):
            await asyncio.sleep(0)
        assert taken == [1, 2]
        assert [type(error) for error in failed] == [ZeroDivisionError]

    run(main())


def test_documents_are_answered_one_every_other_turn() -> None:
    async def main() -> None:
        port = Port()
        for connection, _ in [port.connection() for _ in range(MANY)]:
            connection.data_received(DOCUMENT)
        await port.idle()
        turns = [turn for _, turn in port.asked]
        assert len(turns) == MANY
        assert min(after - before for before, after in itertools.pairwise(turns)) == 2

    run(main())


@pytest.mark.parametrize("asked", [PREDICTION, PROBE], ids=["prediction", "probe"])
def test_predictions_and_probes_are_answered_before_documents_that_wait(asked: bytes) -> None:
    async def main() -> None:
        port = Port()
        for connection, _ in [port.connection() for _ in range(MANY)]:
            connection.data_received(DOCUMENT)
        quick, wire = port.connection()
        quick.data_received(asked)
        await port.idle(4)
        assert wire.written
        assert port.paths.count("/openapi.json") <= 2

    run(main())


def test_who_asked_for_a_document_is_not_even_parsed_before_the_others_had_their_turn() -> None:
    async def main() -> None:
        port = Port()
        connection, wire = port.connection()
        connection.data_received(DOCUMENT)
        await port.idle()
        others = [port.connection()[0] for _ in range(MANY)]
        for other in others:
            other.data_received(DOCUMENT)
        begun = connection.cycle
        connection.data_received(DOCUMENT)
        assert not wire.reads
        await port.idle(MANY)  # half of them
        assert connection.cycle is begun
        await port.idle()
        assert wire.reads
        assert len(port.asked) == MANY + 2

    run(main())


def test_who_asks_for_predictions_again_has_left_the_line() -> None:
    async def main() -> None:
        port = Port()
        connection, wire = port.connection()
        connection.data_received(DOCUMENT)
        await port.idle()
        connection.data_received(PREDICTION)
        await port.idle()
        wire.written.clear()
        connection.data_received(PREDICTION)
        assert wire.reads
        assert wire.written

    run(main())


def test_documents_between_predictions_wait_in_line_too() -> None:
    async def main() -> None:
        port = Port()
        wires = []
        for connection, wire in [port.connection() for _ in range(MANY)]:
            connection.data_received(DOCUMENT * 2 + PREDICTION)
            wires.append(wire)
        await port.idle()
        turns = [turn for _, turn in port.asked]
        assert len(turns) == 2 * MANY
        assert min(after - before for before, after in itertools.pairwise(turns)) == 2
        assert {b"".join(wire.written).count(b"HTTP/1.1 ") for wire in wires} == {3}

    run(main())


@pytest.mark.parametrize("first", [DOCUMENT, PREDICTION], ids=["document", "prediction"])
def test_of_a_client_that_does_not_read_nothing_more_is_parsed_until_it_does(first: bytes) -> None:
    async def main() -> None:
        port = Port()
        connection, wire = port.connection()
        connection.data_received(first)
        await port.idle()
        connection.data_received(DOCUMENT * 100)  # held: too much for one turn, or in line
        begun = connection.cycle
        connection.pause_writing()
        await port.idle()
        met = connection.cycle, wire.reads
        connection.resume_writing()
        await port.idle(2_000)
        assert met == (begun, False)
        assert port.paths.count("/openapi.json") >= 100

    run(main())


def test_little_is_kept_for_a_client_that_does_not_read() -> None:
    async def main() -> None:
        _, wire = Port().connection()
        assert wire.high is not None
        assert wire.high <= 16_384

    run(main())


def test_what_waits_in_line_when_the_process_ends_is_still_answered() -> None:
    async def main() -> None:
        port = Port()
        connection, wire = port.connection()
        connection.data_received(DOCUMENT)
        await port.idle()
        connection.data_received(DOCUMENT)
        port.wall.closing = True
        connection.shutdown()
        assert not wire.closed
        await port.idle()
        assert len(port.asked) == 2
        assert b"connection: close" in b"".join(wire.written)
        assert wire.closed

    run(main())


def test_hundreds_of_connections_are_asked_in_turns_whether_their_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        port, turns = Port(), []
        monkeypatch.setattr(process, "SWEEP_SECONDS", 0.0)
        monkeypatch.setattr(Connection, "sweep", lambda _connection, _now: turns.append(port.turn))
        for _ in range(100):
            port.connection()

        class Swept:
            server_state = port.state

        sweeping = asyncio.create_task(process._sweep([Swept()]))  # type: ignore[list-item] # only its state
        while len(turns) < 100:
            await asyncio.sleep(0)
        sweeping.cancel()
        assert max(turns.count(turn) for turn in turns) <= 8

    run(main())


def test_a_kept_connection_asks_for_documents_sends_large_bodies_and_asks_for_predictions() -> None:
    body = json.dumps({"inputs": PATIENT}).encode()
    with serving() as server, contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, 30)) as kept:
        said = []
        for method, path, sent in [
            ("GET", "/openapi.json", None),
            ("GET", "/model", None),
            ("POST", "/nowhere", bytes(500_000)),
            ("POST", "/%70redict", body),
            ("POST", "/predict", body),
            ("GET", "/livez", None),
        ]:
            kept.request(method, path, sent, {"content-type": "application/json"})
            answer = kept.getresponse()
            answer.read()
            said.append(answer.status)
        assert said == [200, 200, 404, 200, 200, 200]

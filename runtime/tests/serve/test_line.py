"""Who waits in line and who does not: connections on a wire in memory, whose loop takes at most one step a turn."""

import asyncio
import contextlib
import http.client
import io
import itertools
import json
import math
from collections.abc import Coroutine
from functools import partial
from typing import Any

import pytest
from served import PATIENT, serving
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from bedside_runtime.serve import event_loop
from bedside_runtime.serve import server as process
from bedside_runtime.serve.auth.gate import Open
from bedside_runtime.serve.connection import Connection, protocol
from bedside_runtime.serve.entrance import configuration
from bedside_runtime.serve.lifecycle import Lifecycle
from bedside_runtime.serve.line import REST_SECONDS, Line
from bedside_runtime.serve.logs import EventLog
from bedside_runtime.serve.metrics import Metrics
from bedside_runtime.serve.predicting import Predictions
from bedside_runtime.serve.wall import Wall

DOCUMENT = b"GET /openapi.json HTTP/1.1\r\nhost: h\r\n\r\n"
PROBE = b"GET /livez HTTP/1.1\r\nhost: h\r\n\r\n"
PREDICTION = b"POST /predict HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n{}"
LARGE = b"POST /predict HTTP/1.1\r\nhost: h\r\ncontent-length: 5000\r\n\r\n" + b" " * 5000
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
    """One port, its connections, and what its application was asked: the paths, each with turn and time of the loop."""

    def __init__(self) -> None:
        metrics = Metrics(lambda: True, Unaudited())
        self.wall = Wall(Predictions(Lifecycle(), metrics, EventLog(io.StringIO())), metrics, Open())
        self.asked: list[tuple[str, int, float]] = []
        self.turn = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.state = ServerState()

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            self.asked.append((scope["path"], self.turn, asyncio.get_running_loop().time()))
            await self.may_answer.wait()
            await Response(b"{}")(scope, receive, send)

        self._config = configuration(application, self.wall)
        self._config.load()
        self._began = asyncio.get_running_loop().time()
        self._count()

    def _count(self) -> None:
        self.turn += 1
        asyncio.get_running_loop().call_soon(self._count)

    def connection(self) -> tuple[Connection, Wire]:
        made, wire = protocol(self.wall)(self._config, self.state, {}), Wire()
        made.connection_made(wire)
        return made, wire

    async def turns(self, number: int) -> None:
        for _ in range(number):
            await asyncio.sleep(0)

    async def answered(self, documents: int) -> None:
        """Wait until so many were asked for, and nothing waits any more."""
        async with asyncio.timeout(60):
            while len(self.asked) < documents or self.wall.line.moves:
                await asyncio.sleep(0)

    @property
    def paths(self) -> list[str]:
        return [path for path, _, _ in self.asked]

    @property
    def lasted(self) -> float:
        """Seconds from the beginning until the last was asked for."""
        return self.asked[-1][2] - self._began


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a busy machine takes for a look at the sockets, another one may follow: turns are counted here."""
    monkeypatch.setattr("bedside_runtime.serve.turn._LONGEST", math.inf)


def run(test: Coroutine[Any, Any, None]) -> None:
    event_loop.run(test)


async def emptied(line: Line) -> None:
    async with asyncio.timeout(20):
        while line.moves:
            await asyncio.sleep(0.001)


def test_steps_are_taken_in_order_and_the_loop_is_left_to_others_after_each() -> None:
    async def main() -> None:
        line, taken, times = Line(), [], []
        loop = asyncio.get_running_loop()

        def step(number: int) -> None:
            taken.append(number)
            times.append(loop.time())

        for number in range(5):
            line.join(partial(step, number))
        assert not taken
        await emptied(line)
        assert taken == [0, 1, 2, 3, 4]
        assert min(after - before for before, after in itertools.pairwise(times)) > 0.9 * REST_SECONDS

    run(main())


def test_a_step_that_fails_holds_nobody_up() -> None:
    async def main() -> None:
        failed: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failed.append(context["exception"]))
        line, taken = Line(), []
        line.join(lambda: 1 // 0)  # type: ignore[arg-type] # fails before it returns
        line.join(lambda: taken.append(1))
        await emptied(line)
        line.join(lambda: taken.append(2))
        await emptied(line)
        assert taken == [1, 2]
        assert [type(error) for error in failed] == [ZeroDivisionError]

    run(main())


def test_documents_are_answered_one_after_the_other_with_a_rest_between_them() -> None:
    async def main() -> None:
        port = Port()
        for connection, _ in [port.connection() for _ in range(MANY)]:
            connection.data_received(DOCUMENT)
        await port.answered(MANY)
        assert len({turn for _, turn, _ in port.asked}) == MANY
        assert port.lasted > 0.9 * (MANY - 1) * REST_SECONDS

    run(main())


def test_who_has_gone_away_makes_nobody_wait_and_is_recorded_where_that_is_due() -> None:
    async def main() -> None:
        port = Port()
        posted = b"POST /nowhere HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n"
        gone = [port.connection() for _ in range(MANY)]
        for (connection, _), asked in zip(gone, [DOCUMENT, posted, *[DOCUMENT * 2] * (MANY - 2)], strict=True):
            connection.data_received(asked)
        await port.turns(2)  # a look at the sockets, and the turn in which all are parsed
        for connection, wire in gone:
            wire.closed = True
            connection.connection_lost(None)
        staying, _ = port.connection()
        staying.data_received(DOCUMENT.replace(b"openapi.json", b"model"))
        await port.answered(2)
        assert port.paths == ["/nowhere", "/model"]

    run(main())


@pytest.mark.parametrize("asked", [PREDICTION, PROBE], ids=["prediction", "probe"])
def test_predictions_and_probes_are_answered_before_documents_that_wait(asked: bytes) -> None:
    async def main() -> None:
        port = Port()
        for connection, _ in [port.connection() for _ in range(MANY)]:
            connection.data_received(DOCUMENT)
        quick, wire = port.connection()
        quick.data_received(asked)
        await port.turns(4)
        assert wire.written
        assert port.paths.count("/openapi.json") <= 4

    run(main())


def test_who_asked_for_a_document_is_not_even_parsed_before_the_others_had_their_turn() -> None:
    async def main() -> None:
        port = Port()
        connection, wire = port.connection()
        connection.data_received(DOCUMENT)
        await port.answered(1)
        others = [port.connection()[0] for _ in range(MANY)]
        for other in others:
            other.data_received(DOCUMENT)
        await port.turns(2)
        begun = connection.cycle
        connection.data_received(DOCUMENT)
        assert not wire.reads
        await port.turns(MANY - 1)
        assert connection.cycle is begun
        await port.answered(MANY + 2)
        assert wire.reads
        assert len(port.asked) == MANY + 2

    run(main())


@pytest.mark.parametrize("asked", [PREDICTION, PROBE, LARGE], ids=["prediction", "probe", "large prediction"])
def test_who_asked_for_a_document_is_answered_what_is_urgent_before_others_had_their_turn(asked: bytes) -> None:
    async def main() -> None:
        port = Port()
        connection, wire = port.connection()
        connection.data_received(DOCUMENT)
        await port.answered(1)
        wire.written.clear()
        for other, _ in [port.connection() for _ in range(MANY)]:
            other.data_received(DOCUMENT)
        connection.data_received(asked)
        await port.turns(8)
        assert wire.written
        assert port.paths.count("/openapi.json") <= 8

    run(main())


def test_who_asks_for_predictions_again_has_left_the_line() -> None:
    async def main() -> None:
        port = Port()
        connection, wire = port.connection()
        connection.data_received(DOCUMENT)
        await port.answered(1)
        connection.data_received(PREDICTION)
        await port.answered(1)
        wire.written.clear()
        connection.data_received(PREDICTION)
        assert wire.reads
        await port.turns(2)
        assert wire.written

    run(main())


def test_documents_between_predictions_wait_in_line_too() -> None:
    async def main() -> None:
        port = Port()
        wires = []
        for connection, wire in [port.connection() for _ in range(MANY)]:
            connection.data_received(DOCUMENT * 2 + PREDICTION)
            wires.append(wire)
        await port.answered(2 * MANY)
        assert port.lasted > 0.9 * (2 * MANY - 1) * REST_SECONDS
        assert {b"".join(wire.written).count(b"HTTP/1.1 ") for wire in wires} == {3}

    run(main())


@pytest.mark.parametrize("first", [DOCUMENT, PREDICTION], ids=["document", "prediction"])
def test_of_a_client_that_does_not_read_nothing_more_is_parsed_until_it_does(first: bytes) -> None:
    async def main() -> None:
        port = Port()
        connection, wire = port.connection()
        connection.data_received(first)
        await port.answered(first == DOCUMENT)
        connection.data_received(DOCUMENT * 100)  # held: too much for one turn, or in line
        begun = connection.cycle
        connection.pause_writing()
        await emptied(port.wall.line)
        await port.turns(20)
        met = connection.cycle, wire.reads
        connection.resume_writing()
        await port.answered(100)
        assert met == (begun, False)

    run(main())


def test_little_is_kept_for_a_client_that_does_not_read() -> None:
    async def main() -> None:
        _, wire = Port().connection()
        assert wire.high is not None
        assert wire.high <= 16_384

    run(main())


def test_of_a_body_that_the_application_does_not_read_no_more_is_kept_than_a_body_may_have() -> None:
    async def main() -> None:
        port = Port()
        port.may_answer.clear()
        connection, wire = port.connection()
        connection.data_received(b"POST /nowhere HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n")
        await port.answered(1)
        sent, chunk = 0, b"10000\r\n" + bytes(65_536) + b"\r\n"
        while not wire.written and sent < 2 * port.wall.limits.max_body:
            connection.data_received(chunk)
            sent += len(chunk)
            await emptied(port.wall.line)
        assert b"".join(wire.written).startswith(b"HTTP/1.1 413 ")
        port.may_answer.set()
        await port.turns(20)
        assert b"".join(wire.written).count(b"HTTP/1.1 ") == 1

    run(main())


def test_what_waits_in_line_when_the_process_ends_is_still_answered() -> None:
    async def main() -> None:
        port = Port()
        connection, wire = port.connection()
        connection.data_received(DOCUMENT)
        await port.answered(1)
        connection.data_received(DOCUMENT)
        port.wall.closing = True
        connection.shutdown()
        assert not wire.closed
        await port.answered(2)
        await port.turns(20)
        assert b"connection: close" in b"".join(wire.written)
        assert wire.closed

    run(main())


def test_what_came_with_the_end_of_the_input_is_answered() -> None:
    async def main() -> None:
        port = Port()
        connection, wire = port.connection()
        connection.data_received(PREDICTION)
        assert connection.eof_received()
        await port.turns(4)
        assert b"".join(wire.written).startswith(b"HTTP/1.1 ")

    run(main())


@pytest.mark.parametrize("behind", [b"", DOCUMENT, PREDICTION], ids=["nothing", "a document", "a prediction"])
def test_of_a_connection_that_is_lost_before_its_answer_nothing_is_answered(behind: bytes) -> None:
    async def main() -> None:
        port = Port()
        port.may_answer.clear()
        connection, wire = port.connection()
        connection.data_received(DOCUMENT + behind)
        await port.answered(1)
        await port.turns(4)
        wire.closed = True
        connection.connection_lost(None)
        port.may_answer.set()
        await port.turns(8)
        assert len(port.paths) == 1
        assert wire.written == []

    run(main())


def test_of_a_connection_that_is_lost_before_its_turn_nothing_is_parsed() -> None:
    async def main() -> None:
        port, failed = Port(), []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failed.append(context))
        connection, wire = port.connection()
        connection.data_received(PREDICTION)
        wire.closed = True
        connection.connection_lost(None)
        await port.turns(4)
        assert (failed, wire.written, connection.cycle) == ([], [], None)

    run(main())


def test_whose_bytes_wait_for_their_turn_has_not_been_silent() -> None:
    async def main() -> None:
        port = Port()
        connection, wire = port.connection()
        connection.data_received(PREDICTION)
        connection.sweep(asyncio.get_running_loop().time() + 1e6)
        assert not wire.closed
        await port.turns(4)
        assert b"".join(wire.written).startswith(b"HTTP/1.1 ")

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
        began = asyncio.get_running_loop().time()
        while len(turns) < 100:
            await asyncio.sleep(0)
        sweeping.cancel()
        assert max(turns.count(turn) for turn in turns) <= 8
        assert asyncio.get_running_loop().time() - began > 0.9 * (100 // 8) * REST_SECONDS

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

"""Whoever sends the same head again is answered as if every byte had been parsed."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_turn import HEAD, Recorder, metrics, nobody, patient, predictions_with, quick, request, without_ids
from uvicorn.server import ServerState
from wire import dialled, rest

from bedside_runtime.serve import event_loop, repeats
from bedside_runtime.serve.auth.gate import Open
from bedside_runtime.serve.auth.verdict import ANYBODY, Verdict
from bedside_runtime.serve.connection import Connection, protocol
from bedside_runtime.serve.entrance import configuration
from bedside_runtime.serve.problems import Problem
from bedside_runtime.serve.repeats import Repeats
from bedside_runtime.serve.wall import Wall
from bedside_runtime.service import Entry

TURNS = 12
"""Turns of the loop after which whatever was going to be answered is."""


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closing = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    abort = close

    def can_write_eof(self) -> bool:
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is ever left unread."""

    def pause_reading(self) -> None:
        """What was read is given all the same."""

    def resume_reading(self) -> None:
        """See `pause_reading`."""


def made(wall: Wall) -> tuple[Connection, Wire]:
    wire, factory = Wire(), protocol(wall)
    connection: Any = factory
    connection = connection(config=configuration(nobody, wall), server_state=ServerState(), app_state={})
    connection.connection_made(wire)
    return connection, wire


def port(*, remembers: bool = True, gate: Any = None, recorder: Any = None) -> Wall:
    predictions, _ = predictions_with(recorder or Recorder())
    wall = Wall(predictions, metrics(), gate or Open())
    if not remembers:
        wall.repeats = Forgetful()
    return wall


class Forgetful(Repeats):
    """Has every head parsed."""

    def remember(self, *_: object) -> None:  # type: ignore[override] # whatever it is
        """Remember nothing."""


async def answered(connection: Connection, wire: Wire, piece: bytes) -> bytes:
    wire.written = b""
    connection.data_received(piece)
    for _ in range(TURNS):
        await asyncio.sleep(0)
    return without_ids(wire.written)


def conversation(pieces: Sequence[bytes], wall: Wall) -> list[tuple[bytes, bool]]:
    """Return what is answered to each of ``pieces``, sent on one connection, and whether it ends then."""

    async def scene() -> list[tuple[bytes, bool]]:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # of an application that answers nothing
        connection, wire = made(wall)
        return [(await answered(connection, wire, piece), wire.closing) for piece in pieces if not wire.closing]

    return event_loop.run(scene())


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """Everything that is given to a parser."""
    seen: list[bytes] = []
    parse = Connection._parse

    def noting(self: Connection, data: bytes) -> None:
        seen.append(bytes(data))
        parse(self, data)

    monkeypatch.setattr(Connection, "_parse", noting)
    return seen


USUAL = request(patient())
YOUNG, OLD = request(patient(age=20)), request(patient(age=80))
LENGTH = b"content-length: %d" % len(patient())

ALMOST = [
    USUAL.replace(b"\r\n", b"\n"),
    b"\r\n" + USUAL,
    USUAL + b"\r\n",
    USUAL + USUAL,
    USUAL + USUAL[:30],
    USUAL[:-1],
    USUAL[:-2] + b"}\n" + b"}",
    USUAL.replace(LENGTH, b"%b\r\n%b" % (LENGTH, LENGTH)),
    USUAL.replace(LENGTH, b"content-length: 0"),
    USUAL.replace(LENGTH, LENGTH + b"0"),
    USUAL.replace(LENGTH, b"transfer-encoding: chunked").replace(
        patient(), b"%x\r\n%b\r\n0\r\n\r\n" % (len(patient()), patient())
    ),
    USUAL.replace(LENGTH, LENGTH + b"\r\ntransfer-encoding: chunked"),
    USUAL.replace(LENGTH, LENGTH + b"\r\nexpect: 100-continue"),
    USUAL.replace(LENGTH, LENGTH + b"\r\nconnection: upgrade\r\nupgrade: h2c"),
    USUAL.replace(LENGTH, LENGTH + b"\r\nconnection: close"),
    USUAL.replace(b"HTTP/1.1", b"HTTP/1.0"),
    USUAL.replace(b"HTTP/1.1", b"HTTP/1.0").replace(LENGTH, LENGTH + b"\r\nconnection: keep-alive"),
    USUAL.replace(b"host: h\r\n", b""),
    USUAL.replace(b"host: h", b"host: h\r\nhost: i"),
    USUAL.replace(b"host: h", b"host: h\r\n folded"),
    USUAL.replace(b"host: h", b"host: h\nx: y"),
    USUAL.replace(b"host: h\r\n", b"host: h\n").replace(patient(), b"\r\n\r\n" + patient()[4:]),
    USUAL.replace(b"/predict", b"/predict?a=b"),
    USUAL.replace(b"/predict", b"/v2/models/other/infer"),
    USUAL.replace(b"POST", b"GET"),
    b"GET /livez HTTP/1.1\r\nhost: h\r\n\r\n",
    request(b""),
    request(b"\r\n\r\n"),
    request(b"{"),
    request(patient(nobody=1)),
    request(patient(), **{"x-request-id": "r-1"}),
    request(patient(), **{"content-type": "text/plain"}),
    request(patient(), **{"x-request-deadline-ms": "60000"}),
]
"""Requests that differ from the usual one in one thing, and what is no whole request."""

pieces = st.sampled_from([USUAL, YOUNG, OLD, *ALMOST])
cuts = st.lists(st.integers(0, 300), max_size=2)


talk = st.lists(st.tuples(pieces, st.integers(1, 2), cuts), min_size=1, max_size=4)


@given(st.lists(talk, min_size=1, max_size=3))
def test_answers_are_those_of_somebody_who_parses_everything(
    talks: list[list[tuple[bytes, int, list[int]]]],
) -> None:
    knows, parses = port(), port(remembers=False)
    for sent in talks:
        heard = [part for piece, times, at in sent for _ in range(times) for part in cut(piece, at)]
        assert conversation(heard, knows) == conversation(heard, parses)


@pytest.mark.parametrize("almost", ALMOST, ids=range(len(ALMOST)))
def test_what_is_almost_the_same_is_answered_as_it_would_be(almost: bytes) -> None:
    knows, parses = port(), port(remembers=False)
    for heard in ([almost], [almost, USUAL, almost], [USUAL, almost, USUAL], [almost, almost, YOUNG, OLD]):
        assert conversation(heard, knows) == conversation(heard, parses)


def named(name: str) -> bytes:
    return request(patient(), **{"x-request-id": name})


def cut(piece: bytes, at: Sequence[int]) -> list[bytes]:
    ends = sorted({0, len(piece), *(place for place in at if place < len(piece))})
    return [piece[start:end] for start, end in pairwise(ends)]


def test_a_head_that_came_before_is_not_parsed_again(parsed: list[bytes]) -> None:
    assert all(b"200 OK" in answer for answer, _ in conversation([USUAL, YOUNG, OLD, USUAL], port()))
    assert parsed == [USUAL]


def test_the_same_head_is_known_on_every_connection_of_a_port(parsed: list[bytes]) -> None:
    wall = port()
    conversation([USUAL], wall)
    assert b"200 OK" in conversation([OLD], wall)[0][0]
    assert parsed == [USUAL]


def test_a_body_of_another_length_is_not_taken_for_the_same(parsed: list[bytes]) -> None:
    longer = USUAL + b" "
    assert conversation([USUAL, longer], port()) == conversation([USUAL, longer], port(remembers=False))
    assert longer in parsed


class Counting:
    """A gate that lets in only so often, and notes what it is told."""

    def __init__(self, most: int) -> None:
        self.left = most
        self.told: list[tuple[Any, ...]] = []

    def decide(self, *told: object) -> Verdict:
        self.told.append(told)
        self.left -= 1
        return ANYBODY if self.left >= 0 else Verdict(refusal=Problem("unauthenticated"))


def test_whether_a_request_may_go_on_is_decided_each_time() -> None:
    gate = Counting(2)
    said = conversation([USUAL] * 4, port(gate=gate))
    assert [answer[9:12] for answer, _ in said] == [b"200", b"200", b"401", b"401"]
    assert gate.told == [gate.told[0]] * 4
    method, target, fields, _ = gate.told[0]
    assert (method, target) == (b"POST", b"/predict")
    assert (b"host", b"h") in fields


def test_a_limit_that_the_release_brings_counts_for_heads_that_came_before() -> None:
    wall = port()
    conversation([USUAL], wall)
    wall.limits = msgspec.structs.replace(wall.limits, max_body=10)
    assert b" 413 " in conversation([USUAL], wall)[0][0]


def test_a_process_that_ends_says_so_to_whoever_sends_the_same_head() -> None:
    wall = port()
    conversation([USUAL], wall)
    wall.closing = True
    ((answer, ends),) = conversation([USUAL], wall)
    assert b"200 OK" in answer
    assert ends


class Held(Recorder):
    """Durable when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.durable = asyncio.Event()

    async def record(self, entries: Sequence[Entry]) -> None:
        await super().record(entries)
        await self.durable.wait()


def test_one_that_comes_before_another_is_answered_is_answered_after_it() -> None:
    async def scene() -> tuple[list[bytes], bytes]:
        held = Held()
        connection, wire = made(port(recorder=held))
        connection.wall.repeats.remember(OLD, patient(age=80), ("/predict", None), b"/predict", [], HEAD)
        waiting = [await answered(connection, wire, piece) for piece in (named("a"), OLD, named("b"))]
        held.durable.set()
        return waiting, await answered(connection, wire, b"")

    waiting, said = event_loop.run(scene())
    assert waiting == [b""] * 3
    assert [part[:3] for part in said.split(b"HTTP/1.1 ")[1:]] == [b"200"] * 3
    assert said.index(b"x-request-id: a") < said.index(b"x-request-id: -") < said.index(b"x-request-id: b")


def test_a_connection_that_waits_for_its_answer_is_not_idle() -> None:
    async def scene() -> list[bool]:
        held = Held()
        held.durable.set()
        connection, wire = made(port(recorder=held))
        await answered(connection, wire, USUAL)
        held.durable.clear()
        await answered(connection, wire, USUAL)
        for now in (1e9, 2e9):
            connection.sweep(now)
        waits = wire.closing
        held.durable.set()
        await answered(connection, wire, b"")
        for now in (3e9, 4e9):
            connection.sweep(now)
        return [waits, wire.closing]

    assert event_loop.run(scene()) == [False, True]


@pytest.mark.parametrize(
    "last",
    [
        USUAL.replace(LENGTH, LENGTH + b"\r\nconnection: close"),
        USUAL.replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
    ids=["close", "1.0"],
)
def test_what_comes_behind_the_last_request_of_a_connection_is_refused_as_by_the_parser(last: bytes) -> None:
    async def scene(*, remembers: bool) -> tuple[object, ...]:
        held = Held()
        wall = port(recorder=held, remembers=remembers)
        held.durable.set()
        await answered(*made(wall), USUAL)
        held.durable.clear()
        connection, wire = made(wall)
        said = [await answered(connection, wire, piece) for piece in (last, USUAL)]
        state = len(connection.pipeline), connection.flow.read_paused, connection._refused is not None
        held.durable.set()
        return *said, await answered(connection, wire, b""), *state, wire.closing

    assert event_loop.run(scene(remembers=True)) == event_loop.run(scene(remembers=False))


def test_what_stood_behind_a_body_does_not_count_for_the_head_that_follows() -> None:
    chunked = USUAL.replace(LENGTH, b"transfer-encoding: chunked").removesuffix(patient())
    trailers = [b"x: %b\r\n" % (b"a" * 1_000)] * 20
    long = USUAL.replace(b"host: h", b"host: h\r\nx: " + b"a" * 16_000)
    heard = [chunked, b"%x\r\n%b\r\n0\r\n" % (len(patient()), patient()), *trailers, b"\r\n"]
    for between in ([], [USUAL]):
        said = conversation([USUAL, *heard, *between, *cut(long, range(0, 16_000, 1_000))], port())
        assert [answer[9:12] for answer, _ in said if answer] == [b"200"] * (3 + len(between))


def test_what_began_in_another_piece_is_no_head() -> None:
    wall = port()
    conversation([USUAL[:9], USUAL[9:]], wall)
    assert b" 400 " in conversation([USUAL[9:]], wall)[0][0]


def test_of_two_requests_in_one_piece_the_first_is_not_taken_for_the_second() -> None:
    usual, other = named("a"), named("b").replace(b"/predict", b"/v2/models/none/infer")
    for heard in ([usual + other, usual], [other + usual, other]):
        assert conversation(heard, port()) == conversation(heard, port(remembers=False))


@pytest.mark.parametrize(
    "head",
    [
        b"POST /predict HTTP/1.1\nhost: h\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nhost: h\n\r\n",
        b"POST /predict HTTP/1.1\r\nhost: h\r\n\r\n ",
        b"POST /predict HTTP/1.1\r\nhost: h\r\n",
    ],
)
def test_what_does_not_end_as_it_should_is_not_remembered(head: bytes) -> None:
    known = Repeats()
    known.remember(head + b"{}", b"{}", ("/predict", None), b"/predict", [], {b"host": b"h"})
    assert not known._known


@pytest.mark.parametrize("name", [b"expect", b"transfer-encoding"])
def test_what_asks_for_more_than_an_answer_is_not_remembered(name: bytes) -> None:
    known = Repeats()
    known.remember(USUAL, patient(), ("/predict", None), b"/predict", [], {name: b"x"})
    assert not known._known
    known.remember(USUAL, patient(), ("/predict", None), b"/predict", [], {b"x": b"x"})
    assert known.find(USUAL) is not None


def test_heads_are_forgotten_before_they_are_many() -> None:
    known = Repeats()
    for number in range(3 * repeats._MOST):
        data = request(b"{}", **{"x-number": str(number)})
        known.remember(data, b"{}", ("/predict", None), b"/predict", [], {b"content-length": b"2"})
        assert known.find(data) is not None
        assert len(known._known) <= repeats._MOST


def test_a_long_head_is_not_remembered() -> None:
    known = Repeats()
    data = request(b"{}", **{"x-long": "a" * repeats._LONGEST})
    known.remember(data, b"{}", ("/predict", None), b"/predict", [], {b"content-length": b"2"})
    assert known.find(data) is None


def test_heads_are_forgotten_soon_since_they_may_carry_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    with quick() as server, dialled(server) as connection:
        known = server.process._walls[0].repeats
        forget, forgotten = known.forget, list[int]()

        def noting() -> None:
            forgotten.append(len(known._known))
            forget()

        monkeypatch.setattr(known, "forget", noting)
        connection.sendall(USUAL)
        server.until(lambda: 1 in forgotten)
        connection.shutdown(1)
        assert b"200 OK" in rest(connection)
        assert not known._known

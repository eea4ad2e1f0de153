"""What arrives together is answered together, as each would be by itself."""

import asyncio
import contextlib
import http.client
import io
import json
import math
import re
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from served import PATIENT, QUICK, Served, loaded, serving
from uvicorn.server import ServerState
from wire import arrived, dialled, rest, said, statuses

from bedside_runtime.audit import opening
from bedside_runtime.audit.reading import judge, paths
from bedside_runtime.audit.verify import Verdict
from bedside_runtime.batching import Batching, Inline
from bedside_runtime.compiled import CompiledDecoder
from bedside_runtime.contract import Audit, Row, Scalar
from bedside_runtime.errors import AuditUnavailable
from bedside_runtime.inputs import compile_inputs
from bedside_runtime.serve import event_loop, plain, predicting
from bedside_runtime.serve.auth.gate import Open
from bedside_runtime.serve.connection import protocol
from bedside_runtime.serve.entrance import configuration
from bedside_runtime.serve.lifecycle import Lifecycle
from bedside_runtime.serve.logs import EventLog
from bedside_runtime.serve.metrics import Metrics
from bedside_runtime.serve.predicting import Asked, Predictions, Reply
from bedside_runtime.serve.turn import Turn, say
from bedside_runtime.serve.wall import Wall
from bedside_runtime.service import Entry, PredictionService, Refused
from bedside_runtime.service import Recorder as Records
from contracts import INPUTS, Logistic, contract

AT_EDGE = 64
"""An age at which the quick model leaves the answer to the one that takes its time."""

FAILING = 65
"""An age at which no model answers."""

HELD = 66
"""An age at which the model keeps the loop busy."""


class Quick(Logistic):
    """Answers in the loop; notes how many rows it was asked at once."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def at_once(self, rows: Sequence[Row]) -> Sequence[Scalar | None]:
        self.calls.append(len(rows))
        if any(row[0] == FAILING for row in rows):
            raise ValueError("Jane Doe")
        return [None if row[0] == AT_EDGE else value for row, value in zip(rows, self.predict(rows), strict=True)]


@contextlib.contextmanager
def quick(model: Any = None, **limits: Any) -> Iterator[Served]:
    with serving(loaded(model or Quick(), msgspec.structs.replace(QUICK, **limits), "folded")) as server:
        yield server


def request(body: bytes, **headers: str) -> bytes:
    fields = {"host": "h", "content-type": "application/json", "content-length": str(len(body))} | headers
    return b"POST /predict HTTP/1.1\r\n%b\r\n%b" % ("".join(f"{n}: {v}\r\n" for n, v in fields.items()).encode(), body)


def patient(**changes: Any) -> bytes:
    return json.dumps({"inputs": PATIENT | changes}).encode()


KINDS = [
    patient(),
    patient(age=80, lactate=None),
    patient(temperature=43),
    patient(age=AT_EDGE),
    patient(age=FAILING),
    patient(age="old"),
    patient(nobody=1),
    b"{",
    b"",
    json.dumps({"instances": [PATIENT] * 3}).encode(),
    patient(temperature={"value": 99, "unit": "[degF]"}),
]
"""Bodies of usual requests, and of all that are not."""


def together(server: Served, requests: Sequence[bytes]) -> list[bytes]:
    """Send all requests at the same time, each on a connection of its own; return the answers.

    Each connection has been answered before: the loop accepts one in each of its turns.
    """
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(dialled(server)) for _ in requests]
        for connection in connections:
            connection.sendall(b"GET /livez HTTP/1.1\r\nhost: h\r\n\r\n")
            response = http.client.HTTPResponse(connection)
            response.begin()
            assert response.read()
        for connection, sent in zip(connections, requests, strict=True):
            connection.sendall(sent[:-1] or sent)
        with server.busy():
            for connection, sent in zip(connections, requests, strict=True):
                connection.sendall(sent[-1:])
            arrived(connections)
        for connection in connections:
            connection.shutdown(1)
        return [rest(connection) for connection in connections]


def without_ids(answer: bytes) -> bytes:
    """Leave out what differs each time; that a connection ends is said where the end of its input came first."""
    answer = answer.replace(b"connection: close\r\n", b"")
    return re.sub(rb"(?<=[: \"/])[0-9a-f]{32}|date: [^\r]+", b"-", answer)


def test_every_request_gets_the_answer_that_it_would_get_by_itself() -> None:
    with quick() as server:
        alone = [without_ids(said(server, request(body))) for body in KINDS]
        assert [statuses(answer)[0] for answer in alone] == [200, 200, 200, 200, 500, 422, 422, 400, 400, 200, 200]
        mixed = KINDS * 6
        found = [without_ids(answer) for answer in together(server, [request(body) for body in mixed])]
        assert found == [alone[KINDS.index(body)] for body in mixed]


def test_what_arrives_together_is_one_call_of_the_model() -> None:
    model = Quick()
    with quick(model) as server:
        answers = together(server, [request(patient())] * 40)
        assert {statuses(answer)[0] for answer in answers} == {200}
        assert sum(model.calls) == 40
        assert max(model.calls) > 20


def test_a_request_that_the_model_fails_at_fails_alone() -> None:
    with quick() as server:
        answers = together(server, [request(patient(age=FAILING if number == 7 else 50)) for number in range(20)])
        assert [statuses(answer)[0] for answer in answers] == [500 if number == 7 else 200 for number in range(20)]
        assert "Jane" not in server.stream.getvalue()


def test_more_than_may_be_in_flight_are_answered_all_the_same_where_nothing_waits() -> None:
    with quick(max_in_flight=2) as server:
        assert {statuses(answer)[0] for answer in together(server, [request(patient())] * 30)} == {200}


@pytest.mark.parametrize("header", ["x-request-deadline-ms", "x-envoy-expected-rq-timeout-ms"])
def test_a_deadline_of_the_caller_is_kept(header: str) -> None:
    with quick() as server:
        sent = [request(patient(), **({header: "0"} if number % 2 else {})) for number in range(20)]
        assert [statuses(answer)[0] for answer in together(server, sent)] == [200, 504] * 10


def test_answers_are_counted_by_band_and_by_status() -> None:
    with quick() as server:
        together(server, [request(patient())] * 10 + [request(b"{")] * 3)
        _, _, metrics = server.request("GET", "/metrics", admin=True)
        lines = metrics.decode().splitlines()
        labels = 'http_request_method="POST",http_response_status_code="{}",http_route="/predict"'
        count = "http_server_request_duration_seconds_count"
        assert f"{count}{{{labels.format(200)}}} 10.0" in {_sorted(line) for line in lines}
        assert f"{count}{{{labels.format(400)}}} 3.0" in {_sorted(line) for line in lines}
        bands = [float(line.split()[1]) for line in lines if line.startswith("bedside_predictions_total")]
        assert sum(bands) == 10


def _sorted(line: str) -> str:
    name, brace, others = line.partition("{")
    labels, _, value = others.partition("}")
    return f"{name}{{{','.join(sorted(labels.split(',')))}}}{value}" if brace else line


# -- a step that fails takes nobody with it


class Odd(float):
    """A number that no encoder takes, as one of numpy's."""


class Oddly(Quick):
    """Gives one patient a number that cannot be written."""

    def predict(self, rows: Sequence[Row]) -> Sequence[Scalar]:
        return [
            Odd(value) if row[0] == AT_EDGE else value for row, value in zip(rows, super().predict(rows), strict=True)
        ]

    def at_once(self, rows: Sequence[Row]) -> Sequence[Scalar | None]:
        return self.predict(rows)


def test_an_answer_that_cannot_be_written_fails_alone() -> None:
    with quick(Oddly()) as server:
        answers = together(server, [request(patient(age=AT_EDGE if number == 7 else 50)) for number in range(20)])
        assert [statuses(answer) for answer in answers] == [[500 if number == 7 else 200] for number in range(20)]


class Misreading(CompiledDecoder):
    """Has a defect that nobody expects."""

    def rows(self, body: bytes) -> Any:
        if body == patient(age=FAILING):
            raise ZeroDivisionError
        return super().rows(body)


def test_a_request_that_cannot_be_read_fails_alone() -> None:
    with quick() as server:
        predictions = server.process._predictions
        assert predictions.loaded is not None
        predictions.loaded = replace(predictions.loaded, compiled=Misreading(INPUTS))
        answers = together(server, [request(patient(age=FAILING if number == 7 else 50)) for number in range(20)])
        assert [statuses(answer) for answer in answers] == [[500 if number == 7 else 200] for number in range(20)]


def breaks(*_: object) -> None:
    raise ZeroDivisionError


def test_a_group_whose_answers_never_come_does_not_wait_for_them_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_loaded: object, _asked: object, _callers: object, recording: Awaitable[object]) -> None:
        await recording
        raise ZeroDivisionError

    with quick() as server, dialled(server) as one, dialled(server) as other:
        monkeypatch.setattr(server.process._predictions, "_replies", never)
        one.sendall(request(patient()))
        other.sendall(request(patient(age=AT_EDGE)))  # left to the model itself, and answered
        assert one.recv(100) == b""
        assert other.recv(100).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("body", [patient(), b"{"], ids=["together", "alone"])
def test_whose_answer_cannot_be_sent_does_not_wait_for_it_for_ever(
    body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with quick() as server, dialled(server) as connection:
        monkeypatch.setattr(server.process._metrics, "request", breaks)
        connection.sendall(request(body))
        assert connection.recv(100) == b""


def test_whose_bytes_cannot_be_taken_does_not_wait_for_an_answer_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    with quick() as server, dialled(server) as connection:
        monkeypatch.setattr(server.process._metrics, "refused", breaks)
        connection.sendall(b"no HTTP\r\n\r\n")
        assert connection.recv(100) == b""


TURNS = 120
"""Turns of the loop after which everything has happened that is to happen."""


class Reading:
    """A connection whose turn is noted, and may fail."""

    def __init__(self, turns: list[str], name: str) -> None:
        self.turns, self.name = turns, name

    def take_turn(self) -> None:
        self.turns.append(self.name)
        if self.name == "bad":
            raise ZeroDivisionError


class Saying:
    """An exchange whose answer is noted, and may fail."""

    def __init__(self, said: list[str], name: str) -> None:
        self.said, self.name = said, name

    def say(self, _reply: object, _now: float) -> None:
        self.said.append(self.name)
        if self.name == "bad":
            raise ZeroDivisionError


def run(scenario: Callable[[Turn], None]) -> list[str]:
    """Run ``scenario`` with a turn; return what the loop had to report."""

    async def scene() -> list[str]:
        reported: list[str] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: reported.append(type(context["exception"]).__name__)
        )
        scenario(Turn(None, metrics()))
        for _ in range(TURNS):
            await asyncio.sleep(0)
        return reported

    return event_loop.run(scene())


def metrics() -> Metrics:
    return Metrics(lambda: True, Auditing())


class Auditing:
    detail = "none"
    unrecorded = 0


def test_a_connection_that_fails_is_reported_and_holds_nobody_up() -> None:
    turns: list[str] = []

    def scenario(turn: Turn) -> None:
        for name in ("a", "bad", "b", "bad", "c"):
            turn.read(Reading(turns, name))

    assert run(scenario) == ["ZeroDivisionError"] * 2
    assert turns == ["a", "bad", "b", "bad", "c"]


def came_behind(turn: Turn, noted: list[str], names: Sequence[str], seconds: float = 0.0) -> None:
    """Let one come in each turn of the loop from now on, in this order; to receive each takes ``seconds``."""
    name, *others = names
    noted.append(f"{name} came")
    turn.read(Reading(noted, name))
    time.sleep(seconds)
    if others:
        asyncio.get_running_loop().call_soon(came_behind, turn, noted, others, seconds)


@pytest.fixture
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a busy machine takes for a look, another one may follow."""
    monkeypatch.setattr("bedside_runtime.serve.turn._LONGEST", math.inf)


@pytest.mark.usefixtures("_unhurried")
def test_many_who_come_right_behind_each_other_are_taken_together() -> None:
    noted: list[str] = []

    def scenario(turn: Turn) -> None:
        came_behind(turn, noted, ["a"])
        came_behind(turn, noted, ["b", "c", "d"])

    assert run(scenario) == []
    assert noted == ["a came", "b came", "c came", "d came", "a", "b", "c", "d"]


def test_who_comes_alone_does_not_wait_for_the_next_one() -> None:
    noted: list[str] = []
    assert run(lambda turn: came_behind(turn, noted, ["a", "b"])) == []
    assert noted == ["a came", "a", "b came", "b"]


@pytest.mark.usefixtures("_unhurried")
def test_nobody_waits_for_ever_for_those_who_keep_coming() -> None:
    noted: list[str] = []
    names = [str(number) for number in range(100)]

    def scenario(turn: Turn) -> None:
        came_behind(turn, noted, ["first"])
        came_behind(turn, noted, names)

    assert run(scenario) == []
    assert noted.index("first") < noted.index("50 came")
    assert [name for name in noted if not name.endswith(" came")] == ["first", *names]


def later(turns: int, step: Callable[[], None]) -> None:
    """Call ``step`` after so many turns of the loop."""
    if turns:
        asyncio.get_running_loop().call_soon(later, turns - 1, step)
    else:
        step()


@pytest.mark.usefixtures("_unhurried")
def test_several_wait_for_nobody_who_does_not_come_right_behind_them() -> None:
    noted: list[str] = []

    def scenario(turn: Turn) -> None:
        came_behind(turn, noted, ["a"])
        came_behind(turn, noted, ["b"])
        later(5, lambda: came_behind(turn, noted, ["c"]))

    assert run(scenario) == []
    assert noted == ["a came", "b came", "a", "b", "c came", "c"]


@pytest.mark.usefixtures("_unhurried")
def test_whoever_was_waited_for_before_others_are_waited_for_again() -> None:
    noted: list[str] = []

    def scenario(turn: Turn) -> None:
        came_behind(turn, noted, ["first"])
        came_behind(turn, noted, [str(number) for number in range(40)])
        later(60, lambda: came_behind(turn, noted, ["a"]))
        later(60, lambda: came_behind(turn, noted, ["b", "c", "d"]))

    assert run(scenario) == []
    assert noted[-8:] == ["a came", "b came", "c came", "d came", "a", "b", "c", "d"]


def test_nobody_waits_for_those_who_keep_coming_with_much_to_receive() -> None:
    noted: list[str] = []

    def scenario(turn: Turn) -> None:
        came_behind(turn, noted, ["first"])
        came_behind(turn, noted, [str(number) for number in range(20)], seconds=0.003)

    assert run(scenario) == []
    assert noted.index("first") < noted.index("2 came")


def test_an_answer_that_cannot_be_sent_is_reported_and_holds_nobody_up() -> None:
    said: list[str] = []

    def scenario(_: Turn) -> None:
        answered: Any = deque((Saying(said, name), Reply(200, b"{}", "r")) for name in ("a", "bad", "b", "bad", "c"))
        asyncio.get_running_loop().call_soon(say, answered)

    assert run(scenario) == ["ZeroDivisionError"] * 2
    assert said == ["a", "bad", "b", "bad", "c"]


@pytest.mark.parametrize("data", [b"GET /livez HT", b"GET /livez HTTP/1.1\r\nhost: h\r\n\r\n"], ids=["part", "whole"])
def test_what_came_before_the_process_ends_is_answered_if_it_is_a_request(data: bytes) -> None:
    async def scene() -> bool:
        ours, theirs = socket.socketpair()
        wall = Wall(None, metrics(), Open())
        made: Any = protocol(wall)
        connection = made(config=configuration(nobody, wall), server_state=ServerState(), app_state={})
        await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, ours)
        connection.data_received(data)
        connection.shutdown()
        ends: bool = connection.transport.is_closing()
        connection.transport.abort()
        theirs.close()
        await asyncio.sleep(0)
        return ends

    assert event_loop.run(scene()) == (not data.endswith(b"\r\n\r\n"))


async def nobody(_scope: object, _receive: object, _send: object) -> None:
    """Answer nothing."""


# -- the log


class Recorder:
    """Keeps what it is given; durable when it is told to be, if ever."""

    healthy, detail = True, "open"

    def __init__(self, error: Exception | None = None) -> None:
        self.groups: list[list[Entry]] = []
        self.refusals: list[Refused] = []
        self.error = error

    async def record(self, entries: Iterable[Entry]) -> None:
        self.groups.append(list(entries))
        if self.error is not None:
            raise self.error

    def begin(self) -> None:
        """There is nothing to begin with."""

    async def refused(self, refused: Refused) -> None:
        self.refusals.append(refused)


def predictions_with(recorder: Records, log: io.StringIO | None = None) -> tuple[Predictions, predicting.Loaded]:
    made, model = loaded(engine="folded"), Quick()
    asking = Inline(model, Batching(model))
    service = PredictionService(made.contract, made.digest, model, asking, made.cases, recorder)
    lifecycle = Lifecycle()
    lifecycle.verifying()
    lifecycle.ready(service)
    predictions = Predictions(lifecycle, metrics(), EventLog(log or io.StringIO()))
    inputs = made.contract.inputs
    release = plain.encoded_release(made.contract, made.digest)
    predictions.loaded = predicting.Loaded(service, compile_inputs(inputs), CompiledDecoder(inputs), {}, release)
    ready = predictions.together()
    assert ready is not None
    return predictions, ready


HEAD = {b"content-type": b"application/json"}


class Port:
    """The connection of an exchange, as far as a turn needs it."""

    def __init__(self, noted: list[str], name: str) -> None:
        self.loop, self.tasks, self.app = asyncio.get_running_loop(), set[Any](), None
        self.noted, self.name = noted, name

    def fail(self) -> None:
        self.noted.append(f"{self.name} ended")


class Exchanged(Asked, eq=False):
    """A usual request whose answer is noted, and may fail."""

    noted: list[str]
    name: str
    connection: Port

    may_go_on = True

    def say(self, _reply: Reply, _now: float) -> None:
        self.noted.append(self.name)
        if self.name == "bad":
            raise ZeroDivisionError

    async def run_asgi(self, _application: object) -> None:
        self.noted.append(f"{self.name} alone")


class Beginning(Recorder):
    """Notes how many answers it is given, and when it is to begin with them."""

    def __init__(self, noted: list[str]) -> None:
        super().__init__()
        self.noted = noted

    async def record(self, entries: Iterable[Entry]) -> None:
        self.noted.append(f"{len(list(entries))} recorded")

    def begin(self) -> None:
        self.noted.append("begin")


def answered_in_one_turn(names: Sequence[str], at_edge: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """Answer usual requests that came at the same time; return what happened, and what the loop had to report.

    Those ``at_edge`` the quick model leaves to the one that takes its time.
    """

    async def scene() -> tuple[list[str], list[str]]:
        noted, reported = list[str](), list[str]()
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: reported.append(type(context["exception"]).__name__)
        )
        predictions, _ = predictions_with(Beginning(noted))
        turn = Turn(predictions, metrics())
        for name in names:
            body = patient(age=AT_EDGE) if name in at_edge else patient()
            exchange: Any = Exchanged("/predict", None, HEAD, 0.0, body, None, noted, name, Port(noted, name))
            turn.answer(exchange)
        for _ in range(TURNS):
            await asyncio.sleep(0)
        return noted, reported

    return event_loop.run(scene())


def test_the_records_of_one_part_are_on_their_way_before_the_next_part_is_asked_for() -> None:
    names = [str(number) for number in range(100)]
    assert answered_in_one_turn(names) == (
        ["50 recorded", *names[:50], "begin", "50 recorded", *names[50:]],
        [],
    )


def test_a_part_whose_answers_never_come_ends_its_own_connections_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    replies, names = Predictions._replies, [str(number) for number in range(100)]

    async def some(of: Any, ready: Any, asked: Sequence[Any], callers: Any, recording: Awaitable[Any]) -> Any:
        found = await replies(of, ready, asked, callers, recording)
        if asked[0].name == "0":
            raise ZeroDivisionError
        return found

    monkeypatch.setattr(Predictions, "_replies", some)
    noted, reported = answered_in_one_turn(names)
    assert reported == ["ZeroDivisionError"]
    assert [name for name in noted if name in names] == names[50:]
    assert [name for name in noted if name.endswith("ended")] == [f"{name} ended" for name in names[:50]]


def test_whom_the_model_leaves_out_of_any_part_is_answered_alone_in_the_order_in_which_they_came() -> None:
    names = [str(number) for number in range(100)]
    noted, reported = answered_in_one_turn(names, at_edge=["2", "30", "60"])
    assert reported == []
    together = [name for name in names if name not in ("2", "30", "60")]
    assert noted == [
        *("48 recorded", *together[:48], "begin", "49 recorded", *together[48:]),
        *("2 alone", "30 alone", "60 alone"),
    ]


def test_a_few_are_answered_in_one_piece() -> None:
    names = [str(number) for number in range(64)]
    assert answered_in_one_turn(names) == (["64 recorded", *names], [])


def test_a_part_whose_answers_cannot_be_sent_holds_up_no_other_part() -> None:
    names = [str(number) for number in range(100)]
    names[3] = "bad"
    noted, reported = answered_in_one_turn(names)
    assert reported == ["ZeroDivisionError"]
    assert sorted(name for name in noted if name in names) == sorted(names)
    assert sum(int(name.split()[0]) for name in noted if name.endswith("recorded")) == len(names)


@pytest.mark.parametrize(
    ("named", "head", "more"),
    [
        (("icu-test", None), HEAD, 0),
        (None, {}, 0),
        (None, {b"content-type": b"text/plain"}, 0),
        (None, HEAD | {b"content-encoding": b"gzip"}, 0),
        (None, HEAD | {b"grpc-timeout": b"1S"}, 0),
        (None, HEAD, QUICK.max_body),
    ],
    ids=["another route", "no type", "another type", "encoded", "a deadline", "too large"],
)
def test_a_request_that_is_not_usual_is_left_to_itself(named: Any, head: dict[bytes, bytes], more: int) -> None:
    async def scene() -> tuple[object, object]:
        predictions, ready = predictions_with(Recorder())
        usual = Asked("/predict", None, HEAD, 0.0, patient(), None)
        other = Asked("/predict", named, head, 0.0, patient() + b" " * more, None)
        return predictions.usual(ready, usual), predictions.usual(ready, other)

    row, none = event_loop.run(scene())
    assert row is not None
    assert none is None


async def answered(
    recorder: Records, bodies: Sequence[bytes], log: io.StringIO | None = None
) -> Sequence[Reply | None]:
    """Return the reply to each of ``bodies``, asked for together; ``None`` for those that are left to themselves."""
    predictions, ready = predictions_with(recorder, log)
    asked = [
        Asked("/predict", None, {**HEAD, b"x-request-id": b"r-%d" % at}, 0.0, body, None)
        for at, body in enumerate(bodies)
    ]
    rows = [predictions.usual(ready, one) for one in asked]
    left, replies = predictions.answer_together(ready, asked, [row for row in rows if row is not None])
    said = [] if replies is None else await replies
    assert len(left) + len(said) == len(asked)
    by_id = {request_id(one): reply for one, reply in said}
    return [by_id.get(request_id(one)) for one in asked]


def request_id(asked: Asked) -> str:
    return predicting.request_id(asked.head)


def test_what_is_answered_together_is_recorded_together_each_with_its_own_caller() -> None:
    recorder = Recorder()
    replies = event_loop.run(answered(recorder, [patient(age=50), patient(age=AT_EDGE), patient(age=52)]))
    assert [reply and reply.status for reply in replies] == [200, None, 200]
    (group,) = recorder.groups
    assert [entry.caller.request for entry in group] == ["r-0", "r-2"]
    assert [row[0] for entry in group for row in entry.rows] == [50, 52]
    for reply, entry in zip((replies[0], replies[2]), group, strict=True):
        assert reply is not None
        assert json.loads(reply.body)["predictions"][0]["value"] == entry.predictions[0].value


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(AuditUnavailable("full"), 503, "audit-unavailable"), (asyncio.CancelledError(), 503, "draining")],
)
def test_nobody_is_answered_whose_record_is_not_durable(error: Exception, status: int, code: str) -> None:
    recorder = Recorder(error)
    replies = event_loop.run(answered(recorder, [patient()] * 3))
    assert [reply and reply.status for reply in replies] == [status] * 3
    assert [refused.caller.request for refused in recorder.refusals] == ["r-0", "r-1", "r-2"]


POD = "icu-7f9c-x1"


async def answered_with_a_log(
    directory: Path, bodies: Sequence[bytes], log: io.StringIO
) -> tuple[Sequence[Reply | None], list[dict[str, Any]]]:
    """Return the replies, and what an audit log on a disk says about each request in the order of its records."""
    here = opening.Surroundings(directory, POD, directory=directory)
    settings, digest = Audit(payload="none"), "0" * 64
    recorder = opening.recorder(contract(), settings, digest, here, on_latch=log.write, on_checkpoint=lambda _: None)
    await asyncio.to_thread(recorder.open)
    try:
        replies = await answered(recorder, bodies, log)
    finally:
        await recorder.close()
    assert judge(directory / POD).verdict is Verdict.INTACT
    records = [json.loads(line)["body"] for path in paths(directory / POD) for line in path.read_bytes().splitlines()]
    return replies, [record for record in records if record["kind"] in ("prediction", "refusal")]


def test_an_answer_that_cannot_be_written_once_it_is_recorded_is_the_only_one_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = plain.encode

    def misses_one(identity: str, *others: Any) -> bytes:
        if identity == "r-1":
            raise ZeroDivisionError("Jane Doe")
        return encode(identity, *others)

    monkeypatch.setattr(plain, "encode", misses_one)
    log = io.StringIO()
    replies, records = event_loop.run(answered_with_a_log(tmp_path, [patient()] * 3, log))
    assert [reply and reply.status for reply in replies] == [200, 500, 200]
    assert replies[1] is not None
    assert {"code": "internal-error", "request_id": "r-1"}.items() <= json.loads(replies[1].body).items()
    kinds = [(record["request"], record["kind"], record.get("code")) for record in records]
    assert kinds == [
        ("r-0", "prediction", None),
        ("r-1", "prediction", None),
        ("r-2", "prediction", None),
        ("r-1", "refusal", "internal-error"),
    ]
    (event,) = [json.loads(line) for line in log.getvalue().splitlines()]
    assert (event["event"], event["error"], event["request_id"]) == ("internal-error", "ZeroDivisionError", "r-1")
    assert "Jane" not in log.getvalue()


def test_a_defect_while_the_log_is_waited_for_makes_no_second_records() -> None:
    recorder, log = Recorder(ZeroDivisionError("Jane Doe")), io.StringIO()
    replies = event_loop.run(answered(recorder, [patient()] * 3, log))
    assert [reply and reply.status for reply in replies] == [500] * 3
    assert [len(group) for group in recorder.groups] == [3]
    assert [refused.code for refused in recorder.refusals] == ["internal-error"] * 3
    assert "Jane" not in log.getvalue()


class Slowly(Recorder):
    """Keeps nothing until it is told to, and remembers what waits."""

    def __init__(self) -> None:
        super().__init__()
        self.durable = asyncio.Event()

    async def record(self, entries: Iterable[Entry]) -> None:
        self.groups.append(list(entries))
        await self.durable.wait()


class Held(Quick):
    """Keeps the loop busy with one patient until everybody else is there too."""

    def __init__(self) -> None:
        super().__init__()
        self.busy, self.go = threading.Event(), threading.Event()

    def at_once(self, rows: Sequence[Row]) -> Sequence[Scalar | None]:
        if rows[0][0] == HELD:
            self.busy.set()
            self.go.wait(60)
        return super().at_once(rows)


@contextlib.contextmanager
def arriving(recorder: Recorder, requests: Sequence[bytes]) -> Iterator[list[socket.socket]]:
    """Let ``requests`` arrive at the same time, each on a connection of its own; four may be in flight, and one is."""
    model = Held()
    with quick(model, max_in_flight=4, self_check_seconds=60.0) as server, contextlib.ExitStack() as stack:
        assert server.process._predictions.loaded is not None
        server.process._predictions.loaded.service.recorder = recorder
        first, *others = [stack.enter_context(dialled(server)) for _ in range(1 + len(requests))]
        for connection in others:  # all are accepted before the loop is kept busy
            connection.sendall(request(b"{"))
            assert statuses(connection.recv(65_536)) == [400]
        first.sendall(request(patient(age=HELD)))
        assert model.busy.wait(60)
        for connection, sent in zip(others, requests, strict=True):
            connection.sendall(sent)
        arrived(others)
        model.go.set()
        yield others


def test_one_request_more_than_allowed_is_refused_before_the_others_are_durable() -> None:
    recorder = Slowly()
    with arriving(recorder, [request(patient())] * 6) as connections:
        refused = select.select(connections, [], [], 60)[0]
        assert refused
        assert b'"overloaded"' in refused[0].recv(65_536)
        assert [len(group) for group in recorder.groups] == [1, 3]


class SlowlyTogether(Slowly):
    """Keeps at once what one patient at the edge of a band was answered, and nothing else."""

    async def record(self, entries: Iterable[Entry]) -> None:
        group = list(entries)
        if [row[0] for entry in group for row in entry.rows] == [AT_EDGE]:
            self.groups.append(group)
        else:
            await super().record(group)


def test_who_is_left_to_the_model_itself_does_not_wait_for_the_records_of_the_others() -> None:
    recorder = SlowlyTogether()
    with arriving(recorder, [request(patient()), request(patient(age=AT_EDGE)), request(patient())]) as connections:
        assert statuses(connections[1].recv(65_536)) == [200]
        assert [len(group) for group in recorder.groups] == [1, 2, 1]
        assert not select.select(connections, [], [], 0)[0]


def test_who_is_left_to_the_model_itself_keeps_the_place_in_flight_before_those_who_were_never_usual() -> None:
    unusual = request(patient(), **{"x-request-deadline-ms": "60000"})
    edge = request(patient(age=AT_EDGE))
    with arriving(SlowlyTogether(), [unusual, unusual, request(patient()), request(patient()), edge]) as connections:
        assert statuses(connections[-1].recv(65_536)) == [200]
        for connection in connections[:2]:
            assert statuses(connection.recv(65_536)) == [503]


class Together(Recorder):
    """Finishes a refusal once three are there."""

    def __init__(self) -> None:
        super().__init__(AuditUnavailable("full"))
        self.all = asyncio.Event()

    async def refused(self, refused: Refused) -> None:
        await super().refused(refused)
        if len(self.refusals) == 3:
            self.all.set()
        await asyncio.wait_for(self.all.wait(), 20)


def test_who_is_refused_together_waits_for_the_log_together() -> None:
    replies = event_loop.run(answered(Together(), [patient()] * 3))
    assert [reply and reply.status for reply in replies] == [503] * 3

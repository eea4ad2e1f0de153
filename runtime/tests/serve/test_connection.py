"""The wire: framing, order, limits, and clients that mean no good."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served import ENGINES, PATIENT, QUICK, Served, Switchable, loaded, serving
from wire import dialled, rest, said, statuses

from bedside_runtime.serve.connection import Connection

BODY = json.dumps({"inputs": PATIENT}).encode()
HEAD = b"POST /predict HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
WHOLE = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
PROBE = b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.fixture(scope="module", params=ENGINES)
def server(request: pytest.FixtureRequest) -> Iterator[Served]:
    with serving(loaded(engine=request.param)) as served:
        yield served


@contextlib.contextmanager
def limited(predictor: Any = None, **limits: Any) -> Iterator[Served]:
    with serving(loaded(predictor, msgspec.structs.replace(QUICK, **limits))) as served:
        yield served


def refusals(server: Served, reason: str) -> float:
    _, _, text = server.request("GET", "/metrics", admin=True)
    name = f'bedside_connections_refused_total{{reason="{reason}"}} '
    return next(float(line.removeprefix(name)) for line in text.decode().splitlines() if line.startswith(name))


# -- framing and order


def test_pipelined_requests_are_answered_in_their_order(server: Served) -> None:
    ids = [f"id-{number}" for number in range(20)]
    asked = [
        WHOLE.replace(b"Host: h", b"Host: h\r\nX-Request-Id: %b" % name.encode())
        if number % 3
        else PROBE.replace(b"Host: h", b"Host: h\r\nX-Request-Id: %b" % name.encode())
        for number, name in enumerate(ids)
    ]
    received = said(server, b"".join(asked))
    assert statuses(received) == [200] * 20
    found = [line.split(b": ")[1].decode() for line in received.split(b"\r\n") if line.startswith(b"x-request-id")]
    assert found == ids


def test_many_requests_in_one_piece_are_no_large_head(server: Served) -> None:
    assert set(statuses(said(server, WHOLE * 400 + WHOLE[:40], WHOLE[40:]))) == {200}


def test_many_requests_behind_one_that_waits_are_answered_one_after_the_other() -> None:
    model = Switchable()
    with limited(model) as server, dialled(server) as connection:
        model.gate.clear()
        bad = HEAD + b"Content-Length: 2\r\n\r\n{}"
        connection.sendall(WHOLE + bad * 1_000)
        time.sleep(0.2)
        model.gate.set()
        connection.shutdown(socket.SHUT_WR)
        assert statuses(rest(connection)) == [200] + [422] * 1_000


def test_a_request_may_come_one_byte_at_a_time(server: Served) -> None:
    assert statuses(said(server, *[bytes([byte]) for byte in WHOLE], pause=0.0005)) == [200]


def test_a_chunked_body_is_read(server: Served) -> None:
    half = len(BODY) // 2
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (BODY[:half], BODY[half:])) + b"0\r\n\r\n"
    assert statuses(said(server, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)) == [200]


def test_a_client_that_has_closed_its_half_still_gets_its_answer() -> None:
    model = Switchable()
    with limited(model) as server, dialled(server) as connection:
        model.gate.clear()
        connection.sendall(WHOLE)
        connection.shutdown(socket.SHUT_WR)
        time.sleep(0.2)
        model.gate.set()
        assert statuses(rest(connection)) == [200]


def test_a_connection_whose_halves_are_both_closed_is_not_kept_as_an_idle_one(monkeypatch: pytest.MonkeyPatch) -> None:
    lost, knows = threading.Event(), Connection.connection_lost

    def connection_lost(connection: Connection, why: Exception | None) -> None:
        knows(connection, why)
        lost.set()

    model = Switchable()
    with limited(model, idle_seconds=600.0) as server, dialled(server) as connection:
        monkeypatch.setattr(Connection, "connection_lost", connection_lost)
        model.gate.clear()
        connection.sendall(WHOLE)
        connection.shutdown(socket.SHUT_WR)
        time.sleep(0.2)
        model.gate.set()
        assert statuses(rest(connection)) == [200]
        assert lost.wait(60)


def test_an_unfinished_request_of_a_closed_half_is_forgotten(server: Served) -> None:
    assert said(server, WHOLE[:-5]) == b""


def test_a_client_that_asks_whether_to_go_on_is_told_to(server: Served) -> None:
    with dialled(server) as connection:
        connection.sendall(WHOLE[: -len(BODY)].replace(b"Host: h", b"Host: h\r\nExpect: 100-continue"))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(BODY)
        connection.shutdown(socket.SHUT_WR)
        assert statuses(rest(connection)) == [200]


@pytest.mark.parametrize("before", [WHOLE, PROBE, WHOLE * 2], ids=["a prediction", "a probe", "two"])
def test_a_client_that_asks_so_behind_other_requests_is_told_once_they_are_answered(before: bytes) -> None:
    model = Switchable()
    with limited(model) as server, dialled(server) as connection:
        model.gate.clear()
        asks = WHOLE[: -len(BODY)].replace(b"Host: h", b"Host: h\r\nExpect: 100-continue")
        connection.sendall(before + asks)
        time.sleep(0.1)
        model.gate.set()
        received = b""
        while b" 100 Continue" not in received:
            chunk = connection.recv(65_536)
            assert chunk
            received += chunk
        connection.sendall(BODY)
        connection.shutdown(socket.SHUT_WR)
        received += rest(connection)
        assert statuses(received) == [200] * before.count(b" HTTP/1.1") + [100, 200]


def test_http_1_0_is_answered_and_closed(server: Served) -> None:
    received = said(server, WHOLE.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Host: h\r\n", b""), end=False)
    assert statuses(received) == [200]
    assert b"connection: close" in received


def test_the_query_and_escapes_of_a_path_change_nothing(server: Served) -> None:
    for path in (b"/predict?x=1", b"/%70redict"):
        assert statuses(said(server, WHOLE.replace(b"/predict", path, 1))) == [200]


SMUGGLED = b"GET /livez HTTP/1.1\r\nHost: h\r\nX-Request-Id: smuggled\r\n\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(
            HEAD + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED, id="length and chunked"
        ),
        pytest.param(
            HEAD + b"Transfer-Encoding: chunked\r\n" + LENGTH + b"\r\n0\r\n\r\n" + SMUGGLED, id="chunked and length"
        ),
        pytest.param(HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED, id="unknown coding"),
        pytest.param(HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + SMUGGLED, id="compressed, chunked"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SMUGGLED, id="chunked not last"),
        pytest.param(HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED, id="space before colon"),
        pytest.param(HEAD + LENGTH + b"Content-Length: 0\r\n\r\n" + SMUGGLED, id="two lengths"),
        pytest.param(HEAD + b"Content-Length: +5\r\n\r\nhello" + SMUGGLED, id="signed length"),
        pytest.param(HEAD + b"Content-Length: 0x5\r\n\r\nhello" + SMUGGLED, id="hexadecimal length"),
        pytest.param(HEAD + b"Content-Length: 5, 5\r\n\r\nhello" + SMUGGLED, id="list of lengths"),
        pytest.param(HEAD + b"Content-Length: \r\n\r\n" + SMUGGLED, id="empty length"),
        pytest.param(HEAD + b"Content-Length: 99999999999999999999\r\n\r\n" + SMUGGLED, id="length overflows"),
        pytest.param(
            HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n" + SMUGGLED, id="chunk overflows"
        ),
        pytest.param(
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n5;\nhello\r\n0\r\n\r\n" + SMUGGLED,
            id="chunk with bare line feed",
        ),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n" + SMUGGLED, id="negative chunk"),
        pytest.param(HEAD.replace(b"\r\n", b"\n") + b"\n" + SMUGGLED, id="bare line feeds"),
        pytest.param(HEAD + b"X: a\r\n b\r\n\r\n" + SMUGGLED, id="folded field"),
        pytest.param(HEAD + b"X\x00: a\r\n\r\n" + SMUGGLED, id="nul in a name"),
        pytest.param(HEAD + b"X: a\x00b\r\n\r\n" + SMUGGLED, id="nul in a value"),
        pytest.param(HEAD + b"X: a\rb\r\n\r\n" + SMUGGLED, id="bare carriage return"),
        pytest.param(HEAD.replace(b"Host: h\r\n", b"") + LENGTH + b"\r\n" + BODY + SMUGGLED, id="no host"),
        pytest.param(HEAD + b"Host: other\r\n" + LENGTH + b"\r\n" + BODY + SMUGGLED, id="two hosts"),
        pytest.param(WHOLE.replace(b"POST", b"post") + SMUGGLED, id="method in lower case"),
        pytest.param(WHOLE.replace(b"HTTP/1.1", b"HTTP/9.9") + SMUGGLED, id="unknown version"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SMUGGLED, id="HTTP/2"),
        pytest.param(b"\x16\x03\x01\x02\x00" + SMUGGLED, id="TLS"),
        pytest.param(b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n" + SMUGGLED, id="CONNECT"),
        pytest.param(
            PROBE.replace(b"Host: h", b"Host: h\r\nConnection: Upgrade\r\nUpgrade: websocket") + SMUGGLED, id="upgrade"
        ),
        pytest.param(PROBE.replace(b"Host: h", b"Host: h\r\nConnection: close") + SMUGGLED, id="after close"),
    ],
)
def test_nothing_is_smuggled_behind_a_request_that_two_parsers_could_read_differently(
    server: Served, request_: bytes
) -> None:
    received = said(server, request_)
    assert b"smuggled" not in received
    assert not statuses(received)[1:]
    assert all(status < 500 for status in statuses(received))


def test_what_is_no_http_gets_a_problem_document(server: Served) -> None:
    before = refusals(server, "bad-request")
    received = said(server, b"hello\r\n\r\n")
    head, body = received.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in head
    assert json.loads(body)["code"] == "bad-request"
    assert refusals(server, "bad-request") == before + 1


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(b"garbage\r\n\r\n", id="garbage"),
        pytest.param(HEAD.replace(b"Host: h\r\n", b"") + b"\r\n", id="no host"),
        pytest.param(HEAD + b"Content-Length: 99999999\r\n\r\n", id="body too large"),
    ],
)
def test_what_came_before_a_request_that_is_refused_is_answered_first(bad: bytes) -> None:
    model = Switchable()
    with limited(model, header_seconds=1.0) as server, dialled(server) as connection:
        model.gate.clear()
        connection.sendall(WHOLE + WHOLE + bad)
        time.sleep(2)  # longer than a head may take: it is the model that takes its time
        model.gate.set()
        assert statuses(rest(connection)) == [200, 200]


BROKEN = HEAD.replace(b"/predict", b"/%70redict") + b"Transfer-Encoding: chunked\r\n\r\nno chunk"
"""The application takes this one."""


def test_a_body_that_is_refused_on_another_route_is_answered_after_what_came_before_it() -> None:
    model = Switchable()
    with limited(model) as server, dialled(server) as connection:
        model.gate.clear()
        connection.sendall(WHOLE + WHOLE + BROKEN)
        time.sleep(0.3)
        connection.sendall(b"x" * 100_000)  # unread when the connection ends, it would reset it
        model.gate.set()
        received = b""
        while chunk := connection.recv(65_536):
            received += chunk
        assert statuses(received) == [200, 200, 400]


def test_a_body_that_is_refused_on_another_route_gets_a_problem_document(server: Served) -> None:
    begins = BROKEN.removesuffix(b"no chunk") + b"2\r\n{}\r\n"
    for sent in ([BROKEN], [begins, b"no chunk"]):
        received = said(server, *sent, pause=0.05, end=False)
        assert statuses(received) == [400]
        assert json.loads(received.split(b"\r\n\r\n", 1)[1])["code"] == "bad-request"


UPGRADE = b"Host: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ"


@pytest.mark.parametrize("pause", [0.0, 0.002])
@pytest.mark.parametrize("path", [b"/predict", b"/%70redict"])
def test_an_offer_to_speak_another_protocol_is_passed_over(server: Served, path: bytes, pause: float) -> None:
    offered = WHOLE.replace(b"Host: h", UPGRADE).replace(b"/predict", path, 1)
    chunks = HEAD.replace(b"Host: h", UPGRADE) + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (
        len(BODY),
        BODY,
    )
    bad = HEAD.replace(b"Host: h", UPGRADE) + b"Content-Length: 2\r\n\r\n{}"
    whole = offered + chunks + bad + WHOLE
    parts = [whole[at : at + 7] for at in range(0, len(whole), 7)] if pause else [whole]
    assert statuses(said(server, *parts, pause=pause)) == [200, 200, 422, 200]


def test_an_offer_of_another_protocol_hides_no_head_that_is_refused(server: Served) -> None:
    for more in (
        b"Content-Length: 99999999",
        b"Host: other\r\nContent-Length: 2",
        b"Content-Length: 2\r\nX: " + b"x" * 40_000,
    ):
        assert statuses(said(server, HEAD.replace(b"Host: h", UPGRADE) + more + b"\r\n\r\n{}")) in ([413], [400], [431])


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(BODY), BODY)


@pytest.mark.parametrize("path", [b"/predict", b"/%70redict"])
def test_fields_behind_a_body_count_for_nothing(server: Served, path: bytes) -> None:
    behind = b"0\r\nX-Request-Deadline-Ms: never\r\nX-Request-Id: behind\r\n\r\n"
    received = said(server, CHUNKED.replace(b"/predict", path, 1) + behind)
    assert statuses(received) == [200]
    assert b"behind" not in received


@pytest.mark.parametrize(
    "endless",
    [
        pytest.param(b"0\r\n" + b"a:b\r\n" * 30_000, id="fields behind the body"),
        pytest.param(b"0\r\na:" + b"b" * 150_000, id="one field behind the body"),
        pytest.param(b"5;a=" + b"b" * 150_000, id="what goes with a chunk"),
    ],
)
def test_what_comes_with_a_body_and_is_none_of_it_has_a_size(server: Served, endless: bytes) -> None:
    received = said(server, CHUNKED, endless, end=False)
    assert statuses(received) == [431]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_bytes_whatever_bring_the_server_down_or_make_it_fail(server: Served, data: st.DataObject) -> None:
    pieces = [
        WHOLE,
        PROBE,
        b"\r\n",
        b"0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n",
        HEAD,
        b"Content-Length: 3\r\n",
        b"\x00",
    ]
    stream = bytearray(b"".join(data.draw(st.lists(st.sampled_from(pieces) | st.binary(max_size=20), max_size=6))))
    for _ in range(data.draw(st.integers(0, 4))):
        if stream:
            stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    assert all(status < 500 for status in statuses(said(server, bytes(stream))))
    assert server.get("/livez")[0] == 200


# -- sizes


@pytest.mark.parametrize("ending", [b"\r\n\r\n", b""])
def test_a_head_that_is_too_large_is_refused_whether_it_ends_or_not(server: Served, ending: bytes) -> None:
    received = said(server, HEAD + b"X: " + b"a" * 40_000 + ending, end=False)
    assert statuses(received) == [431]


def test_many_small_fields_are_too_large_together(server: Served) -> None:
    assert statuses(said(server, HEAD + b"A: bcdefgh\r\n" * 5_000 + b"\r\n", end=False)) == [431]


def test_a_body_that_says_it_is_too_large_is_refused_unread(server: Served) -> None:
    assert statuses(said(server, HEAD + b"Content-Length: 1048577\r\n\r\n", end=False)) == [413]


def test_a_chunked_body_that_grows_too_large_is_refused(server: Served) -> None:
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    received = said(server, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 20)
    assert statuses(received) == [413]
    assert json.loads(received.split(b"\r\n\r\n", 1)[1])["code"] == "body-too-large"


# -- times


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (HEAD[:30], "head-timeout"),
        (HEAD + b"X: y\r\n", "head-timeout"),
        (WHOLE[:-5], "body-timeout"),
        (WHOLE[:-5].replace(b"/predict", b"/%70redict"), "body-timeout"),
    ],
)
def test_a_client_that_takes_its_time_is_told_so_and_left(sent: bytes, reason: str) -> None:
    with limited(header_seconds=1.0, body_seconds=1.5) as server:
        started = time.monotonic()
        received = said(server, sent, end=False)
        assert time.monotonic() - started < 5
        assert statuses(received) == [408]
        assert json.loads(received.split(b"\r\n\r\n", 1)[1])["code"] == reason
        assert refusals(server, reason) == 1


def test_a_client_that_trickles_is_not_given_more_time() -> None:
    with limited(header_seconds=0.5) as server, dialled(server) as connection:
        started = time.monotonic()
        with contextlib.suppress(ConnectionError):
            for byte in HEAD * 10:
                connection.sendall(bytes([byte]))
                time.sleep(0.02)
        assert time.monotonic() - started < 5
        assert statuses(rest(connection)) in ([408], [])


@pytest.mark.parametrize(("sent", "limits"), [(b"", {"header_seconds": 0.3}), (PROBE, {"idle_seconds": 0.3})])
def test_a_silent_connection_is_closed(sent: bytes, limits: dict[str, float]) -> None:
    with limited(**limits) as server:
        started = time.monotonic()
        assert len(statuses(said(server, sent, end=False))) == bool(sent)
        assert time.monotonic() - started < 3


def test_waiting_for_a_slow_prediction_is_not_idling() -> None:
    model = Switchable()
    with (
        limited(model, header_seconds=1.0, body_seconds=1.0, idle_seconds=1.0) as server,
        dialled(server) as connection,
    ):
        model.gate.clear()
        connection.sendall(WHOLE)
        time.sleep(2.0)  # longer than each of them
        model.gate.set()
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")


def asking_without_reading(server: Served, requests: bytes) -> None:
    """Send ``requests`` again and again, each time whole, until the server ends the connection."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)  # before the window is offered
        connection.settimeout(5)
        connection.connect(("127.0.0.1", server.port))
        with contextlib.suppress(ConnectionError, TimeoutError):
            while True:
                connection.sendall(requests)


@pytest.mark.parametrize(
    "request_", [WHOLE, b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n"], ids=["ours", "the application's"]
)
def test_a_client_that_never_reads_is_cut_off(request_: bytes) -> None:
    with limited(body_seconds=0.5) as server:
        deadline = time.monotonic() + 100  # on a busy machine this client may be the one that is too slow: once more
        while time.monotonic() < deadline and not refusals(server, "slow-reader"):
            asking_without_reading(server, request_ * 200)
        assert refusals(server, "slow-reader") == 1


def test_a_connection_that_is_closed_does_not_wait_for_its_client_for_ever() -> None:
    with limited() as server, dialled(server) as connection:
        connection.sendall(b"garbage\r\n\r\n")
        assert statuses(connection.recv(4_096)) == [400]
        deadline = time.monotonic() + 10
        with pytest.raises(ConnectionError):  # noqa: PT012 - the peer is gone only after a while
            while time.monotonic() < deadline:
                connection.sendall(b"x")
                time.sleep(0.1)


# -- numbers


def test_one_connection_more_than_allowed_is_refused_and_says_when_to_come_back() -> None:
    with limited(max_connections=3) as server, contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(dialled(server)).sendall(PROBE)
        received = said(server, end=False)
        assert statuses(received) == [503]
        assert b"retry-after: " in received


def asking(server: Served, answers: list[tuple[int, Any]], **headers: str) -> threading.Thread:
    """Ask on a thread, and return once it waits for the model."""
    before = server.in_flight
    thread = threading.Thread(target=lambda: answers.append(server.post({"inputs": PATIENT}, **headers)))
    thread.start()
    server.until(lambda: server.in_flight > before)
    return thread


def test_one_request_more_than_allowed_is_refused_at_once_while_probes_answer() -> None:
    model = Switchable()
    answers: list[tuple[int, Any]] = []
    with limited(model, max_in_flight=2, self_check_seconds=60) as server:
        model.gate.clear()
        threads = [asking(server, answers) for _ in range(2)]
        status, headers, body = server.request("POST", "/predict", BODY, {"content-type": "application/json"})
        assert (status, json.loads(body)["code"], headers["retry-after"]) == (503, "overloaded", "5")
        assert server.get("/livez")[0] == server.get("/readyz")[0] == 200
        assert (server.in_flight, answers) == (2, []), "nobody waited for those whom the model has"
        model.gate.set()
        for thread in threads:
            thread.join(60)
        assert [status for status, _ in answers] == [200, 200]
        assert server.post({"inputs": PATIENT})[0] == 200


def test_a_deadline_is_kept_and_a_prediction_that_outlasts_it_keeps_its_slot() -> None:
    model = Switchable()
    with limited(model, max_in_flight=1, self_check_seconds=60) as server:
        model.gate.clear()
        # begun within its deadline, on a busy machine too
        status, problem = server.post({"inputs": PATIENT}, **{"x-request-deadline-ms": "1500"})
        assert (status, problem["code"]) == (504, "deadline-exceeded")
        assert server.post({"inputs": PATIENT})[1]["code"] == "overloaded"
        model.gate.set()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and server.post({"inputs": PATIENT})[0] != 200:
            time.sleep(0.02)
        assert server.post({"inputs": PATIENT})[0] == 200


def test_the_release_has_a_deadline_of_its_own() -> None:
    model = Switchable()
    with limited(model, deadline_seconds=0.2, self_check_seconds=60) as server:
        model.gate.clear()
        assert server.post({"inputs": PATIENT})[1]["code"] == "deadline-exceeded"
        model.gate.set()


def test_a_deadline_that_is_none_is_refused(server: Served) -> None:
    assert server.post({"inputs": PATIENT}, **{"grpc-timeout": "soon"})[1]["code"] == "bad-deadline"


def test_batches_and_what_waits_are_counted(server: Served) -> None:
    server.post({"instances": [PATIENT] * 3})
    _, _, text = server.request("GET", "/metrics", admin=True)
    assert "bedside_requests_in_flight 0.0" in text.decode()
    assert "bedside_rows_waiting 0.0" in text.decode()
    assert 'bedside_batch_rows_bucket{le="4.0"}' in text.decode()


def test_while_draining_every_answer_ends_its_connection() -> None:
    with limited(drain_seconds=2.0) as server, dialled(server) as connection:
        connection.sendall(WHOLE)
        assert b"connection: close" not in connection.recv(4_096)
        with server.draining():
            connection.sendall(WHOLE)
            received = rest(connection)
            assert statuses(received) == [200]
            assert b"connection: close" in received
            assert b"connection: close" in said(server, PROBE, end=False)

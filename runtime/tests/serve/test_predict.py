"""POST /predict and every bad input: 4xx problem documents, and nothing of the request in them."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served import ENGINES, EXPECTED, PATIENT, Served, loaded, serving

CANARY = "canary-4711"


@pytest.fixture(scope="module", params=ENGINES)
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    with serving(loaded(engine=request.param)) as running:
        yield running


def test_one_patient_is_answered_with_the_release(served: Served) -> None:
    status, answer = served.post({"inputs": PATIENT}, **{"x-request-id": "r-1"})
    assert status == 200
    assert answer == {
        "id": "r-1",
        "release": {"name": "icu-test", "version": "1.2.3", "digest": "sha256:" + "d" * 64},
        "predictions": [{"value": EXPECTED, "band": "low", "flags": []}],
    }


def test_several_patients_are_answered_in_order(served: Served) -> None:
    old = PATIENT | {"age": 99, "lactate": None}
    _, answer = served.post({"instances": [PATIENT, old, PATIENT]})
    values = [item["value"] for item in answer["predictions"]]
    assert values[0] == values[2] == EXPECTED != values[1]
    flags = [{"code": "outside-expected", "input": "age"}, {"code": "missing", "input": "lactate"}]
    assert answer["predictions"][1]["flags"] == flags


def test_a_unit_is_converted(served: Served) -> None:
    _, answer = served.post({"inputs": PATIENT | {"temperature": {"value": 98.96, "unit": "[degF]"}}})
    assert answer["predictions"][0]["value"] == EXPECTED


@pytest.mark.parametrize("sent", ["", "a b", "x" * 129, "é", "a\tb"])
def test_a_request_id_that_is_no_token_is_replaced(served: Served, sent: str) -> None:
    body = json.dumps({"inputs": PATIENT}).encode()
    headers = {"content-type": "application/json", "x-request-id": sent.encode().decode("latin-1")}
    status, got, answer = served.request("POST", "/predict", body, headers)
    assert status == 200
    assert got["x-request-id"] == json.loads(answer)["id"]
    assert len(got["x-request-id"]) == 32


WRONG: dict[str, tuple[int, str, bytes, dict[str, str]]] = {
    "wrong type": (422, "invalid-inputs", json.dumps({"inputs": PATIENT | {"age": CANARY}}).encode(), {}),
    "missing field": (422, "invalid-inputs", json.dumps({"inputs": {"age": 50}}).encode(), {}),
    "unknown field": (422, "invalid-inputs", json.dumps({"inputs": PATIENT | {CANARY: CANARY}}).encode(), {}),
    "inputs no object": (422, "invalid-inputs", json.dumps({"inputs": [CANARY]}).encode(), {}),
    "duplicate keys": (400, "bad-json", b'{"inputs": {"age": 1, "age": "canary-4711"}}', {}),
    "NaN": (400, "bad-json", b'{"inputs": {"age": NaN, "x": "canary-4711"}}', {}),
    "Infinity": (400, "bad-json", b'{"inputs": {"age": -Infinity}}', {}),
    "overflow": (400, "bad-json", b'{"inputs": {"age": 1e400}}', {}),
    "deep": (400, "bad-json", b'{"inputs": ' + b"[" * 40 + b"]" * 40 + b"}", {}),
    "very deep": (400, "bad-json", b"[" * 200_000, {}),
    "broken UTF-8": (400, "bad-json", b'{"inputs": "\xff canary-4711"}', {}),
    "UTF-16": (400, "bad-json", '{"inputs": {}}'.encode("utf-16"), {}),
    "no JSON": (400, "bad-json", b"canary-4711", {}),
    "trailing garbage": (400, "bad-json", b'{"inputs": {}} canary-4711', {}),
    "empty": (400, "empty-body", b"", {}),
    "neither": (422, "conflicting-body", b"{}", {}),
    "both": (422, "conflicting-body", b'{"inputs": {}, "instances": []}', {}),
    "another key": (422, "conflicting-body", b'{"canary-4711": {}}', {}),
    "array": (422, "conflicting-body", b"[]", {}),
    "null": (422, "conflicting-body", b"null", {}),
    "no instances": (422, "conflicting-body", b'{"instances": []}', {}),
    "too many": (422, "too-many-instances", b'{"instances": [' + b"{}," * 1000 + b"{}]}", {}),
    "10 MB": (413, "body-too-large", b'{"inputs": "' + b"canary-4711" * 1_000_000 + b'"}', {}),
    "media type": (415, "media-type", b"{}", {"content-type": "text/plain; x=canary-4711"}),
    "form": (415, "media-type", b"a=canary-4711", {"content-type": "application/x-www-form-urlencoded"}),
    "charset": (415, "media-type", b"{}", {"content-type": "application/json; charset=latin-1"}),
    "charset in parts": (415, "media-type", b"{}", {"content-type": "a/b; charset*a=x; charset*=y; charset*0*='"}),
    "compressed": (415, "media-type", b"{}", {"content-encoding": "gzip"}),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_bad_request_is_a_problem_that_quotes_nothing(served: Served, name: str) -> None:
    expected, code, body, headers = WRONG[name]
    status, got, answer = served.request("POST", "/predict", body, {"content-type": "application/json"} | headers)
    problem = json.loads(answer)
    assert (status, problem["status"], problem["code"]) == (expected, expected, code)
    assert got["content-type"] == "application/problem+json"
    assert problem["request_id"] == got["x-request-id"]
    said = answer.decode() + str(got) + served.stream.getvalue()
    assert CANARY not in said


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/predict", 405),
        ("DELETE", "/predict", 405),
        ("PATCH", "/predict", 405),
        ("POST", "/readyz", 405),
        ("GET", f"/{CANARY}", 404),
        ("GET", "/metrics", 404),
        ("GET", "/predict/", 404),
        ("POST", f"/predict/../{CANARY}", 404),
        ("GET", f"/model?x={CANARY}", 200),
    ],
)
def test_methods_and_routes_are_exact(served: Served, method: str, path: str, status: int) -> None:
    got, headers, body = served.request(method, path)
    assert got == status
    assert CANARY not in body.decode() + str(headers) + served.stream.getvalue()
    if status == 405:
        assert headers["allow"]


def test_head_is_answered_like_get_without_a_body(served: Served) -> None:
    status, headers, body = served.request("HEAD", "/readyz")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 0


def raw(served: Served, data: bytes, *, close: bool = False) -> bytes:
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        connection.sendall(data)
        if close:
            connection.shutdown(socket.SHUT_WR)
        connection.settimeout(10)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
            if b"\r\n\r\n" in received and not close:
                break
        return received


@pytest.mark.parametrize(
    "data",
    [
        b"canary-4711\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nG",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: canary-4711\r\n\r\n",
    ],
)
def test_broken_http_is_a_4xx_that_quotes_nothing(served: Served, data: bytes) -> None:
    received = raw(served, data)
    assert received.startswith(b"HTTP/1.1 4")
    assert b"canary" not in received
    assert "canary" not in served.stream.getvalue()


def test_a_body_that_never_ends_is_refused_at_its_limit(served: Served) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert b" 413 " in raw(served, head + (b"10000\r\n" + b"a" * 65536 + b"\r\n") * 20)


def test_a_caller_that_goes_away_leaves_the_server_well(served: Served) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall(head)
    assert served.get("/readyz")[0] == 200


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
patients = st.fixed_dictionaries(
    {},
    optional={name: json_values | st.just(value) for name, value in PATIENT.items()} | {"extra": json_values},
)
bodies = (
    json_values | st.fixed_dictionaries({"inputs": patients}) | st.fixed_dictionaries({"instances": st.lists(patients)})
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=bodies)
def test_no_document_makes_the_server_fail(served: Served, value: Any) -> None:
    status, answer = served.post(json.dumps(value).encode("utf-8", "surrogatepass"))
    assert status in (200, 400, 422)
    assert ("predictions" in answer) == (status == 200)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300))
def test_no_bytes_make_the_server_fail(served: Served, data: bytes) -> None:
    status, _ = served.post(data)
    assert status in (400, 422)

"""Who may ask: what is accepted, what is said to those who may not, and keys that are exchanged while it serves."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from served import ENGINES, PATIENT, QUICK, Served, loaded, serving
from wire import dialled, said, statuses

from bedside_runtime import apikeys
from bedside_runtime.audit import reading
from bedside_runtime.contract import Audit, Auth, Serve, encode
from bedside_runtime.errors import AuthKeysInvalid, AuthRefused
from bedside_runtime.loading import Loaded
from bedside_runtime.serve import event_loop
from bedside_runtime.serve.auth.guard import API_KEYS, Guard, is_loopback
from bedside_runtime.serve.auth.verdict import REASONS
from contracts import contract

GUARDED = msgspec.structs.replace(QUICK, auth=Auth(methods=("api-key",)))
BODY = json.dumps({"inputs": PATIENT}).encode()
KEY, OLD, ENDED = (apikeys.make() for _ in range(3))
YESTERDAY = date.today() - timedelta(days=1)  # noqa: DTZ011 - a day too early is still over
READY = {"status": "ready", "reason": "ready", "ready": True, "audit": "none"}
OPEN = ("/livez", "/readyz", "/startupz", "/health", "/ready", "/startup")
CLOSED = (
    *("/model", "/openapi.json", "/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/icu-test"),
    *("/v2/models/icu-test/ready", "/v2/models/other", "/nowhere", "/metrics", "/"),
)


def write(folder: Path, *lines: str) -> Path:
    """Exchange the file of API keys as one does: in one step."""
    new = folder / "new"
    new.write_text("\n".join(lines))
    new.replace(folder / API_KEYS)
    return folder


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lines = apikeys.line("ehr", KEY), apikeys.line("ehr", OLD), apikeys.line("ward", ENDED, YESTERDAY)
    return write(tmp_path_factory.mktemp("keys"), *lines)


@pytest.fixture(scope="module", params=ENGINES)
def server(request: pytest.FixtureRequest, keys: Path) -> Iterator[Served]:
    with serving(loaded(settings=GUARDED, engine=request.param), keys=keys) as served:
        yield served


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def ask(server: Served, **headers: str) -> tuple[int, dict[str, str], dict[str, Any]]:
    status, fields, body = server.request("POST", "/predict", BODY, {"content-type": "application/json", **headers})
    return status, fields, json.loads(body)


# -- what is accepted


@pytest.mark.parametrize("key", [KEY, OLD], ids=["new", "old"])
def test_every_key_of_the_file_may_ask(server: Served, key: str) -> None:
    assert ask(server, **bearer(key))[0] == 200


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer  "])
def test_the_scheme_is_written_as_rfc_9110_allows(server: Served, scheme: str) -> None:
    assert ask(server, authorization=f"{scheme} {KEY}")[0] == 200


def test_every_route_answers_who_may_ask(server: Served) -> None:
    for path in CLOSED[:7]:
        assert server.request("GET", path, headers=bearer(KEY))[0] == 200, path
    assert server.request("GET", "/nowhere", headers=bearer(KEY))[0] == 404
    infer = json.dumps(
        {
            "inputs": [
                {"name": name, "shape": [1], "datatype": kind, "data": [PATIENT[name]]}
                for name, kind in (
                    *(("age", "INT64"), ("temperature", "FP64"), ("lactate", "FP64")),
                    *(("admission", "BYTES"), ("ventilated", "BOOL")),
                )
            ]
        }
    ).encode()
    assert server.request("POST", "/v2/models/icu-test/infer", infer, bearer(KEY))[0] == 200
    through_the_router = server.request("POST", "/%70redict", BODY, {"content-type": "application/json", **bearer(KEY)})
    assert through_the_router[0] == 200
    assert server.request("POST", "/v2/models/icu-test/infer", infer)[0] == 401


@pytest.mark.parametrize("path", OPEN)
def test_probes_are_open_to_everybody(server: Served, path: str) -> None:
    assert server.request("GET", path)[0] == 200
    assert server.request("HEAD", path)[0] == 200
    assert server.request("GET", f"{path}?verbose")[0] == 200


def test_a_connection_may_carry_several_callers_each_judged_alone(server: Served) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % len(BODY)
    good, bad = (head + b"Authorization: Bearer %b\r\n\r\n" % key.encode() + BODY for key in (KEY, apikeys.make()))
    assert statuses(said(server, good + bad + good)) == [200, 401, 200]


# -- what is said to others


@pytest.mark.parametrize("path", CLOSED)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"])
def test_whoever_shows_nothing_learns_not_even_which_routes_there_are(server: Served, method: str, path: str) -> None:
    status, fields, _ = server.request(method, path)
    assert status == 401
    assert fields["www-authenticate"] == 'Bearer realm="icu-test"'


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (f"Bearer {apikeys.make()}", "key-unknown"),
        (f"Bearer {ENDED}", "key-expired"),
        ("Basic ZWhyOmVocg==", "malformed"),
        ("Bearer", "malformed"),
        ("", "malformed"),
    ],
    ids=["unknown", "expired", "basic", "nothing", "empty"],
)
def test_a_credential_that_is_not_believed_is_refused_with_its_reason(server: Served, value: str, reason: str) -> None:
    status, fields, problem = ask(server, authorization=value)
    assert status == 401
    assert (problem["code"], problem["reason"]) == ("unauthenticated", reason)
    assert fields["content-type"] == "application/problem+json"
    challenge = f'Bearer realm="icu-test", error="invalid_token", error_description="{reason}"'
    assert fields["www-authenticate"] == challenge
    assert fields["x-request-id"] == problem["request_id"]


def test_the_body_of_a_stranger_is_neither_read_into_memory_nor_decoded(server: Served) -> None:
    """A body that is no JSON is not called bad, and the connection goes on being of use."""
    head = b"POST /predict HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
    received = said(server, head + b"{" * 9 + head + b"[" * 9)
    assert statuses(received) == [401, 401]


def test_a_stranger_who_asks_whether_to_send_a_body_is_told_at_once_not_to(server: Served) -> None:
    with dialled(server) as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
        )
        assert connection.recv(65_536).startswith(b"HTTP/1.1 401 ")


def test_the_document_says_how_to_show_who_asks(server: Served) -> None:
    document = json.loads(server.request("GET", "/openapi.json", headers=bearer(KEY))[2])
    assert document["components"]["securitySchemes"]["api-key"]["scheme"] == "bearer"
    assert document["security"] == [{"api-key": []}]
    assert {"401", "403"} <= document["paths"]["/predict"]["post"]["responses"].keys()
    assert document["paths"]["/readyz"]["get"]["security"] == []
    assert "security" not in document["paths"]["/model"]["get"]


def test_refusals_are_counted_by_reasons_that_are_all_known_before(server: Served) -> None:
    exposition = server.request("GET", "/metrics", admin=True)[2].decode()
    for reason in REASONS:
        assert f'bedside_authentication_refusals_total{{reason="{reason}",recorded="true"}}' in exposition
    assert 'bedside_authentication_keys_current{source="api-keys"} 1.0' in exposition
    assert KEY not in exposition


# -- who may ask while nothing is known yet


def test_until_the_release_is_verified_nothing_but_probes_is_answered(tmp_path: Path) -> None:
    asked = threading.Event()

    def slow(*_: Any) -> Loaded:
        asked.wait(60)
        return loaded()

    with serving(slow) as served:
        for path in CLOSED:
            status, problem = served.get(path)
            assert (status, problem["code"], problem["reason"]) == (503, "not-ready", "loading")
        assert served.get("/livez")[0] == 200
        asked.set()


def test_a_release_that_asks_for_something_else_than_was_prepared_answers_nobody(keys: Path) -> None:
    def exchanged(*_: Any) -> Loaded:
        return loaded(settings=GUARDED)  # the process was started for one where nobody authenticates

    with serving(exchanged) as served:
        assert served.wait_for("failed")["reason"] == "integrity"
        assert ask(served)[0] == 503


# -- exchanging keys


@contextlib.contextmanager
def exchanging(folder: Path, *lines: str) -> Iterator[Served]:
    with serving(loaded(settings=GUARDED), keys=write(folder, *lines)) as served:
        yield served


def test_a_key_is_exchanged_without_a_restart_and_the_old_one_is_worth_nothing(tmp_path: Path) -> None:
    with exchanging(tmp_path, apikeys.line("ehr", OLD)) as server, dialled(server) as kept:
        request = b"GET /v2 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %b\r\n\r\n" % OLD.encode()
        kept.sendall(request)
        assert _one(kept).startswith(b"HTTP/1.1 200 ")
        write(tmp_path, apikeys.line("ehr", KEY))
        server.wait_for("keys-replaced", source="api-keys")
        assert (ask(server, **bearer(KEY))[0], ask(server, **bearer(OLD))[0]) == (200, 401)
        kept.sendall(request)
        assert _one(kept).startswith(b"HTTP/1.1 401 "), "not even on a connection that was believed before"


def _one(connection: socket.socket) -> bytes:
    """Read one answer whose body is a JSON object."""
    received = b""
    while not received.endswith(b"}"):
        received += connection.recv(65_536)
    return received


@pytest.mark.parametrize("broken", ["", "# all keys are gone", "<html>"])
def test_a_broken_new_file_neither_opens_nor_shuts_and_is_seen(tmp_path: Path, broken: str) -> None:
    with exchanging(tmp_path, apikeys.line("ehr", KEY)) as server:
        write(tmp_path, broken)
        assert server.wait_for("keys-broken", source="api-keys")["level"] == "error"
        assert (ask(server, **bearer(KEY))[0], ask(server)[0]) == (200, 401)
        assert server.get("/readyz") == (200, {**READY, "keys": "stale"})
        exposition = server.request("GET", "/metrics", admin=True)[2].decode()
        assert 'bedside_authentication_keys_current{source="api-keys"} 0.0' in exposition
        write(tmp_path, apikeys.line("ehr", OLD))
        server.wait_for("keys-replaced")
        assert (ask(server, **bearer(OLD))[0], server.get("/readyz")[1]["keys"]) == (200, "current")


# -- the audit log


def _recorded(folder: Path) -> list[dict[str, Any]]:
    files = sorted(folder.rglob("*.jsonl"))
    return [json.loads(line)["body"] for path in files for line in path.read_text().splitlines()]


def test_the_caller_and_the_reason_stand_in_the_audit_log(
    tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = Audit(path=str(tmp_path), payload="none", low_water_bytes=0)
    given = loaded(settings=GUARDED)
    given = msgspec.structs.replace(given, contract=msgspec.structs.replace(given.contract, audit=audit))
    monkeypatch.setenv("POD_NAME", "pod")
    with serving(given, keys=keys) as server:
        assert ask(server, **bearer(KEY))[0] == 200
        assert ask(server, **bearer(ENDED))[0] == 401
        assert server.request("GET", "/model")[0] == 401
        assert server.post(b"{", **bearer(KEY))[0] == 400
    bodies = _recorded(tmp_path)
    assert [item["caller"] for item in bodies if item["kind"] == "prediction"] == ["api-key:ehr"]
    refusals = [(item["caller"], item["status"], item["code"]) for item in bodies if item["kind"] == "refusal"]
    assert refusals == [(None, 401, "key-expired"), (None, 401, "missing"), ("api-key:ehr", 400, "bad-json")]
    assert KEY not in json.dumps(bodies)
    assert ENDED not in json.dumps(bodies)
    assert reading.judge(tmp_path / "pod").verdict == "intact"


def test_strangers_cannot_fill_the_disk_of_the_audit_log(
    tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = Audit(path=str(tmp_path), payload="none", low_water_bytes=0)
    given = loaded(settings=GUARDED)
    given = msgspec.structs.replace(given, contract=msgspec.structs.replace(given.contract, audit=audit))
    monkeypatch.setenv("POD_NAME", "pod")
    with serving(given, keys=keys) as server:
        begun = time.monotonic()
        received = said(server, b"GET /model HTTP/1.1\r\nHost: h\r\n\r\n" * 1_000)
        most = 200 + 10 * (time.monotonic() - begun)
        exposition = server.request("GET", "/metrics", admin=True)[2].decode()
    assert statuses(received) == [401] * 1_000
    refusals = [item for item in _recorded(tmp_path) if item["kind"] == "refusal"]
    assert 200 <= len(refusals) <= most
    rest = f'bedside_authentication_refusals_total{{reason="missing",recorded="false"}} {1_000 - len(refusals)}.0'
    assert rest in exposition


# -- what is refused before anything listens


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.1.2.3", "localhost", "model.example.org", "", "127.0.0.1.example.org"]
)
def test_nobody_beyond_this_machine_is_answered_without_authentication(host: str, keys: Path) -> None:
    with pytest.raises(AuthRefused) as refused:
        Guard(Serve(), host, {})
    assert "mesh terminates it" in refused.value.remedy
    with pytest.raises(AuthRefused, match="--local"):
        Guard(GUARDED, host, {"BEDSIDE_AUTH_KEYS": str(keys)}, local=True)
    Guard(Serve(auth=Auth(acknowledged="mesh terminates it")), host, {})
    Guard(GUARDED, host, {"BEDSIDE_AUTH_KEYS": str(keys)})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1"])
def test_loopback_is_served_to_anybody(host: str) -> None:
    assert is_loopback(host)
    Guard(Serve(), host, {})
    Guard(GUARDED, host, {"BEDSIDE_AUTH_KEYS": "/nowhere"}, local=True)  # and needs no keys then


def test_keys_that_are_not_there_stop_the_start(tmp_path: Path) -> None:
    with pytest.raises(AuthKeysInvalid, match="cannot be read"):
        Guard(GUARDED, "127.0.0.1", {"BEDSIDE_AUTH_KEYS": str(tmp_path)})
    write(tmp_path, KEY)
    with pytest.raises(AuthKeysInvalid) as refused:
        Guard(GUARDED, "127.0.0.1", {"BEDSIDE_AUTH_KEYS": str(tmp_path)})
    assert KEY not in str(refused.value)


def _serve(tmp_path: Path, settings: Serve, *arguments: str, keys: Path | None = None) -> tuple[int, str]:
    (tmp_path / "contract.json").write_bytes(encode(contract(serve=settings)))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "bedside_runtime",
            "serve",
            str(tmp_path),
            "--port",
            "0",
            "--admin-port",
            "0",
            *arguments,
        ],
        env={"BEDSIDE_AUTH_KEYS": str(keys)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


def test_the_command_refuses_to_start_and_says_what_to_do(tmp_path: Path, keys: Path) -> None:
    code, said_ = _serve(tmp_path, QUICK, "--host", "0.0.0.0")
    assert code == 2
    assert "authenticates nobody" in said_
    assert "remedy: Set [serve.auth]" in said_
    assert "listening" not in said_
    assert _serve(tmp_path, GUARDED, "--host", "0.0.0.0", "--local", keys=keys)[0] == 2
    code, said_ = _serve(tmp_path, GUARDED, "--host", "127.0.0.1", keys=tmp_path)
    assert (code, "api-keys.txt cannot be read" in said_, "listening" in said_) == (2, True, False)


def test_a_request_that_no_gate_has_seen_is_answered_by_no_route(server: Served, keys: Path) -> None:
    """As behind another server than ours: the application has no open door of its own."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    async def ask_directly(path: str) -> None:
        application = server.process._application.public
        scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b""}
        await application({**scope, "headers": [], "http_version": "1.1", "root_path": ""}, receive, send)

    for path in ("/model", "/livez", "/v2"):
        sent.clear()
        event_loop.run(ask_directly(path))
        assert sent[0]["status"] == 503
        assert json.loads(sent[1]["body"])["code"] == "authentication-unavailable"

"""Attempts to get past the gate with everything but a credential that is believed. None gets through."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from bypasses import BODY, Noticing, accepted, request
from served import ENGINES, QUICK, Served, loaded, serving
from test_authentication import GUARDED, write
from wire import said, statuses

from bedside_runtime import apikeys

KEY, REVOKED, ENDED = (apikeys.make().encode() for _ in range(3))
GOOD = b"Authorization: Bearer " + KEY
YESTERDAY = date.today() - timedelta(days=1)  # noqa: DTZ011 - a day too early is still over
DIGEST = apikeys.line("x", KEY.decode()).rpartition(":")[2].encode()


@pytest.fixture(scope="module")
def model() -> Noticing:
    return Noticing()


@pytest.fixture(scope="module", params=ENGINES)
def server(
    request: pytest.FixtureRequest, model: Noticing, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    lines = apikeys.line("ehr", KEY.decode()), apikeys.line("old", ENDED.decode(), YESTERDAY)
    folder: Path = write(tmp_path_factory.mktemp("keys"), *lines)
    with serving(loaded(model, GUARDED, request.param), keys=folder) as served:
        yield served


def test_the_way_in_that_is_meant_is_open(server: Served, model: Noticing) -> None:
    before = model.asked
    assert statuses(said(server, request(GOOD))) == [200]
    assert model.asked == before + 1


CREDENTIALS = {
    "nothing": request(),
    "an empty header": request(b"Authorization:"),
    "a scheme alone": request(b"Authorization: Bearer"),
    "a key alone": request(b"Authorization: " + KEY),
    "another scheme": request(b"Authorization: Basic " + KEY),
    "a scheme that begins alike": request(b"Authorization: BearerX " + KEY),
    "two schemes": request(b"Authorization: Bearer Bearer " + KEY),
    "a key in angle brackets": request(b"Authorization: Bearer <" + KEY + b">"),
    "a key in quotes": request(b'Authorization: Bearer "' + KEY + b'"'),
    "a key as a parameter": request(b"Authorization: Bearer token=" + KEY),
    "a list of keys": request(b"Authorization: Bearer " + KEY + b", " + KEY),
    "a tab for the space": request(b"Authorization: Bearer\t" + KEY),
    "a key with a space inside": request(b"Authorization: Bearer " + KEY[:9] + b" " + KEY[9:]),
    "a key cut short": request(b"Authorization: Bearer " + KEY[:-1]),
    "a key grown longer": request(b"Authorization: Bearer " + KEY + b"A"),
    "a key in capitals": request(b"Authorization: Bearer " + KEY.upper()),
    "a key with its case swapped": request(b"Authorization: Bearer " + KEY.swapcase()),
    "the hash of a key": request(b"Authorization: Bearer " + DIGEST),
    "the hash in the form of a key": request(b"Authorization: Bearer bsk_" + DIGEST[:43]),
    "a key that never was": request(b"Authorization: Bearer " + apikeys.make().encode()),
    "a key that was taken out": request(b"Authorization: Bearer " + REVOKED),
    "a key whose last day is over": request(b"Authorization: Bearer " + ENDED),
    "the same header twice": request(GOOD, GOOD),
    "a good header before a bad one": request(GOOD, b"Authorization: Bearer x"),
    "a bad header before a good one": request(b"Authorization: Bearer x", GOOD),
    "headers of different case": request(GOOD, b"AUTHORIZATION: Bearer x"),
    "a header folded over two lines": request(b"Authorization: Bearer\r\n " + KEY),
    "a space before the colon": request(b"Authorization : Bearer " + KEY),
    "a zero byte after the name": request(b"Authorization\x00: Bearer " + KEY),
    "an underscore for nothing": request(b"Authorization_: Bearer " + KEY),
    "a header of a proxy": request(b"Proxy-Authorization: Bearer " + KEY),
    "X-API-Key": request(b"X-API-Key: " + KEY),
    "X-Forwarded-Authorization": request(b"X-Forwarded-Authorization: Bearer " + KEY),
    "X-Original-Authorization": request(b"X-Original-Authorization: Bearer " + KEY),
    "a header that says who it is": request(b"X-Forwarded-User: ehr", b"X-Remote-User: ehr", b"Remote-User: ehr"),
    "a certificate of a proxy": request(b"X-SSL-Client-Verify: SUCCESS", b"X-Forwarded-Client-Cert: Subject=ehr"),
    "a key in a cookie": request(b"Cookie: Authorization=Bearer " + KEY),
    "a key in the query": request(line=b"POST /predict?access_token=%b HTTP/1.1" % KEY),
    "a key in the user of the target": request(line=b"POST http://ehr:%b@h/predict HTTP/1.1" % KEY),
    "a key in the body": request(body=b'{"access_token":"%b",%b' % (KEY, BODY[1:])),
    "a key in the request id": request(b"X-Request-Id: " + KEY),
    "a very long credential": request(b"Authorization: Bearer " + b"A" * 20_000),
}
"""Other credentials, and the right one in other places."""

PATHS = {
    "two slashes": b"//predict",
    "a slash at the end": b"/predict/",
    "an escaped letter": b"/%70redict",
    "an escaped slash": b"/%2fpredict",
    "an escaped slash at the end": b"/predict%2f",
    "a dot": b"/./predict",
    "dots through a probe": b"/livez/../predict",
    "escaped dots through a probe": b"/livez/%2e%2e/predict",
    "escaped slashes through a probe": b"/livez%2f..%2fpredict",
    "a backslash through a probe": b"/livez\\..\\predict",
    "parameters of a path": b"/predict;a=b",
    "parameters of a probe": b"/livez;/../predict",
    "capitals": b"/PREDICT",
    "a probe's name as the query": b"/predict?/livez",
    "a probe's name as the fragment": b"/predict#/livez",
    "a prediction behind a probe's query": b"/livez?/predict",
    "an escaped question mark": b"/livez%3f/predict",
    "a zero byte": b"/livez%00/predict",
    "absolute form": b"http://h/predict",
    "absolute form with a probe as the host": b"http://livez/predict",
    "absolute form of TLS": b"https://h/predict",
    "no slash": b"predict",
    "a tensor route": b"/v2/models/icu-test/infer",
    "a tensor route with its version": b"/v2/models/icu-test/versions/1.2.3/infer",
    "a tensor route with escapes": b"/v2/models/icu%2Dtest/infer",
    "a tensor route through a health route": b"/v2/health/live/../../models/icu-test/infer",
    "metrics of the admin port": b"/metrics",
    "a probe that is posted to": b"/livez",
}
"""Other ways to write the target; each is posted to and asked for."""

METHODS = ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "post", "BREW", "M-SEARCH", "PRI"]

OTHERS = {
    "HTTP/1.0": request(line=b"POST /predict HTTP/1.0"),
    "HTTP/1.0 without a host": request(line=b"POST /predict HTTP/1.0", host=b""),
    "HTTP/0.9": b"POST /predict\r\n\r\n" + BODY,
    "HTTP/2 without asking": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an upgrade to HTTP/2": request(
        b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"
    ),
    "an upgrade to a websocket": b"GET /predict HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    "a tunnel": b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n" + request(),
    "a method that overrides": request(b"X-HTTP-Method-Override: POST", line=b"GET /predict HTTP/1.1"),
    "another method that overrides": request(
        b"X-HTTP-Method: POST", b"X-Method-Override: POST", line=b"PUT /predict HTTP/1.1"
    ),
    "a method of a form": request(line=b"GET /predict?_method=POST HTTP/1.1"),
    "a target that overrides": request(
        b"X-Original-URL: /predict", b"X-Rewrite-URL: /predict", line=b"POST /livez HTTP/1.1"
    ),
    "a probe that overrides": request(b"X-Original-URL: /livez", b"X-Rewrite-URL: /livez"),
    "loopback as the origin": request(
        b"X-Forwarded-For: 127.0.0.1", b"X-Real-IP: 127.0.0.1", b"Forwarded: for=127.0.0.1"
    ),
    "loopback as the host": request(host=b"Host: 127.0.0.1"),
    "two hosts": request(b"Host: localhost"),
    "the admin port as the host": request(
        b"X-Forwarded-Port: 8081", line=b"GET /metrics HTTP/1.1", host=b"Host: h:8081"
    ),
    "a header among the trailers": b"POST /predict HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\nTrailer: Authorization\r\n\r\n%x\r\n%b\r\n0\r\n%b\r\n\r\n"
    % (len(BODY), BODY, GOOD),
    "a connection header that names it": request(b"Connection: Authorization", b"Authorization: Bearer x"),
    "an expectation": request(b"Expect: 100-continue"),
    "a request hidden in a body": request(body=request(GOOD)),
    "two lengths": request(b"Content-Length: 0"),
    "a length and chunks": request(b"Transfer-Encoding: chunked"),
    "a null origin": request(
        b"Origin: null", b"Access-Control-Request-Method: POST", line=b"OPTIONS /predict HTTP/1.1"
    ),
    "a line of a proxy protocol": b"PROXY TCP4 127.0.0.1 127.0.0.1 1 1\r\n" + request(),
}
"""Other ways to speak HTTP, and to say where one comes from."""

AFTER = {
    "a second one in the same piece": request(GOOD) + request(),
    "a third one": request(GOOD) + request() + request(b"Authorization: Bearer x"),
    "one through the router": request(GOOD) + request(line=b"POST /%70redict HTTP/1.1"),
    "one for the card": request(GOOD) + b"GET /model HTTP/1.1\r\nHost: h\r\n\r\n",
    "one behind a probe": b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n" + request(),
    "one behind a chunked body": request(GOOD, b"Transfer-Encoding: chunked").replace(b"Content-Length", b"X-Length")[
        : -len(BODY)
    ]
    + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    + request(),
}
"""What comes on a connection after a request that may pass; that one alone does."""


@pytest.mark.parametrize("attempt", CREDENTIALS.values(), ids=CREDENTIALS)
def test_no_other_credential_is_believed_and_none_in_another_place(
    server: Served, model: Noticing, attempt: bytes
) -> None:
    assert accepted(server, model, attempt) == ""


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_no_way_of_writing_a_path_leads_past(server: Served, model: Noticing, path: bytes) -> None:
    assert accepted(server, model, request(line=b"POST %b HTTP/1.1" % path)) == ""
    if path != b"/livez" and not path.startswith(b"/livez?"):  # those are probes, and nothing else
        assert accepted(server, model, request(line=b"GET %b HTTP/1.1" % path)) == ""


@pytest.mark.parametrize("method", METHODS)
def test_no_method_leads_past(server: Served, model: Noticing, method: str) -> None:
    assert accepted(server, model, request(line=b"%b /predict HTTP/1.1" % method.encode())) == ""


@pytest.mark.parametrize("attempt", OTHERS.values(), ids=OTHERS)
def test_no_other_way_of_speaking_leads_past(server: Served, model: Noticing, attempt: bytes) -> None:
    assert accepted(server, model, attempt) == ""


@pytest.mark.parametrize("attempt", AFTER.values(), ids=AFTER)
def test_whoever_may_pass_opens_the_door_for_nobody_behind(server: Served, model: Noticing, attempt: bytes) -> None:
    assert accepted(server, model, attempt, let_in=1) == ""


@pytest.mark.parametrize("path", ["/predict", "/model", "/v2", "/v2/models/icu-test/infer", "/openapi.json"])
def test_the_admin_port_has_none_of_the_public_routes(server: Served, path: str) -> None:
    for method in ("GET", "POST"):
        assert server.request(method, path, BODY, {"authorization": f"Bearer {KEY.decode()}"}, admin=True)[0] == 404


def test_the_public_port_has_no_metrics_even_for_those_who_may_ask(server: Served) -> None:
    assert server.request("GET", "/metrics", headers={"authorization": f"Bearer {KEY.decode()}"})[0] == 404


def test_where_nobody_authenticates_the_same_attempts_do_get_through(tmp_path: Path) -> None:
    """So that what holds them is the gate and nothing else."""
    model = Noticing()
    with serving(loaded(model, QUICK)) as served:
        through = [name for name, attempt in {**CREDENTIALS, **OTHERS}.items() if accepted(served, model, attempt)]
        assert {"nothing", "a key in the query", "HTTP/1.0", "a header among the trailers", "two schemes"} <= {*through}
        assert accepted(served, model, request(line=b"POST /%70redict HTTP/1.1"))
        assert accepted(served, model, request(line=b"POST http://h/predict HTTP/1.1"))

"""Keys behind an https address: fetched again, kept through failures, dropped in the end; a real issuer on loopback."""

import asyncio
import contextlib
import http.server
import io
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("jwt", reason="bearer tokens need the extra `auth`")

from authorities import Authority
from issuing import AUDIENCE, ISSUER, Signer, claims, key_set
from served import QUICK, Served, loaded, serving

from bedside_runtime.contract import Auth, Jwt
from bedside_runtime.errors import AuthKeysInvalid
from bedside_runtime.serve import event_loop
from bedside_runtime.serve.auth import fetched
from bedside_runtime.serve.auth.fetched import Fetched, over_https
from bedside_runtime.serve.logs import EventLog

ONE, TWO = Signer("ES256", "one"), Signer("ES256", "two")
Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


def answering(data: bytes, status: int = 200, **headers: str) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def dripping(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(200):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)


class Issuer:
    """Serves a key set over TLS; ``answer`` may be exchanged while it does."""

    def __init__(self, authority: Authority) -> None:
        self.answer: Answer = answering(key_set(ONE))
        self.asked = 0
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                with contextlib.suppress(OSError):
                    issuer.answer(self)

            def finish(self) -> None:
                with contextlib.suppress(OSError):  # the client has gone in the middle of an answer
                    super().finish()
                self.rfile.close()

            def log_message(self, *_: Any) -> None:
                return

        pair = authority.server()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False  # so that closing it waits for every connection to be closed
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign] # a handshake that fails is no news
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.address = f"https://127.0.0.1:{self._server.server_port}/keys"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    (tmp_path / "ca").mkdir()
    return Authority(tmp_path / "ca")


@pytest.fixture
def issuer(authority: Authority) -> Iterator[Issuer]:
    started = Issuer(authority)
    yield started
    started.stop()


# -- one fetch


def test_the_key_set_is_fetched(issuer: Issuer, authority: Authority) -> None:
    assert over_https(issuer.address, authority.certificate)() == key_set(ONE)


@pytest.mark.parametrize(
    "answer",
    [
        answering(b"", 500),
        answering(b"", 404),
        answering(b"", 301, Location="https://127.0.0.1:1/keys"),
        answering(b"", 302, Location="/other"),
        answering(b"", 302, Location="file:///etc/passwd"),
        answering(b"", 307, Location="http://127.0.0.1:1/"),
        answering(b"a" * 1_100_000),
        dripping,
        lambda handler: handler.wfile.write(b"no HTTP\r\n\r\n"),
        lambda handler: handler.connection.close(),
    ],
    ids=["500", "404", "301", "302", "file", "307", "large", "slow", "no HTTP", "closed"],
)
def test_nothing_else_is_taken_for_one(
    issuer: Issuer, authority: Authority, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetched, "FETCH_SECONDS", 1.0)
    issuer.answer = answer
    with pytest.raises((OSError, fetched.HTTPException, AuthKeysInvalid)):
        over_https(issuer.address, authority.certificate)()
    assert issuer.asked == 1, "no redirect is followed"


def test_an_issuer_under_another_authority_or_name_is_none(
    issuer: Issuer, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    for authorities in (Authority(tmp_path / "other").certificate, tmp_path / "nowhere"):
        with pytest.raises(OSError, match="certificate verify failed"):
            over_https(issuer.address, authorities)()
    with pytest.raises(OSError, match="certificate verify failed"):
        over_https(issuer.address.replace("127.0.0.1", "localhost"), authority.certificate)()
    assert issuer.asked == 0


@pytest.mark.parametrize("address", ["http://127.0.0.1/keys", "file:///etc/passwd", "ftp://127.0.0.1/", "", "HTTPS//x"])
def test_no_other_scheme_is_fetched(address: str, tmp_path: Path) -> None:
    with pytest.raises(AuthKeysInvalid, match="https"):
        over_https(address, tmp_path)


# -- keeping them


class Scripted:
    """What fetches answer, one after the other; the last one again and again."""

    def __init__(self, *answers: bytes | Exception) -> None:
        self.answers, self.asked = list(answers), 0
        self.turns: threading.Semaphore | None = None  # as many are answered, where there are any

    def __call__(self) -> bytes:
        if self.turns is not None:
            assert self.turns.acquire(timeout=60)
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if isinstance(answer, Exception):
            raise answer
        return answer


def _words(data: bytes) -> str:
    if data == b"bad":
        raise AuthKeysInvalid("bad")
    return data.decode()


def keeping(fetch: Callable[[], bytes], refresh: float = 60.0, stale: float = 60.0) -> Fetched[str]:
    return Fetched("jwks", fetch, _words, refresh_seconds=refresh, stale_seconds=stale)


async def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def kept(keys: Fetched[str], log: io.StringIO | None = None) -> Any:
    task = asyncio.create_task(keys.keep(EventLog(log or io.StringIO())))
    try:
        yield
    finally:
        task.cancel()


def test_keys_are_fetched_again_and_failures_keep_the_old_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetched, "_FIRST_RETRY", 0.01)
    monkeypatch.setattr(fetched, "FETCH_SECONDS", 60.0)
    fetch, log = Scripted(b"a", OSError("gone"), b"bad", b"b"), io.StringIO()
    fetch.turns = turns = threading.Semaphore(1)
    keys = keeping(fetch, refresh=0.05)

    async def run() -> None:
        assert (keys.value, keys.stale) == (None, True)
        async with kept(keys, log):
            await _until(lambda: keys.value == "a")
            turns.release()
            await _until(lambda: keys.stale)
            assert keys.value == "a"
            turns.release(2)
            await _until(lambda: keys.value == "b")
            assert not keys.stale

    event_loop.run(run())
    assert [json.loads(line)["event"] for line in log.getvalue().splitlines()] == [
        "keys-replaced",
        "keys-broken",
        "keys-replaced",
    ]


def test_keys_that_cannot_be_fetched_for_long_are_dropped() -> None:
    fetch = Scripted(b"a", OSError("gone"))
    keys = keeping(fetch, refresh=0.02, stale=2.0)

    async def run() -> None:
        async with kept(keys):
            await _until(lambda: keys.value == "a")
            await _until(lambda: keys.value is None)

    event_loop.run(run())


def test_an_answer_that_is_the_same_leaves_the_same_keys() -> None:
    fetch = Scripted(b"a")
    keys = Fetched("jwks", fetch, lambda data: [data], refresh_seconds=0.01, stale_seconds=60.0)

    async def run() -> None:
        async with kept(keys):  # type: ignore[arg-type] # lists are as good as words
            await _until(lambda: keys.value is not None)
            before = keys.value
            await _until(lambda: fetch.asked > 3)
            assert keys.value is before

    event_loop.run(run())


def test_asking_again_is_limited_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetched, "PAUSE_SECONDS", 600.0)
    fetch = Scripted(b"a", b"b")
    keys = keeping(fetch)

    async def run() -> None:
        async with kept(keys):
            await _until(lambda: keys.value == "a")
            assert keys.again() is None, "they have only just been fetched"
            monkeypatch.setattr(fetched, "PAUSE_SECONDS", 0.2)
            await asyncio.sleep(0.3)
            asked = [keys.again() for _ in range(100)]
            assert len({id(future) for future in asked}) == 1, "all wait for the same fetch"
            assert asked[0] is not None
            monkeypatch.setattr(fetched, "PAUSE_SECONDS", 600.0)
            await asked[0]
            assert keys.value == "b"
            assert keys.again() is None
            assert fetch.asked == 2

    event_loop.run(run())


def test_a_fetch_that_hangs_neither_blocks_the_loop_nor_holds_anybody_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetched, "FETCH_SECONDS", 2.0)
    hanging = threading.Event()

    def fetch() -> bytes:
        hanging.wait(60)
        return b"a"

    keys = keeping(fetch)

    async def run() -> None:
        async with kept(keys):
            await asyncio.sleep(0.05)
            coming = keys.again()
            assert coming is not None
            ticks = 0
            while not coming.done():
                ticks += 1
                await asyncio.sleep(0.01)
            assert ticks > 5
            assert keys.stale

    event_loop.run(run())
    hanging.set()


# -- in the server


@contextlib.contextmanager
def trusting(issuer: Issuer, folder: Path, authority: Authority, **changes: Any) -> Iterator[Served]:
    (folder / "jwks-ca.crt").write_bytes(authority.certificate.read_bytes())
    jwt = Jwt(issuer=ISSUER, audience=AUDIENCE, jwks=issuer.address, **changes)
    settings = msgspec.structs.replace(QUICK, auth=Auth(methods=("jwt",), jwt=jwt))
    with serving(loaded(settings=settings), keys=folder) as served:
        yield served


def ask(server: Served, signer: Signer) -> tuple[int, Any]:
    status, _, body = server.request("GET", "/model", headers={"authorization": f"Bearer {signer.token(claims())}"})
    return status, json.loads(body)


def test_a_new_key_of_the_issuer_is_believed_with_the_first_token_that_names_it(
    issuer: Issuer, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetched, "PAUSE_SECONDS", 0.2)
    with trusting(issuer, tmp_path, authority) as server:
        assert (ask(server, ONE)[0], ask(server, TWO)[0]) == (200, 401)
        issuer.answer = answering(key_set(TWO))
        time.sleep(0.3)
        assert ask(server, TWO)[0] == 200
        assert ask(server, ONE)[0] == 401, "the key that the issuer has withdrawn is worth nothing"


def test_strangers_cannot_make_the_server_ask_the_issuer_without_end(
    issuer: Issuer, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetched, "PAUSE_SECONDS", 600.0)  # however long those who ask here take
    with trusting(issuer, tmp_path, authority) as server:
        server.wait_for("keys-replaced")
        for number in range(50):
            assert ask(server, Signer("ES256", f"kid{number}"))[0] == 401
    assert issuer.asked == 1


def test_without_keys_nobody_is_answered_and_the_process_is_not_ready_until_they_come(
    issuer: Issuer, authority: Authority, tmp_path: Path
) -> None:
    issuer.answer = answering(b"", 503)
    with trusting(issuer, tmp_path, authority) as server:
        server.wait_for("keys-broken", source="jwks")
        status, problem = ask(server, ONE)
        assert (status, problem["code"], problem["reason"]) == (503, "authentication-unavailable", "keys-unavailable")
        status, ready = server.get("/readyz")
        assert (status, ready["reason"], ready["keys"]) == (503, "keys-unavailable", "unavailable")
        assert server.get("/livez")[0] == 200
        issuer.answer = answering(key_set(ONE))
        server.wait_for("keys-replaced", source="jwks")
        assert (ask(server, ONE)[0], server.get("/readyz")[0]) == (200, 200)


def test_while_an_issuer_is_slow_others_are_answered(
    issuer: Issuer, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetched, "FETCH_SECONDS", 120.0)
    asked, others_answered = threading.Event(), threading.Event()

    def waiting(handler: http.server.BaseHTTPRequestHandler) -> None:
        asked.set()
        others_answered.wait(60)
        answering(key_set(ONE))(handler)

    issuer.answer = waiting
    with trusting(issuer, tmp_path, authority) as server:
        assert asked.wait(60)
        try:
            assert [server.get("/livez")[0] for _ in range(20)] == [200] * 20
            assert "keys-replaced" not in [event["event"] for event in server.events()]
        finally:
            others_answered.set()
        server.wait_for("keys-replaced")
        assert ask(server, ONE)[0] == 200

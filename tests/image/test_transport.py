"""What may be sent where: TLS, redirects, and whose eyes see the password."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.image.certificates import Authority
from tests.image.simulated_registry import Handler, Registry, matching, running, sha256

from bedside.errors import RegistryDenied, RegistryFailed, RegistryInterrupted, UsageError
from bedside.image.authentication import Password
from bedside.image.oci import describe
from bedside.image.registry import Repository
from bedside.image.transport import Request, Session, certificates, is_loopback
from bedside.image.uploading import Blob, Upload

ALICE = Password("alice", "correct horse")
NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
PING = Request("GET", "/v2/icu/manifests/1.0.0", "answer")


@pytest.fixture
def registry() -> Iterator[Registry]:
    with running() as started:
        yield started


@pytest.fixture
def elsewhere() -> Iterator[Registry]:
    with running() as started:
        yield started


def _session(registry: Registry) -> Session:
    return Session(registry.host, lambda: ALICE, trust=NOBODY, plain_http=True, pause=lambda _: None)


@pytest.mark.parametrize("host", ["registry.example.org", "10.0.0.1:5000", "localhost.example.org", "[fe80::1]:5000"])
def test_plain_http_goes_to_no_other_machine(host: str) -> None:
    with pytest.raises(UsageError, match="plain HTTP to"):
        Session(host, lambda: None, trust=NOBODY, plain_http=True)


@pytest.mark.parametrize("host", ["127.0.0.1:5000", "127.9.9.9", "localhost", "localhost:80", "[::1]:5000"])
def test_this_machine_is_known_by_its_names(host: str) -> None:
    assert is_loopback(host)


def test_tls_is_demanded_where_nothing_else_is_asked_for(registry: Registry) -> None:
    session = Session(registry.host, lambda: ALICE, trust=NOBODY, pause=lambda _: None)
    with session, pytest.raises(RegistryInterrupted, match="cannot be reached"):
        session.send(PING)
    assert registry.seen == []


def test_plain_http_goes_through_no_proxy(
    registry: Registry, elsewhere: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.password = (ALICE.user, ALICE.secret)
    monkeypatch.setenv("HTTP_PROXY", f"http://{elsewhere.host}")
    with _session(registry) as session:
        assert session.send(PING).status == 404
    assert elsewhere.seen == []


@pytest.mark.parametrize("proxy", ["gopher://user:a-secret@proxy", "socks5://user:a-secret@proxy", "http://a-secret:x"])
def test_a_proxy_that_cannot_be_used_is_said_without_its_password(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(UsageError, match="the proxy in HTTPS_PROXY") as refused:
        Session("registry.example.org", lambda: None, trust=NOBODY)
    assert "a-secret" not in f"{refused.value} {refused.value.remedy}"


def test_a_proxy_that_leads_nowhere_is_said(elsewhere: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:a-secret@{elsewhere.host}")
    session = Session("registry.example.org", lambda: ALICE, trust=NOBODY, pause=lambda _: None)
    with session, pytest.raises(RegistryInterrupted, match=r"proxy does not lead to registry\.example\.org") as refused:
        session.send(PING)
    assert "HTTPS_PROXY" in refused.value.remedy
    assert ALICE.secret not in str([item.headers for item in elsewhere.seen])


def _with_tls(registry: Registry, directory: Path) -> Path:
    authority = Authority(directory)
    cert, key = authority.issue(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    registry.socket = context.wrap_socket(registry.socket, server_side=True)
    return authority.certificate


def test_a_certificate_of_ones_own_authority_is_believed_when_named(registry: Registry, tmp_path: Path) -> None:
    cert = _with_tls(registry, tmp_path)
    with Session(registry.host, lambda: None, trust=certificates(cert)) as session:
        assert session.send(PING).status == 404


def test_an_unknown_certificate_is_refused_at_once(registry: Registry, tmp_path: Path) -> None:
    _with_tls(registry, tmp_path)
    waits: list[float] = []
    session = Session(registry.host, lambda: ALICE, pause=waits.append)
    with session, pytest.raises(RegistryFailed, match="not trusted here: certificate verify failed") as refused:
        session.send(PING)
    assert "--ca-file" in refused.value.remedy
    assert waits == []
    assert registry.seen == []


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_without_certificates_is_said(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.crt"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=r"ca\.crt"):
        certificates(path)


def test_a_registry_that_is_not_there_is_said() -> None:
    session = Session("127.0.0.1:1", lambda: ALICE, trust=NOBODY, plain_http=True, pause=lambda _: None)
    with session, pytest.raises(RegistryInterrupted, match="cannot be reached: Connection refused"):
        session.send(PING)


def test_a_blob_elsewhere_is_fetched_without_the_password(registry: Registry, elsewhere: Registry) -> None:
    registry.password = (ALICE.user, ALICE.secret)
    elsewhere.repository("icu").blobs[sha256(b"layer")] = b"layer"
    url = f"http://{elsewhere.host}/v2/icu/blobs/{sha256(b'layer')}"

    def away(handler: Handler) -> None:
        if handler.allowed():
            handler.answer(307, {"Location": url})

    registry.trouble.append(matching("GET", "/blobs/", away, times=2))
    with _session(registry) as session:
        assert b"".join(Repository(session, "icu").blob(describe(b"layer", "x/y"))) == b"layer"
    assert registry.seen[-1].authorization == ALICE.header
    assert [item.authorization for item in elsewhere.seen] == [None]


def test_an_upload_elsewhere_is_sent_without_the_password(registry: Registry, elsewhere: Registry) -> None:
    registry.password = (ALICE.user, ALICE.secret)
    elsewhere.uploads["key"] = bytearray()

    def away(handler: Handler) -> None:
        if handler.allowed():
            handler.answer(202, {"Location": f"http://{elsewhere.host}/v2/icu/blobs/uploads/key"})

    registry.trouble.append(matching("POST", "/blobs/", away, times=2))
    with _session(registry) as session:
        Upload(session, "icu").send(Blob(describe(b"layer", "x/y"), lambda: iter([b"layer"])))
    assert elsewhere.repository("icu").blobs == {sha256(b"layer"): b"layer"}
    assert [item.authorization for item in elsewhere.seen] == [None]


@pytest.mark.parametrize(
    "url", ["http://registry.example.org/x", "ftp://127.0.0.1/x", "file:///etc/passwd", "http://[x"]
)
def test_nothing_is_sent_to_an_address_without_tls(registry: Registry, url: str) -> None:
    registry.trouble.append(matching("GET", "", lambda handler: handler.answer(307, {"Location": url})))
    with _session(registry) as session, pytest.raises(RegistryFailed, match="address"):
        session.send(PING)


def test_a_password_is_sent_to_no_token_service_without_tls(registry: Registry) -> None:
    realm = {"WWW-Authenticate": 'Bearer realm="http://auth.example.org/token",service="x"'}
    registry.trouble.append(matching("GET", "", lambda handler: handler.answer(401, realm)))
    with _session(registry) as session, pytest.raises(RegistryFailed, match="without TLS"):
        session.send(PING)


@pytest.mark.parametrize("body", [b"", b"{}", b"[", b'{"token": 7}', b'{"token": "a\\nb"}'])
def test_a_token_service_that_gives_none_is_said(registry: Registry, body: bytes) -> None:
    registry.tokens = set()
    registry.trouble.append(matching("GET", "/token", lambda handler: handler.answer(200, {}, body)))
    with _session(registry) as session, pytest.raises(RegistryFailed, match="without a token"):
        session.send(PING)


def test_redirects_end(registry: Registry) -> None:
    again = matching("GET", "", lambda handler: handler.answer(302, {"Location": handler.path}), times=100)
    registry.trouble.append(again)
    with _session(registry) as session, pytest.raises(RegistryFailed, match="redirects without end"):
        session.send(PING)
    assert len(registry.seen) < 10


def test_only_the_code_of_an_error_is_shown(registry: Registry) -> None:
    registry.trouble.append(matching("GET", "", lambda handler: handler.error(403, "DENIED")))
    with _session(registry) as session, pytest.raises(RegistryDenied, match=r"status 403 \(DENIED\)$"):
        session.send(PING)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"errors": 3}', b'{"errors": [{"code": "Basic YWxpY2U6"}]}', b"[" * 9999]
)
def test_an_error_answer_of_any_kind_is_survived(registry: Registry, body: bytes) -> None:
    registry.trouble.append(matching("GET", "", lambda handler: handler.answer(403, {}, body)))
    with _session(registry) as session, pytest.raises(RegistryDenied, match=r"status 403$"):
        session.send(PING)


def test_cookies_are_not_kept(registry: Registry) -> None:
    registry.trouble.append(matching("GET", "", lambda handler: handler.answer(404, {"Set-Cookie": "a=b"})))
    with _session(registry) as session:
        session.send(PING)
        session.send(PING)
    assert "Cookie" not in registry.seen[1].headers

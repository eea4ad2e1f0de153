"""The way to a pod: TLS inside of another stream, and what is said where there is no way."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpcore
import pytest
from httpcore import SyncBackend
from tests.image.certificates import Authority

from bedside.kube.cluster.tunnel import Within

BODY = bytes(range(256)) * 4096


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def _server(directory: Path, *, asks: bool = False) -> Iterator[tuple[int, Authority]]:
    authority = Authority(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue(directory))
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(authority.certificate)
    server = HTTPServer(("127.0.0.1", 0), _Echo)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1], authority
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def _ask(port: int, context: ssl.SSLContext, name: str = "127.0.0.1") -> bytes:
    with closing(SyncBackend().connect_tcp("127.0.0.1", port, timeout=20)) as plain:
        stream = Within(plain, context, name, 20)
        origin = httpcore.Origin(b"https", b"pod", port)
        connection = httpcore.HTTP11Connection(origin, stream)
        headers = [("Host", "pod"), ("Content-Length", str(len(BODY)))]
        return connection.request("POST", f"https://pod:{port}/", headers=headers, content=BODY).content


def test_large_bodies_go_through_tls_inside_of_another_stream(tmp_path: Path) -> None:
    with _server(tmp_path) as (port, authority):
        context = ssl.create_default_context(cafile=authority.certificate)
        assert _ask(port, context) == BODY


def test_a_certificate_of_another_authority_is_not_believed(tmp_path: Path) -> None:
    with (
        _server(tmp_path) as (port, _),
        pytest.raises(httpcore.ConnectError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        _ask(port, ssl.create_default_context())


def test_a_certificate_for_another_name_is_not_believed(tmp_path: Path) -> None:
    with _server(tmp_path) as (port, authority):
        context = ssl.create_default_context(cafile=authority.certificate)
        with pytest.raises(httpcore.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            _ask(port, context, "icu.icu.svc")


def test_a_certificate_is_shown_where_the_pod_asks_for_one(tmp_path: Path) -> None:
    with _server(tmp_path, asks=True) as (port, authority):
        (tmp_path / "client").mkdir()
        context = ssl.create_default_context(cafile=authority.certificate)
        with pytest.raises((httpcore.NetworkError, httpcore.RemoteProtocolError, ssl.SSLError)):
            _ask(port, context)
        context.load_cert_chain(*authority.issue(tmp_path / "client"))
        assert _ask(port, context) == BODY

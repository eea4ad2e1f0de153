"""TLS on the public port: what is spoken, which certificates are served, and clients that show one of their own."""

import contextlib
import http.client
import ipaddress
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("cryptography", reason="the authorities of these tests are made with it")

from authorities import Authority, Pair
from bypasses import BODY, Noticing, request
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from served import ENGINES, QUICK, Served, Switchable, loaded, serving
from test_processes import running
from test_workers import all_ready
from wire import statuses

from bedside_runtime import apikeys
from bedside_runtime.contract import Auth, Serve, Tls
from bedside_runtime.errors import AuthKeysInvalid, TlsInvalid
from bedside_runtime.serve.auth import certificates
from bedside_runtime.serve.auth.guard import Guard
from bedside_runtime.serve.tls import endpoint

SPEAKING = msgspec.structs.replace(QUICK, tls=Tls())
MUTUAL = msgspec.structs.replace(SPEAKING, auth=Auth(methods=("mtls",)))
EITHER = msgspec.structs.replace(SPEAKING, auth=Auth(methods=("mtls", "api-key")))
LISTED = "# who may ask\ndns:ehr.example.org\nuri:spiffe://hospital/ward/7\nemail:icu@example.org\nip:2001:db8::7\n"
KEY = apikeys.make()


def mount(folder: Path, pair: Pair, authority: Authority | None = None, names: str = LISTED) -> None:
    """Put the files of a server where they are looked for; each is exchanged in one step."""
    given = {"tls.crt": pair.certificate.read_text(), "tls.key": pair.key.read_text(), "client-names.txt": names}
    if authority is not None:
        given["client-ca.crt"] = authority.certificate.read_text()
    given["api-keys.txt"] = apikeys.line("ehr", KEY)
    for name, text in given.items():
        (folder / "new").write_text(text)
        (folder / "new").replace(folder / name)


class Place:
    """Authorities, files and a server that reads them."""

    def __init__(self, root: Path) -> None:
        self.made, self.keys = root / "made", root / "keys"
        self.made.mkdir()
        self.keys.mkdir()
        self.servers, self.clients = Authority(self.made, "servers"), Authority(self.made, "clients")
        mount(self.keys, self.servers.server(), self.clients)

    def context(self, client: Pair | None = None, **versions: ssl.TLSVersion) -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=self.servers.certificate)
        for name, version in versions.items():
            setattr(made, name, version)
        if client is not None:
            made.load_cert_chain(client.certificate, client.key)
        return made

    @contextlib.contextmanager
    def dialled(self, server: Served, client: Pair | None = None, **versions: Any) -> Iterator[ssl.SSLSocket]:
        with (
            socket.create_connection(("127.0.0.1", server.port), 10) as plain,
            self.context(client, **versions).wrap_socket(plain, server_hostname="127.0.0.1") as spoken,
        ):
            yield spoken

    def said(self, server: Served, *parts: bytes, client: Pair | None = None) -> list[int]:
        """The statuses of what comes back; none where the handshake fails."""
        received = b""
        with contextlib.suppress(OSError), self.dialled(server, client) as spoken:
            for part in parts:
                spoken.sendall(part)
            spoken.settimeout(20)
            while chunk := spoken.recv(65_536):
                received += chunk
        return statuses(received)

    def get(self, server: Served, path: str = "/model", client: Pair | None = None, **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=10, context=self.context(client))
        with contextlib.closing(connection):
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="module")
def model() -> Noticing:
    return Noticing()


@pytest.fixture(scope="module")
def mutual(place: Place, model: Noticing) -> Iterator[Served]:
    with serving(loaded(model, MUTUAL), keys=place.keys) as served:
        yield served


# -- TLS


@pytest.fixture(scope="module", params=ENGINES)
def server(request: pytest.FixtureRequest, place: Place) -> Iterator[Served]:
    with serving(loaded(settings=SPEAKING, engine=request.param), keys=place.keys) as served:
        yield served


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_both_versions_that_are_safe_are_spoken(server: Served, place: Place, version: str) -> None:
    only = getattr(ssl.TLSVersion, version)
    with place.dialled(server, minimum_version=only, maximum_version=only) as spoken:
        assert spoken.version() == version.replace("_", ".")
        assert spoken.selected_alpn_protocol() is None
        spoken.sendall(request(b"Connection: close"))
        assert spoken.recv(100).startswith(b"HTTP/1.1 200 ")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_no_older_version_and_no_weak_cipher_is_spoken(server: Served, place: Place) -> None:
    old = place.context()
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    weak = place.context(maximum_version=ssl.TLSVersion.TLSv1_2)
    weak.set_ciphers("AES128-SHA:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0")
    for context in (old, weak):
        with socket.create_connection(("127.0.0.1", server.port), 10) as plain, pytest.raises(OSError):
            context.wrap_socket(plain, server_hostname="127.0.0.1")
    assert place.get(server)[0] == 200


def test_a_release_may_insist_on_1_3(place: Place) -> None:
    strict = msgspec.structs.replace(SPEAKING, tls=Tls(minimum="1.3"))
    with serving(loaded(settings=strict), keys=place.keys) as served:
        assert place.get(served)[0] == 200
        with pytest.raises(OSError), place.dialled(served, maximum_version=ssl.TLSVersion.TLSv1_2):
            pass


def test_clear_text_is_not_answered_and_the_admin_port_stays_clear(server: Served, place: Place) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 10) as plain:
        plain.sendall(request())
        with contextlib.suppress(ConnectionError):
            assert not plain.recv(100).startswith(b"HTTP")
    assert server.get("/readyz", admin=True)[0] == 200
    exposition = server.request("GET", "/metrics", admin=True)[2].decode()
    assert 'bedside_connections_refused_total{reason="tls-handshake"} 0.0' not in exposition
    assert "bedside_tls_certificate_expiry_timestamp_seconds 1" in exposition


def test_pipelined_requests_and_large_bodies_pass_over_tls(server: Served, place: Place) -> None:
    many = BODY[:-1] + b" " * 500_000 + b"}"
    assert place.said(server, *[request()] * 20, request(b"Connection: close", body=many)) == [200] * 21


def test_those_who_never_shake_hands_are_counted_and_let_go(place: Place) -> None:
    few = msgspec.structs.replace(SPEAKING, max_connections=3, header_seconds=1.0)
    with serving(loaded(settings=few), keys=place.keys) as served, contextlib.ExitStack() as held:
        for _ in range(3):
            held.enter_context(socket.create_connection(("127.0.0.1", served.port), 10))
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:  # once their time is up, others are answered again
            with contextlib.suppress(OSError):
                assert place.get(served)[0] == 200
                break
        else:
            raise AssertionError("nobody was let go")
        reasons = served.request("GET", "/metrics", admin=True)[2].decode()
        assert 'refused_total{reason="tls-handshake"} 3.0' in reasons


def test_a_new_certificate_is_served_without_a_restart(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with serving(loaded(settings=SPEAKING), keys=place.keys) as served, place.dialled(served) as kept:
        first = kept.getpeercert(binary_form=True)
        mount(place.keys, place.servers.server(), place.clients)
        served.wait_for("keys-replaced", source="tls")
        with place.dialled(served) as fresh:
            assert fresh.getpeercert(binary_form=True) != first
        kept.sendall(request(b"Connection: close"))
        assert kept.recv(100).startswith(b"HTTP/1.1 200 "), "who is connected stays so"


def test_a_broken_new_certificate_leaves_the_old_one_and_is_seen(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with serving(loaded(settings=SPEAKING), keys=place.keys) as served:
        (place.keys / "tls.key").write_bytes(place.servers.server().key.read_bytes())  # of another certificate
        served.wait_for("keys-broken", source="tls")
        status, ready = place.get(served, "/readyz")
        assert (status, ready["ready"], ready["keys"]) == (200, True, "stale")
        exposition = served.request("GET", "/metrics", admin=True)[2].decode()
        assert 'bedside_authentication_keys_current{source="tls"} 0.0' in exposition


# -- what is served


def _refused(place: Place, certificate: Path, key: Path, authorities: bytes | None = None) -> TlsInvalid:
    with pytest.raises(TlsInvalid) as refused:
        endpoint(Tls(), certificate, key, authorities)
    assert "PRIVATE" not in str(refused.value)
    return refused.value


def test_what_no_client_would_accept_is_not_served(place: Place, tmp_path: Path) -> None:
    good, other = place.servers.server(), place.servers.server()
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    ended = place.servers.issue("server", names, [ExtendedKeyUsageOID.SERVER_AUTH], timedelta(hours=-1))
    wrong = place.servers.issue("server", names, [ExtendedKeyUsageOID.CLIENT_AUTH])
    assert endpoint(Tls(), good.certificate, good.key, None).expires > time.time()
    assert "expired" in str(_refused(place, ended.certificate, ended.key))
    assert "purpose" in str(_refused(place, wrong.certificate, wrong.key))
    _refused(place, good.certificate, other.key)
    _refused(place, good.key, good.certificate)
    _refused(place, tmp_path / "nowhere", good.key)
    (tmp_path / "empty").write_text("")
    _refused(place, tmp_path / "empty", good.key)
    for authorities in (b"", b"\xff", b"-----BEGIN CERTIFICATE-----\n", good.certificate.read_bytes()):
        _refused(place, good.certificate, good.key, authorities)


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_a_password(place: Place, tmp_path: Path) -> None:
    good, openssl = place.servers.server(), shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    locked = tmp_path / "locked.key"
    command = [openssl, "pkey", "-in", str(good.key), "-aes256", "-passout", "pass:secret", "-out", str(locked)]
    subprocess.run(command, check=True)
    _refused(place, good.certificate, locked)


def test_client_certificates_without_tls_stop_the_start(place: Place) -> None:
    settings = Serve(auth=Auth(methods=("mtls",)))
    with pytest.raises(AuthKeysInvalid, match="does not speak TLS"):
        Guard(settings, "127.0.0.1", {"BEDSIDE_AUTH_KEYS": str(place.keys)})


def test_for_this_machine_alone_nothing_is_needed() -> None:
    assert Guard(MUTUAL, "127.0.0.1", {"BEDSIDE_TLS_KEYS": "/nowhere"}, local=True).context is None


# -- client certificates: who is let in


ACCEPTED = {
    "a host": ([x509.DNSName("ehr.example.org")], "mtls:dns:ehr.example.org"),
    "a host in capitals": ([x509.DNSName("EHR.example.ORG")], "mtls:dns:ehr.example.org"),
    "a workload": ([x509.UniformResourceIdentifier("spiffe://hospital/ward/7")], "mtls:uri:spiffe://hospital/ward/7"),
    "a person": ([x509.RFC822Name("icu@example.org")], "mtls:email:icu@example.org"),
    "an address": ([x509.IPAddress(ipaddress.ip_address("2001:db8::7"))], "mtls:ip:2001:db8::7"),
    "one of several": (
        [x509.DNSName("other.example.org"), x509.UniformResourceIdentifier("spiffe://hospital/ward/7")],
        "mtls:uri:spiffe://hospital/ward/7",
    ),
}


@pytest.mark.parametrize(("names", "identity"), ACCEPTED.values(), ids=ACCEPTED)
def test_every_kind_of_name_on_the_list_may_ask(
    mutual: Served, place: Place, model: Noticing, names: Any, identity: str
) -> None:
    pair, before = place.clients.client(*names), model.asked
    assert place.said(mutual, request(), request(b"Connection: close"), client=pair) == [200, 200]
    assert model.asked == before + 2
    shown = certificates.peer(ssl._ssl._test_decode_cert(str(pair.certificate)))  # type: ignore[attr-defined] # CPython's own
    assert certificates.identity(shown, certificates.parse(LISTED.encode()), time.time()) == identity


def test_probes_need_no_certificate(mutual: Served, place: Place) -> None:
    assert place.get(mutual, "/livez")[0] == place.get(mutual, "/readyz")[0] == 200


HOST = x509.DNSName("ehr.example.org")


def _strangers(place: Place) -> dict[str, Pair | None]:
    self_signed = Authority(place.made, "ehr.example.org")
    return {
        "no certificate": None,
        "a certificate of another authority": self_signed.client(HOST),
        "a certificate of the authority of servers": place.servers.client(HOST),
        "a certificate that has ended": place.clients.client(HOST, ends=timedelta(hours=-1)),
        "a certificate of a server": place.clients.issue("ehr", [HOST], [ExtendedKeyUsageOID.SERVER_AUTH]),
        "a name that is not on the list": place.clients.client(x509.DNSName("other.example.org")),
        "a name below one on the list": place.clients.client(x509.DNSName("a.ehr.example.org")),
        "a name above one on the list": place.clients.client(x509.DNSName("example.org")),
        "a name with a dot at the end": place.clients.client(x509.DNSName("ehr.example.org.")),
        "a wildcard": place.clients.client(x509.DNSName("*.example.org")),
        "a common name alone": place.clients.client(common="ehr.example.org"),
        "a common name beside another name": place.clients.client(x509.DNSName("x"), common="ehr.example.org"),
        "a host as a URI": place.clients.client(x509.UniformResourceIdentifier("ehr.example.org")),
        "a URI as a host": place.clients.client(x509.DNSName("spiffe://hospital/ward/7")),
        "a URI that goes on": place.clients.client(x509.UniformResourceIdentifier("spiffe://hospital/ward/70")),
        "a URI in capitals": place.clients.client(x509.UniformResourceIdentifier("spiffe://hospital/WARD/7")),
        "a host that says its kind": place.clients.client(x509.DNSName("dns:ehr.example.org")),
        "a directory name": place.clients.client(x509.DirectoryName(x509.Name([]))),
        "a registered id": place.clients.client(x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))),
        "another address": place.clients.client(x509.IPAddress(ipaddress.ip_address("2001:db8::8"))),
        "a certificate and a header that says another": place.clients.client(x509.DNSName("other.example.org")),
    }


def test_nobody_else_gets_past(mutual: Served, place: Place, model: Noticing) -> None:
    forged = (b"X-Forwarded-Client-Cert: URI=spiffe://hospital/ward/7", b"X-SSL-Client-S-DN: CN=ehr.example.org")
    through = {}
    for name, pair in _strangers(place).items():
        before = model.asked
        got = place.said(mutual, request(*forged), request(b"Connection: close", *forged), client=pair)
        if model.asked != before or any(status not in (401, 403) for status in got):
            through[name] = got
    assert through == {}


def test_a_known_caller_whose_name_is_not_listed_is_forbidden_and_a_stranger_unauthenticated(
    mutual: Served, place: Place
) -> None:
    status, problem = place.get(mutual, client=place.clients.client(x509.DNSName("other.example.org")))
    assert (status, problem["code"], problem["reason"]) == (403, "forbidden", "certificate-name")
    status, problem = place.get(mutual)
    assert (status, problem["code"], problem["reason"]) == (401, "unauthenticated", "certificate-missing")


def test_a_certificate_that_ends_while_it_is_connected_is_worth_nothing_from_then_on() -> None:
    shown = certificates.Peer(("dns:ehr.example.org",), 100.0)
    listed = frozenset({"dns:ehr.example.org"})
    assert certificates.identity(shown, listed, 99.0) == "mtls:dns:ehr.example.org"
    with pytest.raises(certificates.NotBelieved, match="certificate-expired"):
        certificates.identity(shown, listed, 100.0)


def test_a_bearer_credential_is_no_certificate_and_does_not_harm_one(mutual: Served, place: Place) -> None:
    bearer = {"Authorization": f"Bearer {KEY}"}
    assert place.get(mutual, **bearer)[0] == 401
    assert place.get(mutual, client=place.clients.client(HOST), **bearer)[0] == 200


def test_of_two_methods_one_is_enough_and_a_credential_that_is_sent_is_the_one_that_is_judged(place: Place) -> None:
    pair, stranger = place.clients.client(HOST), place.clients.client(x509.DNSName("other.example.org"))
    bearer, wrong = {"Authorization": f"Bearer {KEY}"}, {"Authorization": f"Bearer {apikeys.make()}"}
    with serving(loaded(settings=EITHER), keys=place.keys) as served:
        assert place.get(served, client=pair)[0] == 200
        assert place.get(served, **bearer)[0] == 200
        assert place.get(served, client=stranger, **bearer)[0] == 200
        assert place.get(served, client=pair, **wrong)[0] == 401
        assert place.get(served, client=stranger)[0] == 403
        assert place.get(served)[1]["reason"] == "missing"


# -- lists and authorities that are exchanged


def test_a_name_that_is_taken_off_the_list_may_not_ask_any_more(tmp_path: Path) -> None:
    place = Place(tmp_path)
    pair = place.clients.client(HOST)
    with serving(loaded(settings=MUTUAL), keys=place.keys) as served, place.dialled(served, pair) as kept:
        kept.sendall(request())
        assert kept.recv(65_536).startswith(b"HTTP/1.1 200 ")
        (place.keys / "client-names.txt").write_text("dns:other.example.org\n")
        served.wait_for("keys-replaced", source="client-names")
        kept.sendall(request(b"Connection: close"))
        assert b"HTTP/1.1 403 " in kept.recv(65_536) + kept.recv(65_536)


def test_an_authority_that_is_taken_out_is_believed_no_more_not_even_on_open_connections(tmp_path: Path) -> None:
    place = Place(tmp_path)
    pair, other = place.clients.client(HOST), Authority(place.made, "new-clients")
    model = Switchable()
    with (
        serving(loaded(model, MUTUAL), keys=place.keys) as served,
        place.dialled(served, pair) as idle,
        place.dialled(served, pair) as busy,
    ):
        idle.sendall(request())
        assert idle.recv(65_536).startswith(b"HTTP/1.1 200 ")
        model.gate.clear()
        busy.sendall(request() + request())
        served.until(lambda: served.in_flight == 1)
        mount(place.keys, place.servers.server(), other)
        served.wait_for("keys-replaced", source="tls")
        idle.settimeout(10)
        while idle.recv(65_536):  # what is left of the answer, then the end
            pass
        model.gate.set()
        busy.settimeout(10)
        received = b""
        with contextlib.suppress(OSError):
            while chunk := busy.recv(65_536):
                received += chunk
        assert statuses(received)[0] == 200, "what was begun is ended"
        assert b"connection: close" in received
        assert place.said(served, request(), client=pair) == []
        assert place.get(served, client=other.client(HOST))[0] == 200


@pytest.mark.parametrize(
    "text", ["", "# nobody\n", "ehr.example.org", "dns:", "dns:*.example.org", "ip:ehr", "dns:a b"]
)
def test_a_list_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(AuthKeysInvalid):
        certificates.parse(text.encode())


# -- as the command runs it, on uvloop


@pytest.mark.parametrize("workers", [1, 2])
def test_the_process_as_it_is_started_speaks_tls_with_one_worker_and_with_several(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    for name in ("BEDSIDE_AUTH_KEYS", "BEDSIDE_TLS_KEYS"):
        monkeypatch.setenv(name, str(place.keys))
    with running(tmp_path, serve={"tls": {}, "auth": {"methods": ["mtls"]}, "workers": workers}) as process:
        process.wait_for("ready")
        if workers > 1:
            all_ready(process)
        served: Any = type("Child", (), {"port": process.wait_for("listening")["port"]})
        pair = place.clients.client(HOST)
        assert place.said(served, request(), request(b"Connection: close"), client=pair) == [200, 200]
        assert place.said(served, request(b"Connection: close")) == [401]
        assert place.said(served, request(), client=Authority(tmp_path, "x").client(HOST)) == []
        slow = threading.Thread(target=lambda: place.said(served, request(), client=pair))
        slow.start()
        process.signal()
        assert process.child.wait(60) == 0
        slow.join()

"""What leaves for an API server, where it may go, and when it is sent again: over real connections."""

import json
import logging
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.image.certificates import Authority
from tests.simulated_cluster.server import Cluster, Handler, running

from bedside.errors import ClusterDenied, ClusterFailed, ClusterInterrupted, KubeconfigInvalid
from bedside.kube.cluster import requests
from bedside.kube.cluster.access import Access, ClientCertificate, Plugin, Token
from bedside.kube.cluster.credentials import Wallet
from bedside.kube.cluster.kinds import NAMESPACE, Named
from bedside.kube.cluster.session import Session
from bedside.process import Completed, Subprocess

VERSION = requests.version()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with running() as made:
        yield made


def _session(access: Access, waits: list[float] | None = None, runner: Any = None) -> Session:
    pause = (waits if waits is not None else []).append
    return Session(access, Wallet(access, runner or Subprocess()), pause=pause)


def _with_tls(cluster: Cluster, directory: Path, *, asks: bool = False) -> Authority:
    authority = Authority(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue(directory))
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(authority.certificate)
    cluster.socket = context.wrap_socket(cluster.socket, server_side=True)
    return authority


def _tls(cluster: Cluster, **more: Any) -> Access:
    return Access("ward", f"https://127.0.0.1:{cluster.server_address[1]}", **more)


def test_the_authority_of_the_kubeconfig_is_believed(cluster: Cluster, tmp_path: Path) -> None:
    authority = _with_tls(cluster, tmp_path)
    with _session(_tls(cluster, authority=authority.certificate.read_bytes())) as session:
        assert session.send(VERSION).value["gitVersion"] == "v1.36.2"


def test_any_other_is_refused_at_once(cluster: Cluster, tmp_path: Path) -> None:
    _with_tls(cluster, tmp_path)
    waits: list[float] = []
    with _session(_tls(cluster), waits) as session, pytest.raises(ClusterFailed, match="is not trusted") as refused:
        session.send(VERSION)
    assert "certificate-authority-data" in refused.value.remedy
    assert (waits, cluster.seen) == ([], [])


def test_the_name_in_the_certificate_must_be_the_one_asked_for(cluster: Cluster, tmp_path: Path) -> None:
    authority = _with_tls(cluster, tmp_path).certificate.read_bytes()
    named = _tls(cluster, authority=authority, server_name="another.example.org")
    with _session(named) as session, pytest.raises(ClusterFailed, match="is not trusted"):
        session.send(VERSION)


def test_a_client_certificate_is_shown(cluster: Cluster, tmp_path: Path) -> None:
    authority = _with_tls(cluster, tmp_path, asks=True)
    (tmp_path / "client").mkdir()
    certificate, key = authority.issue(tmp_path / "client")
    shown = ClientCertificate(certificate.read_bytes(), key.read_bytes())
    access = _tls(cluster, authority=authority.certificate.read_bytes(), certificate=shown)
    with _session(access) as session:
        assert session.send(VERSION).status == 200
    with _session(replace(access, certificate=None)) as session, pytest.raises(ClusterInterrupted):
        session.send(VERSION)


def test_a_certificate_and_the_key_of_another_are_refused(cluster: Cluster, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    certificate, _ = authority.issue(tmp_path / "one")
    _, key = authority.issue(tmp_path / "two")
    access = _tls(cluster, certificate=ClientCertificate(certificate.read_bytes(), key.read_bytes()))
    with _session(access) as session, pytest.raises(KubeconfigInvalid, match="do not belong together"):
        session.send(VERSION)


def test_a_token_and_a_pretended_user_go_with_each_request(cluster: Cluster) -> None:
    heard: list[dict[str, str]] = []
    cluster.faults.trouble.append(lambda handler: bool(heard.append(dict(handler.headers.items()))))
    access = Access("ward", cluster.url, login=Token("t"), impersonate=(("Impersonate-User", "deployer"),))
    with _session(access) as session:
        session.send(VERSION)
    assert heard[0]["Authorization"] == "Bearer t"
    assert heard[0]["Impersonate-User"] == "deployer"


class _Counting:
    def __init__(self) -> None:
        self.times = 0

    def run(self, command: Any, **_: Any) -> Completed:
        self.times += 1
        status = {"kind": "ExecCredential", "status": {"token": f"t{self.times}"}}
        return Completed(tuple(command), 0, json.dumps(status), "")


def test_a_refused_token_is_asked_for_once_more(cluster: Cluster) -> None:
    def only(token: str) -> Any:
        def trouble(handler: Handler) -> bool:
            if handler.headers["authorization"] == f"Bearer {token}":
                return False
            handler.status(401, "Unauthorized", "Unauthorized")
            return True

        return trouble

    access = Access("ward", cluster.url, login=Plugin(("login",), {}, "client.authentication.k8s.io/v1"))
    programs = _Counting()
    cluster.faults.trouble = [only("t2")]
    with _session(access, runner=programs) as session:
        session.send(VERSION)
        cluster.faults.trouble = [only("another")]
        with pytest.raises(ClusterDenied, match="does not know who asks"):
            session.send(VERSION)
    assert programs.times == 3


def test_an_interrupted_server_is_asked_again_and_not_for_ever(cluster: Cluster) -> None:
    waits: list[float] = []
    cluster.faults.trouble.append(lambda handler: bool(handler.drop()) or True)
    with _session(Access("ward", cluster.url), waits) as session, pytest.raises(ClusterInterrupted, match="dropped"):
        session.send(VERSION)
    assert waits == [0.5, 1.0, 2.0, 4.0]


def test_a_server_that_is_not_there_is_said() -> None:
    with _session(Access("ward", "http://127.0.0.1:1")) as session, pytest.raises(ClusterInterrupted) as refused:
        session.send(VERSION)
    assert "127.0.0.1:1 of ward cannot be reached" in str(refused.value)


@pytest.mark.parametrize("proxy", ["socks5://proxy", "gopher://user:canary-1@proxy"])
def test_a_proxy_that_cannot_be_used_is_said_without_its_password(proxy: str) -> None:
    with (
        _session(Access("ward", "https://x.example.org", proxy=proxy)) as session,
        pytest.raises(KubeconfigInvalid) as no,
    ):
        session.send(VERSION)
    assert "canary" not in f"{no.value}{no.value.remedy}"


def test_the_proxy_of_the_kubeconfig_is_used(cluster: Cluster) -> None:
    """It gets the question for a tunnel; the simulated cluster is no proxy and refuses."""
    with _session(Access("ward", "https://x.example.org", proxy=cluster.url)) as session, pytest.raises(ClusterFailed):
        session.send(VERSION)


def test_nothing_is_followed_to_another_place(cluster: Cluster) -> None:
    def moved(handler: Handler) -> bool:
        handler.answer(302, {}, {"Location": "http://127.0.0.1:1/"})
        return True

    cluster.faults.trouble.append(moved)
    with _session(Access("ward", cluster.url, login=Token("t"))) as session, pytest.raises(ClusterFailed, match="302"):
        session.send(VERSION)


def test_what_is_missing_is_none_only_where_that_is_an_answer(cluster: Cluster) -> None:
    with _session(Access("ward", cluster.url)) as session:
        asked = requests.get(Named(NAMESPACE, None, "icu"))
        assert session.find(asked) is None
        with pytest.raises(ClusterFailed, match="would not read Namespace icu"):
            session.send(asked)


def test_no_secret_is_logged(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with _session(Access("ward", cluster.url, login=Token("canary-9"))) as session:
        session.send(VERSION)
    assert "canary-9" not in caplog.text

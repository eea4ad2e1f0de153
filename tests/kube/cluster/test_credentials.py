"""Tokens and certificates, from where they come, and when they are asked for again."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bedside.errors import ClusterDenied, ToolFailed
from bedside.kube.cluster.access import Access, ClientCertificate, Plugin, Token, TokenFile
from bedside.kube.cluster.credentials import Wallet
from bedside.process import Completed, Subprocess

V1 = "client.authentication.k8s.io/v1"


class Programs:
    """A Runner whose one program answers what a test says, and remembers what it was told."""

    def __init__(self, answer: Callable[[], tuple[int, str]]) -> None:
        self.answer, self.told = answer, []  # type: ignore[var-annotated]

    def run(self, command: Sequence[str], *, env: Any = None, **_: Any) -> Completed:
        self.told.append((tuple(command), json.loads(env["KUBERNETES_EXEC_INFO"])))
        code, text = self.answer()
        return Completed(tuple(command), code, text, "")


def _status(**status: str) -> str:
    return json.dumps({"apiVersion": V1, "kind": "ExecCredential", "status": status})


def _access(login: Any = None, certificate: ClientCertificate | None = None) -> Access:
    return Access("ward", "https://api.example.org", login=login, certificate=certificate)


PLUGIN = Plugin(("aws", "eks", "get-token"), {"AWS_PROFILE": "icu"}, V1, "Install it.", {"server": "https://x"})


def test_a_plugin_is_told_what_the_specification_says() -> None:
    programs = Programs(lambda: (0, _status(token="t1")))
    assert Wallet(_access(PLUGIN), programs).credentials().token == "t1"
    (command, told), *_ = programs.told
    assert command == ("aws", "eks", "get-token")
    assert told == {
        "apiVersion": V1,
        "kind": "ExecCredential",
        "spec": {"interactive": False, "cluster": {"server": "https://x"}},
    }


def test_a_token_is_kept_until_shortly_before_its_end() -> None:
    now = [1_000_000.0]
    programs = Programs(lambda: (0, _status(token="t", expirationTimestamp="1970-01-12T13:56:40Z")))  # 1_000_600
    wallet = Wallet(_access(PLUGIN), programs, lambda: now[0])
    wallet.credentials()
    now[0] += 560
    wallet.credentials()
    assert len(programs.told) == 1
    now[0] += 20
    wallet.credentials()
    assert len(programs.told) == 2


def test_a_refused_token_is_asked_for_again() -> None:
    programs = Programs(lambda: (0, _status(token=f"t{len(programs.told)}")))
    wallet = Wallet(_access(PLUGIN), programs)
    assert wallet.credentials().token == "t1"
    wallet.forget()
    assert wallet.credentials().token == "t2"


def test_a_plugin_may_give_a_certificate() -> None:
    programs = Programs(lambda: (0, _status(clientCertificateData="cert", clientKeyData="key")))
    assert Wallet(_access(PLUGIN), programs).credentials().certificate == ClientCertificate(b"cert", b"key")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((1, ""), "ended with 1"),
        ((0, "no"), "no credential"),
        ((0, "{}"), "no credential"),
        ((0, _status()), "without a token"),
        ((0, _status(token="t", expirationTimestamp="soon")), "no credential"),
    ],
)
def test_a_plugin_that_gives_nothing_is_said(answer: tuple[int, str], message: str) -> None:
    with pytest.raises(ClusterDenied, match=message):
        Wallet(_access(PLUGIN), Programs(lambda: answer)).credentials()


def test_a_plugin_that_is_not_installed_says_how_to_get_it() -> None:
    def missing() -> tuple[int, str]:
        raise ToolFailed("aws is not installed")

    with pytest.raises(ClusterDenied, match="aws is not installed") as refused:
        Wallet(_access(PLUGIN), Programs(missing)).credentials()
    assert refused.value.remedy == "Install it."


def test_a_token_file_is_read_again(tmp_path: Path) -> None:
    path, now = tmp_path / "token", [0.0]
    path.write_text("one\n")
    wallet = Wallet(_access(TokenFile(path)), Subprocess(), lambda: now[0])
    assert wallet.credentials().token == "one"
    path.write_text("two")
    assert wallet.credentials().token == "one"
    now[0] += 60
    assert wallet.credentials().token == "two"
    path.unlink()
    wallet.forget()
    with pytest.raises(ClusterDenied, match="cannot be read"):
        wallet.credentials()


def test_what_does_not_change_is_not_asked_for_again() -> None:
    certificate = ClientCertificate(b"c", b"k")
    wallet = Wallet(_access(Token("t"), certificate), Subprocess())
    assert (wallet.credentials().token, wallet.credentials().certificate, wallet.renews) == ("t", certificate, False)
    assert "secret" not in repr(Wallet(_access(Token("secret")), Subprocess()).credentials())

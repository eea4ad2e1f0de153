"""Kubeconfigs as people have them, and those that are refused."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from bedside.errors import KubeconfigInvalid
from bedside.kube.cluster.access import Access, ClientCertificate, Plugin, Token, TokenFile
from bedside.kube.cluster.kubeconfig import access, files, in_cluster, read

PEM = b"-----BEGIN CERTIFICATE-----\n..."


def _document(
    cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None, **context: Any
) -> dict[str, Any]:
    return {
        "current-context": "ward",
        "contexts": [{"name": "ward", "context": {"cluster": "c", "user": "u", **context}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://api.example.org:6443/", **(cluster or {})}}],
        "users": [{"name": "u", "user": user or {}}],
    }


def _access(directory: Path, *documents: dict[str, Any], context: str | None = None) -> Access:
    paths = []
    for number, document in enumerate(documents):
        paths.append(directory / f"config-{number}")
        paths[-1].write_text(yaml.safe_dump(document))
    return access(read(paths), context, Path.read_bytes)


def test_the_current_context_is_taken(tmp_path: Path) -> None:
    found = _access(tmp_path, _document(namespace="icu"))
    assert (found.context, found.server, found.namespace) == ("ward", "https://api.example.org:6443", "icu")


def test_several_files_are_one_and_the_first_that_says_something_counts(tmp_path: Path) -> None:
    first = {**_document(), "users": []}
    second = _document({"server": "https://other.example.org"}, {"token": "second"})
    found = _access(tmp_path, first, second)
    assert (found.server, found.login) == ("https://api.example.org:6443", Token("second"))


def test_files_are_those_of_kubeconfig_or_of_the_home(tmp_path: Path) -> None:
    assert files({"KUBECONFIG": "/a:/b:"}, tmp_path) == (Path("/a"), Path("/b"))
    assert files({}, tmp_path) == (tmp_path / ".kube" / "config",)


def test_certificates_come_inline_or_from_files_beside_the_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(b"key")
    wrapped = base64.encodebytes(PEM * 5).decode()
    user = {"client-certificate-data": base64.b64encode(PEM).decode(), "client-key": "key.pem"}
    found = _access(tmp_path, _document({"certificate-authority-data": wrapped}, user))
    assert found.authority == PEM * 5
    assert found.certificate == ClientCertificate(PEM, b"key")


def test_a_plugin_is_named_with_all_that_it_needs(tmp_path: Path) -> None:
    said = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": "aws",
        "args": ["eks", "get-token"],
        "env": [{"name": "AWS_PROFILE", "value": "icu"}],
        "installHint": "Install the AWS CLI.",
        "provideClusterInfo": True,
    }
    found = _access(tmp_path, _document({"tls-server-name": "kubernetes"}, {"exec": said})).login
    assert isinstance(found, Plugin)
    assert found.command == ("aws", "eks", "get-token")
    assert (found.environment, found.hint) == ({"AWS_PROFILE": "icu"}, "Install the AWS CLI.")
    assert found.cluster == {"server": "https://api.example.org:6443", "tls-server-name": "kubernetes"}


def test_a_plugin_with_a_path_lies_beside_the_kubeconfig(tmp_path: Path) -> None:
    said = {"apiVersion": "client.authentication.k8s.io/v1", "command": "bin/login"}
    found = _access(tmp_path, _document(user={"exec": said})).login
    assert isinstance(found, Plugin)
    assert found.command == (str(tmp_path / "bin/login"),)


def test_somebody_may_be_taken_for_somebody_else(tmp_path: Path) -> None:
    user = {"token": "t", "as": "deployer", "as-groups": ["a", "b"], "as-user-extra": {"reason": ["night"]}}
    assert _access(tmp_path, _document(user=user)).impersonate == (
        ("Impersonate-User", "deployer"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
        ("Impersonate-Extra-reason", "night"),
    )


def test_a_token_file_is_beside_the_kubeconfig(tmp_path: Path) -> None:
    assert _access(tmp_path, _document(user={"tokenFile": "token"})).login == TokenFile(tmp_path / "token")


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "another machine without TLS": (_document({"server": "http://api.example.org"}), "without TLS", "https"),
    "a certificate that is not looked at": (
        _document({"insecure-skip-tls-verify": True}),
        "any machine on the way",
        "certificate-authority-data",
    ),
    "no address": (_document({"server": "api.example.org"}), "is no address", "kubectl config view"),
    "an old way to log in": (_document(user={"auth-provider": {"name": "gcp"}}), "auth-provider", "exec"),
    "a password": (_document(user={"username": "admin", "password": "hunter2"}), "username", "exec"),
    "a plugin that asks": (
        _document(
            user={
                "exec": {
                    "apiVersion": "client.authentication.k8s.io/v1",
                    "command": "login",
                    "interactiveMode": "Always",
                }
            }
        ),
        "asks questions",
        "Log in with it first",
    ),
    "a plugin of an old version": (
        _document(user={"exec": {"apiVersion": "client.authentication.k8s.io/v1alpha1", "command": "login"}}),
        "v1alpha1",
        "",
    ),
    "half a certificate": (_document(user={"client-key-data": "a2V5"}), "needs both", ""),
    "no base64": (_document({"certificate-authority-data": "!"}), "no base64", ""),
    "a file that is not there": (_document({"certificate-authority": "ca.crt"}), "cannot be read", ""),
    "no context": ({}, "no cluster is chosen", "--context"),
    "a context that is not there": ({**_document(), "current-context": "other"}, "no context 'other'", ""),
    "a user that is not there": ({**_document(), "users": []}, "no user 'u'", ""),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_its_remedy(tmp_path: Path, case: str) -> None:
    document, message, remedy = REFUSED[case]
    with pytest.raises(KubeconfigInvalid, match=message) as refused:
        _access(tmp_path, document)
    assert remedy in refused.value.remedy
    assert "hunter2" not in f"{refused.value}{refused.value.remedy}"


@pytest.mark.parametrize("text", ["- a", "{", "\x00"])
def test_what_is_no_kubeconfig_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)
    with pytest.raises(KubeconfigInvalid, match="no "):
        read([tmp_path / "config"])


def test_a_kubectl_proxy_on_this_machine_needs_no_tls(tmp_path: Path) -> None:
    assert _access(tmp_path, _document({"server": "http://127.0.0.1:8001"})).server == "http://127.0.0.1:8001"


def test_a_pod_uses_its_own_account(tmp_path: Path) -> None:
    for name in ("token", "namespace", "ca.crt"):
        (tmp_path / name).write_text("icu\n")
    variables = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    found = in_cluster(variables, tmp_path)
    assert found is not None
    assert (found.server, found.namespace, found.login) == (
        "https://[fd00::1]:443",
        "icu",
        TokenFile(tmp_path / "token"),
    )
    assert in_cluster({}, tmp_path) is None


def test_no_secret_is_in_the_representation(tmp_path: Path) -> None:
    user = {"token": "canary-77", "client-certificate-data": "Y2VydA==", "client-key-data": "Y2FuYXJ5LTc3"}
    shown = repr(_access(tmp_path, _document({"proxy-url": "http://u:canary-77@proxy"}, user)))
    assert "canary" not in shown

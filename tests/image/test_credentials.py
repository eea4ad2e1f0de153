import base64
import json
import stat
from pathlib import Path

import pytest

from bedside.errors import CredentialsUnreadable, ToolFailed
from bedside.image.authentication import Credential, IdentityToken, Password
from bedside.image.credentials import CredentialStore, Helper, auth_files, find
from bedside.process import Subprocess

HOST = "registry.example.org:5000"


def _auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def _first(document: dict[str, object], host: str = HOST, repository: str = "icu/mortality") -> Credential | Helper:
    return next(find(document, host, repository))


def test_the_longest_name_that_fits_decides() -> None:
    auths = {HOST: _auth("all", "1"), f"{HOST}/icu": _auth("icu", "2"), f"{HOST}/other": _auth("other", "3")}
    assert _first({"auths": auths}) == Password("icu", "2")
    assert _first({"auths": auths}, repository="third/thing") == Password("all", "1")


@pytest.mark.parametrize("name", [f"https://{HOST}", f"https://{HOST}/v1/", f"https://{HOST}/v2/"])
def test_old_files_name_an_address(name: str) -> None:
    assert _first({"auths": {name: _auth("alice", "a:b")}}) == Password("alice", "a:b")


def test_docker_hub_has_its_own_name() -> None:
    document = {"auths": {"https://index.docker.io/v1/": _auth("alice", "1")}}
    assert _first(document, "docker.io", "library/python") == Password("alice", "1")


def test_a_helper_named_for_the_registry_goes_before_all_and_the_general_one_after() -> None:
    document = {"credHelpers": {HOST: "ecr"}, "auths": {HOST: _auth("alice", "1")}, "credsStore": "desktop"}
    assert list(find(document, HOST, "icu")) == [Helper("ecr", HOST), Password("alice", "1"), Helper("desktop", HOST)]


def test_an_identity_token_goes_before_a_password() -> None:
    assert _first({"auths": {HOST: {**_auth("alice", "1"), "identitytoken": "refresh"}}}) == IdentityToken("refresh")


def test_an_empty_entry_and_another_registry_say_nothing() -> None:
    assert list(find({"auths": {HOST: {}, "other.example.org": _auth("a", "b")}}, HOST, "icu")) == []


@pytest.mark.parametrize(
    "document",
    [
        {"auths": []},
        {"auths": {HOST: {"auth": "not base64!"}}},
        {"auths": {HOST: {"auth": base64.b64encode(b"no colon s3cret").decode()}}},
        {"auths": {HOST: {"auth": 7}}},
        {"auths": {HOST: "s3cret"}},
        {"credHelpers": {HOST: "../../bin/sh"}},
        {"credsStore": "a b"},
    ],
)
def test_an_entry_that_cannot_be_read_is_said_without_its_content(document: dict[str, object]) -> None:
    with pytest.raises(CredentialsUnreadable) as said:
        list(find(document, HOST, "icu"))
    assert "s3cret" not in str(said.value)


def test_files_are_looked_for_where_podman_and_docker_keep_them() -> None:
    home = {"HOME": "/home/a"}
    assert auth_files(home) == (Path("/home/a/.config/containers/auth.json"), Path("/home/a/.docker/config.json"))
    assert auth_files({**home, "XDG_RUNTIME_DIR": "/run/user/1", "DOCKER_CONFIG": "/d"}) == (
        Path("/run/user/1/containers/auth.json"),
        Path("/home/a/.config/containers/auth.json"),
        Path("/d/config.json"),
    )
    assert auth_files({**home, "REGISTRY_AUTH_FILE": "/x/auth.json", "DOCKER_CONFIG": "/d"}) == (Path("/x/auth.json"),)


def test_the_first_file_that_knows_the_registry_decides(tmp_path: Path) -> None:
    files = tuple(tmp_path / name for name in ("missing.json", "empty.json", "one.json", "two.json"))
    for path, document in zip(files[1:], ({}, *({"auths": {HOST: _auth(n, n)}} for n in "ab")), strict=True):
        path.write_text(json.dumps(document))
    assert CredentialStore(Subprocess(), files).credential(HOST, "icu") == Password("a", "a")


@pytest.mark.parametrize("text", ['{"auths": s3cret}', "[]"])
def test_a_file_that_cannot_be_read_is_said_without_its_content(tmp_path: Path, text: str) -> None:
    path = tmp_path / "auth.json"
    path.write_text(text)
    with pytest.raises(CredentialsUnreadable) as said:
        CredentialStore(Subprocess(), (path,)).credential(HOST, "icu")
    assert "s3cret" not in f"{said.value!r}"


def _helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> CredentialStore:
    program = tmp_path / "docker-credential-test"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"credsStore": "test"}))
    return CredentialStore(Subprocess(), (path,))


def test_a_helper_is_asked_for_the_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = 'read host; echo "{\\"Username\\": \\"alice\\", \\"Secret\\": \\"$1 $host\\"}"'
    store = _helper(tmp_path, monkeypatch, script)
    assert store.credential(HOST, "icu") == Password("alice", f"get {HOST}")


def test_a_helper_may_give_an_identity_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = _helper(tmp_path, monkeypatch, """echo '{"Username": "<token>", "Secret": "refresh"}'""")
    assert store.credential(HOST, "icu") == IdentityToken("refresh")


def test_a_helper_that_knows_nothing_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = _helper(tmp_path, monkeypatch, "echo 'credentials not found in native keychain'; exit 1")
    assert store.credential(HOST, "icu") is None


@pytest.mark.parametrize("script", ["echo s3cret; exit 3", "echo s3cret", 'echo \'{"Username": "s3cret"}\''])
def test_a_helper_that_fails_is_said_without_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    with pytest.raises(CredentialsUnreadable, match="docker-credential-test") as said:
        _helper(tmp_path, monkeypatch, script).credential(HOST, "icu")
    assert "s3cret" not in f"{said.value!r}"


def test_a_helper_that_is_missing_is_said(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"credsStore": "nowhere-to-be-found"}')
    with pytest.raises(ToolFailed, match="docker-credential-nowhere-to-be-found is not installed"):
        CredentialStore(Subprocess(), (path,)).credential(HOST, "icu")


def test_secrets_are_not_in_what_is_printed() -> None:
    assert "s3cret" not in f"{Password('alice', 's3cret')!r} {IdentityToken('s3cret')!r}"

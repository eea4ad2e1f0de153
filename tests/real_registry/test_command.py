"""`bedside push` as a person types it, against a registry with TLS and a password."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.image.certificates import Authority
from tests.image.images import LARGE, artifact, image
from tests.real_registry.server import ALICE, Server, running
from tests.real_registry.wire import Proxy, Way, Wire, laid

from bedside.cli.main import run
from bedside.image import uploading
from bedside.image.authentication import Password
from bedside.image.layout import Layout
from bedside.image.reference import Digest

COMMAND = (  # a suite that runs in the background of a shell ignores SIGINT, and hands that down
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from bedside.cli.main import main; main()"
)
BEDSIDE = (sys.executable, "-c", COMMAND)


@pytest.fixture(autouse=True)
def _logged_in(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(server.auth_file(tmp_path / "auth.json")))


def _arguments(server: Server, layout: Layout, name: str, *options: str, tag: str = "1.0.0") -> list[str]:
    target = f"{server.host}/{name}:{tag}"
    return ["push", str(layout.directory), target, "--unproven", "--ca-file", str(server.ca_file), *options]


def _push(server: Server, layout: Layout, name: str, *options: str, tag: str = "1.0.0") -> int:
    return run(_arguments(server, layout, name, *options, tag=tag))


def _tag(server: Server, name: str, tag: str = "1.0.0") -> Digest | None:
    with server.repository(name) as repository:
        found = repository.find(tag)
    return found.descriptor.digest if found is not None else None


def test_a_push_prints_the_reference_by_digest_that_manifests_name(
    server: Server, layout: Layout, repository_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    what = image(layout)
    assert _push(server, layout, repository_name) == 0
    said = capsys.readouterr()
    assert said.out == f"{server.host}/{repository_name}@{what.digest}\n"
    assert "4 of 4 blobs sent" in said.err
    assert _tag(server, repository_name) == what.digest


def test_a_push_as_json_says_what_was_sent_and_attached(
    server: Server, layout: Layout, repository_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    what = image(layout)
    sbom = artifact(layout, what, "sbom")
    assert _push(server, layout, repository_name, "--image", "icu:1.0.0", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["reference"] == f"{server.host}/{repository_name}@{what.digest}"
    assert said["attached"] == [sbom.digest]
    assert said["bytes_sent"] == sum(item["size"] for item in said["blobs"] if item["how"] == "sent") > len(LARGE)


def test_pushed_again_nothing_is_sent(
    server: Server, layout: Layout, repository_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    image(layout)
    assert _push(server, layout, repository_name) == 0
    first = capsys.readouterr()
    assert _push(server, layout, repository_name) == 0
    again = capsys.readouterr()
    assert again.out == first.out
    assert "0 of 4 blobs sent, 0.0 MB" in again.err


def test_a_version_that_names_another_image_stays_and_nothing_is_sent(
    server: Server, layout: Layout, repository_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first = image(layout)
    assert _push(server, layout, repository_name) == 0
    second = image(layout, "model 2", "other")
    assert _push(server, layout, repository_name, "--image", "other", "--move-tag") == 1
    said = capsys.readouterr().err
    assert f"the tag 1.0.0 names {first.digest} already, and this image is {second.digest}" in said
    assert "Raise [model] version" in said
    assert _tag(server, repository_name) == first.digest
    with server.repository(repository_name) as repository:
        model = layout.manifest(second).layers[-1]
        assert not uploading.holds(repository.session, repository_name, model)


def test_a_wrong_password_is_refused_and_not_shown(
    server: Server,
    layout: Layout,
    repository_name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.auth_file(tmp_path / "auth.json", Password("alice", "a wrong secret"))
    image(layout)
    assert _push(server, layout, repository_name) == 4
    said = capsys.readouterr()
    assert "does not let these credentials give the manifest 1.0.0: status 401 (UNAUTHORIZED)" in said.err
    assert "podman login" in said.err
    assert "a wrong secret" not in said.out + said.err
    assert _tag(server, repository_name) is None


def test_without_credentials_one_is_told_to_log_in(
    server: Server, layout: Layout, repository_name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "auth.json").unlink()
    image(layout)
    assert _push(server, layout, repository_name) == 4
    assert "asks for credentials, and none were found" in capsys.readouterr().err


def test_the_password_of_a_credential_helper_is_used(
    server: Server, layout: Layout, repository_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = tmp_path / "bin" / "docker-credential-vault"
    helper.parent.mkdir()
    answer = json.dumps({"Username": ALICE.user, "Secret": ALICE.secret})
    helper.write_text(f"#!/bin/sh\nread server\n[ \"$1 $server\" = 'get {server.host}' ] && echo '{answer}'\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{helper.parent}:{os.environ['PATH']}")
    (tmp_path / "auth.json").write_text(json.dumps({"credHelpers": {server.host: "vault"}}))
    what = image(layout)
    assert _push(server, layout, repository_name) == 0
    assert _tag(server, repository_name) == what.digest


def test_a_certificate_of_another_authority_is_refused(
    server: Server, layout: Layout, repository_name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image(layout)
    other = tmp_path / "other"
    other.mkdir()
    Authority(other)
    for trusted in ([], ["--ca-file", str(other / "ca.crt")]):
        target = f"{server.host}/{repository_name}:1.0.0"
        assert run(["push", str(layout.directory), target, "--unproven", *trusted]) == 4
        said = capsys.readouterr().err
        assert f"the certificate of {server.host} is not trusted here" in said
        assert "--ca-file" in said


def test_an_altered_layer_is_not_tagged_and_the_whole_one_then_is(
    server: Server, layout: Layout, repository_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    what = image(layout)
    layout.path(Digest.of(LARGE)).write_bytes(LARGE[:-1] + b"!")
    assert _push(server, layout, repository_name) == 3
    assert f"the bytes of {Digest.of(LARGE)} have another digest" in capsys.readouterr().err
    with server.repository(repository_name) as repository:
        assert repository.find("1.0.0") is None
        assert repository.find(what.digest) is None
    layout.path(Digest.of(LARGE)).write_bytes(LARGE)
    assert _push(server, layout, repository_name) == 0
    assert _tag(server, repository_name) == what.digest


def test_through_a_proxy_nothing_is_seen_but_where_it_goes(
    server: Server, layout: Layout, repository_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    what = image(layout)
    with laid(Proxy(0)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", "")
        assert _push(server, layout, repository_name) == 0
    monkeypatch.delenv("HTTPS_PROXY")
    assert _tag(server, repository_name) == what.digest
    assert proxy.carried[Way.THERE] > len(LARGE)
    assert {line for told in proxy.asked for line in told.splitlines() if "ser-agent" not in line.lower()} <= {
        f"CONNECT {server.host} HTTP/1.1",
        f"Host: {server.host}",
        "Accept: */*",
        "",
    }


@contextmanager
def _standing_still(server: Server, layout: Layout, name: str, auth_file: Path) -> Iterator[subprocess.Popen[str]]:
    """Give the command as a process of its own, in the middle of the large layer: its connection stands still there."""
    with laid(Wire(server.port)) as wire:
        server.auth_file(auth_file, host=f"127.0.0.1:{wire.port}")
        wire.stall(Way.THERE, len(LARGE) // 2)
        target = f"127.0.0.1:{wire.port}/{name}:1.0.0"
        command = [*BEDSIDE, "push", str(layout.directory), target, "--unproven", "--ca-file", str(server.ca_file)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            try:
                assert wire.stalled.wait(30)
                yield child
            finally:
                child.kill()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_push_that_somebody_ends_midway_names_nothing_and_is_repeated(
    server: Server, layout: Layout, repository_name: str, tmp_path: Path, how: signal.Signals
) -> None:
    what = image(layout)
    with _standing_still(server, layout, repository_name, tmp_path / "auth.json") as child:
        child.send_signal(how)
        out, err = child.communicate(timeout=30)
    assert (child.returncode, out) == (-how if how is signal.SIGKILL else 130, "")
    assert "Traceback" not in err
    assert _tag(server, repository_name) is None
    server.auth_file(tmp_path / "auth.json")
    assert _push(server, layout, repository_name) == 0
    assert _tag(server, repository_name) == what.digest


def test_a_full_disk_at_the_registry_is_said_and_the_repeat_succeeds(
    server: Server,
    layout: Layout,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    what = image(layout)
    with small_disk(tmp_path / "disk") as disk, running(tmp_path / "small", disk) as small:
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(small.auth_file(tmp_path / "auth.json")))
        assert _push(small, layout, "icu") == 4
        said = capsys.readouterr()
        assert said.out == ""
        assert f"could not take the bytes of {Digest.of(LARGE)}: status 500" in said.err
        assert "run the command again" in said.err.lower()
        assert _tag(small, "icu") is None
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        assert _push(small, layout, "icu") == 0
        assert _tag(small, "icu") == what.digest


@contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """Mount a file system that the large layer does not fit on."""
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip("this machine lets nobody mount: " + done.stderr.strip())
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_registry_that_is_down_is_said_and_each_attempt_shown(
    layout: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image(layout)
    with running(tmp_path / "stopped") as stopped:
        stopped.stop()
        assert _push(stopped, layout, "icu") == 4
    said = capsys.readouterr().err
    assert f"error: {stopped.host} cannot be reached: Connection refused" in said
    assert said.count("trying again in") == 4

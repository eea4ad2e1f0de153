"""From a proven image to an answer: pushed to a registry with TLS and a password, verified by digest, run, asked.

And what can break on that way: what is said then, and that nothing is half named.
"""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.built import Image, Registry
from tests.real_registry.server import PROGRAM, Server, running
from tests.real_registry.wire import Way, Wire, laid

from bedside.cli.main import run
from bedside.image.layout import open_layout

REPOSITORY = "icu/mortality"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if PROGRAM is None:
        pytest.skip("docker-registry is not installed")
    with running(tmp_path_factory.mktemp("registry")) as started, pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGISTRY_AUTH_FILE", str(started.auth_file(started.directory / "auth.json")))
        yield started


@pytest.fixture(scope="module")
def pushed(server: Server, icu_image: Image, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The reference by digest that `bedside push` prints."""
    words = ["push", str(icu_image.layout), f"{server.host}/{REPOSITORY}:1.0.0", "--image", icu_image.name]
    assert run([*words, "--ca-file", str(server.ca_file)]) == 0
    return f"{server.host}/{REPOSITORY}@{icu_image.digest}"


def verified(server: Server, reference: str, *options: str) -> int:
    return run(["verify", reference, "--ca-file", str(server.ca_file), *options])


def test_what_was_pushed_is_verified_by_digest_with_its_record(
    server: Server, pushed: str, icu_image: Image, podman: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert verified(server, pushed, "--prove-with", podman, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["digest"] == icu_image.digest
    assert said["proof"]["cases"] == 65
    assert "no record of a proof lies beside it" not in said["notes"]


def test_pulled_by_digest_it_runs_and_answers_as_the_study_did(
    server: Server, pushed: str, icu_image: Image, podman: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    certificates = tmp_path / "certificates"
    certificates.mkdir()
    (certificates / "ca.crt").write_bytes(server.ca_file.read_bytes())
    subprocess.run([podman, "pull", "--quiet", f"--cert-dir={certificates}", pushed], check=True)
    case = json.loads((icu_image.release / "golden.jsonl").read_text().splitlines()[0])
    (tmp_path / "patient.json").write_text(json.dumps(case["inputs"]))
    port, admin = free_port(), free_port()
    held = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=host", "--detach")
    serve = ("serve", "/opt/bedside/release", "--local", f"--port={port}", f"--admin-port={admin}")
    subprocess.run([podman, "run", "--name=bedside-end-to-end", *held, pushed, *serve], check=True)
    try:
        ready(port)
        capsys.readouterr()
        assert run(["predict", f"http://127.0.0.1:{port}", str(tmp_path / "patient.json")]) == 0
        answered = json.loads(capsys.readouterr().out)
        assert answered["value"] == pytest.approx(case["expected"], abs=1e-9)
    finally:
        subprocess.run([podman, "rm", "--force", "bedside-end-to-end"], check=True, capture_output=True)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    return port


def ready(port: int) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as asked:
                asked.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                if b" 200 " in asked.recv(100):
                    return
        except OSError:
            pass
        time.sleep(0.2)
    raise AssertionError("never ready")


def test_a_layer_that_was_tampered_with_in_the_registry_is_refused(
    server: Server, pushed: str, icu_image: Image, podman: str, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = open_layout(icu_image.layout)
    model = layout.manifest(layout.find(icu_image.name)).layers[-1].digest
    (stored,) = server.storage.glob(f"**/blobs/sha256/*/{model.hex}/data")
    good = stored.read_bytes()
    stored.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    try:
        assert verified(server, pushed, "--digests-only") == 3
        assert model.hex[:16] in capsys.readouterr().err
    finally:
        stored.write_bytes(good)
    assert verified(server, pushed, "--digests-only") == 0


def test_another_release_than_the_one_asked_for_is_refused(
    server: Server, pushed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verified(server, pushed, "--digests-only", "--digest", "0" * 64) == 3
    assert "was asked for" in capsys.readouterr().err


def test_a_tag_is_not_verified_and_the_digest_it_names_today_is_said(
    server: Server, pushed: str, icu_image: Image, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verified(server, f"{server.host}/{REPOSITORY}:1.0.0") == 2
    assert str(icu_image.digest) in capsys.readouterr().err


@pytest.mark.parametrize("after", [0, 900, 30_000, 5_000_000])
def test_a_registry_that_drops_the_connection_leaves_nothing_and_is_told(
    server: Server,
    pushed: str,
    after: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with laid(Wire(server.port)) as wire:
        auth = server.auth_file(tmp_path / "auth.json", host=f"127.0.0.1:{wire.port}")
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(auth))
        monkeypatch.setattr("bedside.image.transport.WAITS", (0.0,))
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        wire.cut(Way.BACK, after)
        assert verified(server, pushed.replace(server.host, f"127.0.0.1:{wire.port}"), "--digests-only") == 4
    assert "127.0.0.1" in capsys.readouterr().err
    assert not list(tmp_path.glob("bedside-image-*"))


@pytest.mark.parametrize("after", [0, 900, 5_000_000])
def test_a_registry_that_drops_the_connection_over_the_base_gives_no_image_and_is_told(
    bases_registry: Registry,
    icu_release: Path,
    after: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with laid(Wire(int(bases_registry.host.rpartition(":")[2]))) as wire:
        monkeypatch.setattr("bedside.image.transport.WAITS", (0.0,))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        wire.cut(Way.BACK, after)
        host = f"127.0.0.1:{wire.port}"
        base = bases_registry.distroless.replace(bases_registry.host, host)
        words = ["build", str(icu_release), "--base", base, "--plain-http", "--engine", "assembled"]
        assert run([*words, "--prove-with", "runc", "-o", str(tmp_path / "icu.oci")]) == 4
    assert f"error: {host} dropped the connection" in capsys.readouterr().err
    assert open_layout(tmp_path / "icu.oci").index().manifests == ()
    assert open_layout(tmp_path / "cache" / "bedside" / "images").index().manifests == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small volume needs root")
def test_on_a_full_disk_a_build_says_so_names_nothing_and_goes_on_when_there_is_room(
    icu_release: Path, distroless: Path, podman: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=30m", "tmpfs", str(volume)], check=True)
    words = ["build", str(icu_release), "--base", str(distroless), "--engine", "assembled", "--prove-with", podman]
    try:
        assert run([*words, "-o", str(volume / "icu.oci")]) == 4
        said = capsys.readouterr().err
        assert "No space left on device" in said
        assert "Make room" in said
        assert not [item for item in open_layout(volume / "icu.oci").index().manifests if item.annotations]
        subprocess.run(["mount", "-o", "remount,size=200m", str(volume)], check=True)
        assert run([*words, "-o", str(volume / "icu.oci")]) == 0
        said = capsys.readouterr().err
        for name in ("base", "dependencies", "runtime", "bytecode", "code", "model", "MB to pull", "65 golden cases"):
            assert name in said
        assert open_layout(volume / "icu.oci").find("icu-mortality:1.0.0")
    finally:
        subprocess.run(["umount", str(volume)], check=True)

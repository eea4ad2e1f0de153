"""An image that does not carry its model: fetched by a container of it, as a pod's init container does, and proven."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests import built
from tests.built import Image
from tests.fetching import emulators
from tests.fetching.test_release import MODEL, project

from bedside.cli.main import run
from bedside.image import contents
from bedside.image.layout import open_layout
from bedside_runtime.fetching.download import CHUNK

PLACE = "/opt/bedside/release/model"
HELD = ["--read-only", "--user", "10001:10001", "--cap-drop", "all", "--security-opt", "no-new-privileges"]


@dataclass(frozen=True)
class Elsewhere:
    """An image, the cloud that has its model, and what proves who asks."""

    image: Image
    cloud: emulators.Cloud
    token: Path


@pytest.fixture(scope="module")
def elsewhere(podman: str, distroless: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    directory = tmp_path_factory.mktemp("elsewhere")
    with emulators.s3(MODEL) as cloud, pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        own = {name: cloud.environment[name] for name in ("AWS_ENDPOINT_URL", "AWS_ALLOW_HTTP", "AWS_REGION")}
        for name, value in {**own, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}.items():
            patch.setenv(name, value)
        made = project(directory / "icu", cloud.address)
        assert run(["package", str(made), "--keep-model"]) == 0
        (release,) = (made / "dist").glob("icu-mortality-*")
        image = built.image(release, "--base", str(distroless), "--engine", "assembled", "--prove-with", podman)
        token = directory / "token"
        token.write_text(cloud.environment["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"])
        token.chmod(0o644)
        yield Elsewhere(image, cloud, token)


def fetch(elsewhere: Elsewhere, volume: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run the init container."""
    environment = {
        **elsewhere.cloud.environment,
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/run/token",
        **changes,
    }
    words = [word for name, value in environment.items() for word in ("--env", f"{name}={value}")]
    mounts = ["--volume", f"{volume}:{PLACE}:rw", "--volume", f"{elsewhere.token}:/run/token:ro"]
    return container(elsewhere, [*HELD, "--network", "host", *words, *mounts], "fetch", "/opt/bedside/release")


def verify(elsewhere: Elsewhere, volume: Path) -> subprocess.CompletedProcess[str]:
    """Load the release as the server does, and replay its golden cases, without a network."""
    mounts = ["--volume", f"{volume}:{PLACE}:ro", "--tmpfs", "/tmp"]
    return container(elsewhere, [*HELD, "--network", "none", *mounts], "verify", "/opt/bedside/release", "--json")


def container(elsewhere: Elsewhere, options: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["podman", "run", "--rm", *options, elsewhere.image.name, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
    )
    for secret in elsewhere.cloud.secrets:
        assert secret not in done.stdout + done.stderr
    return done


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """What an emptyDir is to the pod's user."""
    path = tmp_path / "volume"
    path.mkdir()
    os.chown(path, 10001, 10001)
    return path


def test_the_image_has_everything_of_the_release_but_its_model(elsewhere: Elsewhere) -> None:
    layout = open_layout(elsewhere.image.layout)
    manifest = layout.manifest(layout.find(elsewhere.image.name))
    there = contents.read(layout, manifest).below("/opt/bedside/release")
    assert "contract.json" in there
    assert not any(path.startswith("model/") for path in there)


def test_what_the_init_container_fetched_is_what_the_server_answers_with(elsewhere: Elsewhere, volume: Path) -> None:
    before = verify(elsewhere, volume)
    assert before.returncode == 3
    assert "model/icu.joblib is missing" in before.stderr
    fetched = fetch(elsewhere, volume)
    assert fetched.returncode == 0, fetched.stderr
    assert (volume / "icu.joblib").read_bytes() == MODEL
    after = verify(elsewhere, volume)
    assert after.returncode == 0, after.stderr
    assert json.loads(after.stdout)["cases"] > 0


def test_a_volume_with_anything_else_in_it_is_no_release(elsewhere: Elsewhere, volume: Path) -> None:
    part = volume / ".icu.joblib.part"
    part.write_bytes(MODEL[: len(MODEL) // 2])
    os.chown(part, 10001, 10001)  # as a container that was killed leaves it
    assert verify(elsewhere, volume).returncode == 3
    assert len(MODEL) < CHUNK
    assert json.loads(fetch(elsewhere, volume).stdout)["kept"] == len(MODEL) // 2
    assert verify(elsewhere, volume).returncode == 0
    (volume / "icu.joblib").write_bytes(MODEL[:-1] + bytes([MODEL[-1] ^ 1]))
    assert verify(elsewhere, volume).returncode == 3
    assert fetch(elsewhere, volume).returncode == 3


def test_an_image_without_its_model_is_proven_with_the_file_that_is_named(
    elsewhere: Elsewhere, tmp_path: Path, capsys: Any
) -> None:
    target = str(elsewhere.image.layout)
    assert run(["verify", target, "--digests-only"]) == 0
    capsys.readouterr()
    assert run(["verify", target, "--prove-with", "podman"]) == 2
    assert "--model" in capsys.readouterr().err
    other = tmp_path / "other"
    other.write_bytes(MODEL + b"\0")
    assert run(["verify", target, "--prove-with", "podman", "--model", str(other)]) == 3
    model = elsewhere.image.release / "model" / "icu.joblib"
    assert run(["verify", target, "--prove-with", "podman", "--model", str(model)]) == 0

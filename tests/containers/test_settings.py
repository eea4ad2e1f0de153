"""A release with what a ward asks for, several workers, authentication and an audit log, is proven all the same."""

import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.built import ROOT, Image, Registry, image

from bedside.cli.main import run
from bedside.image import contents
from bedside.image.attached import InLayout
from bedside.image.contents import Entry
from bedside.image.layout import open_layout
from bedside.stages import record

AUDIT = """
[audit]
payload = "hmac"
low_water_bytes = 1048576
segment_bytes = 1048576
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("guarded") / "icu"
    shutil.copytree(ROOT / "examples" / "icu-mortality", project, ignore=shutil.ignore_patterns("dist", "__pycache__"))
    path = project / "bedside.toml"
    text = path.read_text()
    assert "[serve.auth]" in text
    path.write_text(text.replace("[serve]\n", "[serve]\nworkers = 2\n") + AUDIT)
    assert run(["package", str(project)]) == 0
    return project / "dist" / "icu-mortality-1.0.0"


@pytest.fixture(scope="module")
def guarded_image(guarded: Path, distroless: Path, podman: str) -> Image:
    return image(guarded, "--base", str(distroless), "--engine", "assembled", "--prove-with", podman)


@pytest.mark.parametrize("host", ["podman", "runc"])
def test_it_is_proven_with_throw_away_keys_and_nobody_authenticated_on_loopback(
    guarded: Path, guarded_image: Image, distroless: Path, host: str
) -> None:
    options = ("--base", str(distroless), "--engine", "assembled", "--prove-with", host)
    made = guarded_image if host == "podman" else image(guarded, *options)
    layout = open_layout(made.layout)
    measured = record.read(InLayout(layout, layout.find(made.name)))
    assert measured is not None
    assert measured["golden"]["cases"] == 65
    assert measured["host"].startswith(host)


def files(made: Image) -> dict[str, Entry]:
    layout = open_layout(made.layout)
    there = contents.read(layout, layout.manifest(layout.find(made.name)), hashed=lambda path: path.startswith("opt/"))
    return {path: entry for path, entry in there.entries.items() if path.startswith(("opt/bedside", "var"))}


def plain(entries: dict[str, Entry]) -> dict[str, tuple[object, ...]]:
    return {
        path: (entry.kind, entry.mode, entry.user, entry.group, entry.size, entry.target, entry.sha256)
        for path, entry in entries.items()
    }


@pytest.mark.parametrize("engine", ["podman", "docker"])
def test_both_ways_bring_the_directory_of_the_audit_log(
    guarded: Path, guarded_image: Image, bases_registry: Registry, engine: str, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(engine)
    bases = ("--base", bases_registry.distroless, "--installer", bases_registry.slim, "--plain-http")
    built = plain(files(image(guarded, *bases, "--engine", engine, "--prove-with", engine)))
    assembled = plain(files(guarded_image))
    assert assembled["var/log/model"] == ("directory", 0o750, 10001, 10001, 0, "", None)
    assert {path for path in built.keys() | assembled.keys() if built.get(path) != assembled.get(path)} == set()


WRITABLE = """
import os
seen = set()
for directory, folders, names in os.walk("/"):
    folders[:] = [name for name in folders if os.path.join(directory, name) not in {"/proc", "/sys", "/dev"}]
    for path in [directory, *(os.path.join(directory, name) for name in names)]:
        if not os.path.islink(path) and os.access(path, os.W_OK):
            print(path)
"""


def test_on_a_disk_that_takes_writes_the_user_can_write_its_log_and_what_everybody_may(
    guarded_image: Image, podman: str
) -> None:
    """The directory of the log is the one exception that the image makes; the others are the base's and podman's."""
    words = ("--entrypoint", "/opt/bedside/bin/python", str(guarded_image.called), "-I", "-c", WRITABLE)
    done = subprocess.run([podman, "run", "--rm", *words], check=True, capture_output=True, text=True)
    assert set(done.stdout.splitlines()) - EVERYBODY_S == {"/var/log/model"}


EVERYBODY_S = {"/tmp", "/var/tmp", "/var/lock", "/run/lock"}


@pytest.fixture
def volume(podman: str) -> Iterator[str]:
    name = f"bedside-log-{uuid.uuid4().hex[:12]}"
    subprocess.run([podman, "volume", "create", name], check=True, capture_output=True)
    yield name
    subprocess.run([podman, "volume", "rm", "--force", name], check=True, capture_output=True)


def test_a_new_volume_takes_the_log_of_a_container_with_a_read_only_root(
    guarded_image: Image, podman: str, volume: str, tmp_path: Path
) -> None:
    """Whoever runs the image mounts a volume that was never used, and gives nobody any rights."""
    assert run(["audit", "keygen", str(guarded_image.release.parents[1]), "-o", str(tmp_path / "keys")]) == 0
    (tmp_path / "keys" / "pod").chmod(0o755)  # as a cluster mounts them for the pod's user
    for key in (tmp_path / "keys" / "pod").iterdir():
        key.chmod(0o644)
    mounts = (f"--volume={volume}:/var/log/model", f"--volume={tmp_path}/keys/pod:/run/secrets/bedside:ro")
    digest = release_digest(guarded_image)
    release, name = "/opt/bedside/release", f"bedside-log-{uuid.uuid4().hex[:12]}"
    held = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none", "--tmpfs=/tmp")
    command = ("serve", release, "--host", "127.0.0.1", "--digest", digest, "--local")
    words = [podman, "run", "--detach", f"--name={name}", "--env=POD_NAME=icu-0", *held, *mounts]
    subprocess.run([*words, str(guarded_image.called), *command], check=True, capture_output=True)
    try:
        python = ("/opt/bedside/bin/python", "-I", "-m", "bedside_runtime")
        replay = (*python, "replay", release, "--digest", digest, "--within", "300", "--json")
        asked = subprocess.run([podman, "exec", name, *replay], check=False, capture_output=True, text=True)
        assert asked.returncode == 0, asked.stdout + asked.stderr
        subprocess.run([podman, "kill", "--signal=TERM", name], check=True, capture_output=True)
        ended = subprocess.run([podman, "wait", name], check=True, capture_output=True, text=True)
        assert ended.stdout.strip() == "0"
    finally:
        subprocess.run([podman, "rm", "--force", name], check=True, capture_output=True)
    inspect = [podman, "volume", "inspect", "--format={{.Mountpoint}}", volume]
    log = Path(subprocess.run(inspect, check=True, capture_output=True, text=True).stdout.strip())
    assert (log.stat().st_uid, log.stat().st_mode & 0o777) == (10001, 0o750)
    assert sum(path.read_text().count('"kind":"prediction"') for path in log.rglob("*.jsonl")) >= 65


def release_digest(made: Image) -> str:
    layout = open_layout(made.layout)
    labels = layout.config(layout.manifest(layout.find(made.name))).config.labels
    return labels["dev.bedside.release-digest"]

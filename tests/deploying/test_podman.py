"""The rendered YAML without a cluster: `podman kube play`, as far as it goes.

podman 4.3 leaves out readiness and startup probes, preStop and the grace period, asks the others with a curl that
the image has not got, publishes each containerPort on all addresses of the machine, and writes the values of a
Secret without decoding them. So ports and probes are taken out here, and the values are decoded in place. What is
left is what a pod is: image by digest, user, read-only root, capabilities, limits, claims, Secrets as files.
"""

import base64
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploying.real_world import NAME, Workshop

from bedside.image.layout import open_layout
from bedside.release.reading import open_release
from bedside.stages.manifests import manifests
from bedside_runtime.contract import Audit, Auth

pytestmark = [pytest.mark.podman, pytest.mark.timeout(900)]
NEEDED = ("podman", "skopeo", "nsenter", "mmdebstrap")
PACKAGES = "base-files,libc6,libstdc++6,libgcc-s1,libgomp1,python3,netbase,tzdata"
CONTAINERS = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
"""
SETTINGS = f"""schema = 1
[model]
name = "{NAME}"
[deploy]
exposure = "none"
[deploy.resources]
memory = "512Mi"
cpu = "1"
"""
KEY = f"bsk_{'A' * 43}"


@pytest.fixture(scope="module")
def base() -> str:
    """A small base with Python, made once and kept in the user's cache; or the one of BEDSIDE_TEST_BASE."""
    if "BEDSIDE_TEST_BASE" in os.environ:
        return os.environ["BEDSIDE_TEST_BASE"]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bedside-tests" / "python.tar"
    if not cache.exists():
        cache.parent.mkdir(parents=True, exist_ok=True)
        made = cache.with_suffix(".part.tar")
        command = ["mmdebstrap", "--quiet", "--variant=extract", f"--include={PACKAGES}", "bookworm", str(made)]
        subprocess.run(command, check=True, timeout=300, env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"})
        made.rename(cache)
    return str(cache)


@dataclass
class Podman:
    """podman with storage of its own, and the pod that it plays.

    What runs has a short folder of its own: a runroot of over 50 characters is refused where it is an argument,
    so conmon's own call of podman, which starts again what ended, would fail.
    """

    directory: Path
    running: Path

    def __call__(self, *arguments: str) -> str:
        environment = {
            **os.environ,
            "CONTAINERS_CONF": str(self.directory / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.directory / "storage.conf"),
        }
        done = subprocess.run(
            ["podman", *arguments], capture_output=True, text=True, check=False, timeout=200, env=environment
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    @property
    def container(self) -> str:
        return f"{NAME}-pod-0-model"

    @property
    def pid(self) -> int:
        return int(self("inspect", "--format", "{{.State.Pid}}", self.container))

    def volume(self, name: str) -> Path:
        return Path(self("volume", "inspect", "--format", "{{.Mountpoint}}", name))

    def ask(self, path: str, body: Any = None, port: int = 8080) -> tuple[int, dict[str, Any]]:
        """Ask the container, from inside of its own network: it has no other."""
        code = (
            "import json, sys, urllib.request, urllib.error\n"
            "asked = urllib.request.Request(sys.argv[1], sys.stdin.buffer.read() or None)\n"
            f"asked.add_header('Authorization', 'Bearer {KEY}')\n"
            "asked.add_header('Content-Type', 'application/json')\n"
            "try:\n    answer = urllib.request.urlopen(asked, timeout=20)\n"
            "except urllib.error.HTTPError as error:\n    answer = error\n"
            "print(json.dumps([answer.status, json.loads(answer.read())]))\n"
        )
        command = ["nsenter", "--target", str(self.pid), "--net", sys.executable, "-c", code]
        done = subprocess.run(
            [*command, f"http://127.0.0.1:{port}{path}"],
            input=json.dumps(body) if body is not None else "",
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        status, document = json.loads(done.stdout)
        return int(status), document

    def clean(self) -> None:
        """Take away what was made, by name."""
        names = [f"{NAME}-{purpose}" for purpose in ("audit", "audit-keys", "auth-keys")]
        for arguments in (("pod", "rm", "--force", f"{NAME}-pod-0"), ("volume", "rm", "--force", *names)):
            with suppress(AssertionError):
                self(*arguments)
        subprocess.run(["umount", str(self.directory / "graph" / "overlay")], check=False, capture_output=True)
        shutil.rmtree(self.running, ignore_errors=True)

    def wait(self, seconds: float = 240) -> None:
        """Until it is ready."""
        until = time.monotonic() + seconds
        said: Any = ""
        while time.monotonic() < until:
            try:
                status, said = self.ask("/readyz", port=8081)
                if status == 200:
                    return
            except (subprocess.CalledProcessError, AssertionError) as error:
                said = error
            time.sleep(0.5)
        raise AssertionError(f"never ready: {said} {self('logs', '--tail', '5', self.container)}")


@pytest.fixture(scope="module")
def played(base: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Podman, Path]]:
    """The release, its image, its YAML: played. Gives podman and the release."""
    missing = [tool for tool in NEEDED if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")
    directory = tmp_path_factory.mktemp("podman")
    workshop = Workshop(directory, "registry.example.org", base)
    release = workshop.release("1.0.0", auth=Auth(methods=("api-key",)), audit=Audit(payload="hmac"))
    layout, digest = workshop.layout(release)
    reference = f"registry.example.org/icu/mortality@{digest}"
    settings = directory / "settings.toml"
    settings.write_text(SETTINGS)
    tree = manifests(release, reference, directory / "k8s", settings=settings).directory
    podman = _podman(directory)
    try:
        _load(podman, layout)
        _play(podman, tree)
        yield podman, release
    finally:
        podman.clean()


def _podman(directory: Path) -> Podman:
    (directory / "containers.conf").write_text(CONTAINERS)
    running = Path(tempfile.mkdtemp(prefix="podman-", dir="/tmp"))
    (directory / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{directory}/graph"\nrunroot = "{running}"\n'
    )
    return Podman(directory, running)


def _load(podman: Podman, layout: Path) -> None:
    """Bring the image to podman, under the name that the manifests give it, with its digest."""
    podman("info")  # makes the storage
    _named(layout, "1.0.0")
    store = f"[overlay@{podman.directory}/graph+{podman.running}]"
    target = f"containers-storage:{store}registry.example.org/icu/mortality:1.0.0"
    subprocess.run(["skopeo", "copy", "--quiet", f"oci:{layout}:1.0.0", target], check=True, timeout=120)


def _named(layout: Path, name: str) -> None:
    """Give the image its name as a proof would: what is attached to it stands beside it in the layout."""
    opened = open_layout(layout)
    opened.add(opened.find(), name)


def _play(podman: Podman, tree: Path) -> None:
    line = f"deployer sha256:{hashlib.sha256(KEY.encode()).hexdigest()}\n"
    values = {"auth": {"api-keys.txt": line}, "audit": {"audit-hmac.key": "ab" * 32}}
    secrets = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": f"{NAME}-{purpose}-keys"},
            "data": {name: base64.b64encode(text.encode()).decode() for name, text in files.items()},
        }
        for purpose, files in values.items()
    ]
    (podman.directory / "secrets.yaml").write_text(yaml.safe_dump_all(secrets))
    (podman.directory / "play.yaml").write_text(yaml.safe_dump_all(_playable(tree)))
    podman("kube", "play", str(podman.directory / "secrets.yaml"))
    podman("kube", "play", "--network", "none", str(podman.directory / "play.yaml"))
    for purpose, files in values.items():
        for name, text in files.items():
            (podman.volume(f"{NAME}-{purpose}-keys") / name).write_text(text)


def _playable(tree: Path) -> list[dict[str, Any]]:
    """The claim, and the Deployment with one pod and without what podman takes for something else."""
    (claim,) = yaml.safe_load_all((tree / "base" / "persistentvolumeclaim.yaml").read_text())
    (deployment,) = yaml.safe_load_all((tree / "base" / "deployment.yaml").read_text())
    deployment["spec"]["replicas"] = 1
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    for part in ("ports", "startupProbe", "livenessProbe", "readinessProbe", "lifecycle"):
        del container[part]
    return [claim, deployment]


def _golden(release: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (release / "golden.jsonl").read_text().splitlines()]


def _predict(podman: Podman, case: dict[str, Any]) -> dict[str, Any]:
    status, answer = podman.ask("/predict", {"inputs": case["inputs"]})
    assert status == 200, answer
    return answer


def _log(podman: Podman) -> list[dict[str, Any]]:
    """Every record of the audit log in the claim, in the order of its segments."""
    folder = podman.volume(f"{NAME}-audit")
    segments = sorted(folder.rglob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    return [json.loads(line) for path in segments for line in path.read_text().splitlines()]


def test_the_pod_is_what_the_manifests_say_and_answers_as_the_study(played: tuple[Podman, Path]) -> None:
    podman, release = played
    podman.wait()
    case = _golden(release)[0]
    answer = _predict(podman, case)
    assert answer["release"]["digest"] == f"sha256:{open_release(release).digest}"
    assert abs(answer["predictions"][0]["value"] - case["expected"]) < 1e-9
    (inspected,) = json.loads(podman("inspect", podman.container))
    host = inspected["HostConfig"]
    assert inspected["Config"]["User"] == "10001:10001"
    assert host["ReadonlyRootfs"] is True
    assert host["Memory"] == 512 * 2**20
    assert len(host["CapDrop"]) > 5
    assert inspected["ImageDigest"] in (podman.directory / "play.yaml").read_text()


def test_a_stranger_is_refused(played: tuple[Podman, Path]) -> None:
    podman, _ = played
    podman.wait()
    code = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/model')"
    command = ["nsenter", "--target", str(podman.pid), "--net", sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "401" in done.stderr


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_it_comes_back_after_its_process_ended_and_keeps_its_audit_log(
    played: tuple[Podman, Path], how: signal.Signals
) -> None:
    podman, release = played
    podman.wait()
    asked = [_predict(podman, case)["id"] for case in _golden(release)[:5]]
    before, pid = len(_log(podman)), podman.pid
    os.kill(pid, how)
    until = time.monotonic() + 120
    while podman.pid in (0, pid):
        assert time.monotonic() < until
        time.sleep(0.2)
    podman.wait()
    after = _log(podman)
    assert len(after) > before
    said = json.dumps(after)
    assert [one for one in asked if one not in said] == [], "an answer whose record is gone"
    _predict(podman, _golden(release)[0])

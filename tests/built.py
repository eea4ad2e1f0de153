"""What tests of images share: stand-in bases, an engine with storage of its own, and images that were built once."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from bedside.cli.main import run
from bedside.image import bases, layout
from bedside.image.oci import Platform
from bedside.image.reference import Reference
from bedside.stages.push import push
from bedside.wiring import builder, engines, repository

ROOT = Path(__file__).parents[1]
BASES = ROOT / ".ci" / "bases"
LINUX = Platform(architecture="amd64", os="linux")


def base(which: str) -> Path:
    """Return the tar of a stand-in base, ``slim`` or ``distroless``; made once, then kept in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    directory = cache / "bedside-tests" / hashlib.sha256(BASES.read_bytes()).hexdigest()[:12]
    if not (directory / f"{which}.tar").is_file():
        subprocess.run([str(BASES), str(directory), which], check=True, capture_output=True, timeout=280)
    return directory / f"{which}.tar"


@dataclass(frozen=True)
class Registry:
    """A registry of this machine without TLS that has the stand-in bases.

    Attributes:
        slim: Reference of the stand-in for python:3.11-slim, by digest.
        distroless: Reference of the stand-in for distroless, by digest.
    """

    host: str
    slim: str
    distroless: str


@contextmanager
def registry(directory: Path) -> Iterator[Registry]:
    """Run docker-registry on loopback and push both bases to it, named as the real ones are."""
    config = {
        "version": "0.1",
        "log": {"level": "info", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(directory / "storage")}},
        "http": {"addr": "127.0.0.1:0"},
    }
    directory.mkdir(parents=True)
    (directory / "config.yml").write_text(yaml.safe_dump(config))
    with (directory / "log").open("wb") as log:
        child = subprocess.Popen(
            ["docker-registry", "serve", str(directory / "config.yml")], stdout=log, stderr=log, env={}
        )
    try:
        host = f"127.0.0.1:{_port(directory / 'log')}"
        named = [
            _push(host, "library/python:3.11-slim", base("slim"), directory),
            _push(host, "distroless/python3-debian12:nonroot", base("distroless"), directory),
        ]
        yield Registry(host, *named)
    finally:
        child.kill()
        child.wait()


def _port(log: Path) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if found := re.search(r"listening on 127\.0\.0\.1:([0-9]+)", log.read_text()):
            return int(found[1])
        time.sleep(0.02)
    raise AssertionError(log.read_text())


def _push(host: str, name: str, tar: Path, directory: Path) -> str:
    cache = layout.create(directory / "bases")
    reference = Reference.parse(f"{host}/{name}")
    found = bases.find(str(tar), LINUX, "3.11", cache, builder().repositories)
    with repository(reference, plain_http=True) as reached:
        image = next(item for item in cache.index().manifests if item.digest == found.base.digest)
        return str(push(cache, image, reference, reached).reference)


@contextmanager
def containers(directory: Path) -> Iterator[dict[str, str]]:
    """Give the variables with which podman and buildah keep everything below ``directory``; nothing of it stays.

    runc instead of crun, control groups without systemd, small limits: what works in a container without privileges
    over its host. A user's own settings are neither read nor changed. What runs has a short folder of its own: a
    runroot of over 50 characters is refused where it is an argument, and conmon calls podman with it to clear up.
    """
    directory.mkdir(parents=True)
    (directory / "containers.conf").write_text(
        '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'
        '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\n'
    )
    running = tempfile.mkdtemp(prefix="podman-", dir="/tmp")
    (directory / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{directory}/graph"\nrunroot = "{running}"\n'
    )
    try:
        yield {
            "CONTAINERS_CONF": str(directory / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(directory / "storage.conf"),
        }
    finally:
        for made in (directory, Path(running)):
            _unmount(made)
            shutil.rmtree(made, ignore_errors=True)


def _unmount(directory: Path) -> None:
    """Unmount all that is mounted below ``directory``, the latest first: what holds a mount cannot be removed."""
    mounted = [Path(line.split()[1]) for line in Path("/proc/self/mounts").read_text().splitlines()]
    for place in reversed(mounted):
        if place.is_relative_to(directory):
            subprocess.run(["umount", "--lazy", str(place)], check=True, capture_output=True)


@dataclass(frozen=True)
class Image:
    """An image that was built, proven and named.

    Attributes:
        layout: The OCI layout it lies in.
        digest: Of its manifest.
        name: Its name in the layout, and in podman where it was proven.
        release: The release directory that it was built from.
        called: The id of the image that had the name in podman when this one was built; later ones may have taken it.
    """

    layout: Path
    digest: str
    name: str
    release: Path
    called: str | None = None


def packaged(example: str, directory: Path) -> Path:
    """Package a copy of an example and return its release directory."""
    project = directory / example
    shutil.copytree(ROOT / "examples" / example, project, ignore=shutil.ignore_patterns("dist", "__pycache__"))
    assert run(["package", str(project)]) == 0
    (release,) = (project / "dist").glob(f"{example}-*")
    return release


def image(release: Path, *options: str) -> Image:
    """Build, prove and name the image of a release, as a person types it."""
    target = release.parent / f"{release.name}-{len(list(release.parent.iterdir()))}.oci"
    assert run(["build", str(release), "-o", str(target), *options]) == 0
    found = layout.open_layout(target).find(f"{release.name.rpartition('-')[0]}:{release.name.rpartition('-')[2]}")
    name = found.annotations["org.opencontainers.image.ref.name"]
    called = engines()["podman"].find(name) if options[-2:] == ("--prove-with", "podman") else None
    return Image(target, found.digest, name, release, called)


@contextmanager
def dockerd(directory: Path) -> Iterator[dict[str, str]]:
    """Run a Docker engine of its own below ``directory`` and give the variables with which its client finds it."""
    directory.mkdir(parents=True)
    socket, tools = directory / "docker.sock", directory / "bin"
    tools.mkdir()
    (tools / "docker").symlink_to("/usr/bin/docker")  # the client that belongs to the engine, whatever else is on PATH
    words = [
        *("dockerd", f"--host=unix://{socket}", f"--data-root={directory}/data", f"--exec-root={directory}/exec"),
        *(f"--pidfile={directory}/pid", "--storage-driver=overlay2", "--bridge=none", "--iptables=false"),
        *("--ip-forward=false", "--ip-masq=false", "--exec-opt=native.cgroupdriver=cgroupfs"),
        *("--default-ulimit=nofile=1024:1024", "--default-ulimit=nproc=1024:1024"),
    ]
    variables = {"DOCKER_HOST": f"unix://{socket}", "PATH": f"{tools}:{os.environ['PATH']}"}
    with (directory / "log").open("wb") as log:
        child = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and child.poll() is None:
            asked = subprocess.run([tools / "docker", "info"], env={**os.environ, **variables}, capture_output=True)
            if asked.returncode == 0:
                break
            time.sleep(0.2)
        else:
            raise AssertionError((directory / "log").read_text()[-2000:])
        yield variables
    finally:
        child.terminate()
        child.wait(30)
        shutil.rmtree(directory, ignore_errors=True)

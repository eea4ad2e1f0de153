"""What the tests of the tools share with those of the runtime: its small contract, its server fixture."""

import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from tests import built
from tests.built import Image, Registry

from bedside_runtime.contract import Contract

RUNTIME_TESTS = Path(__file__).parents[1] / "runtime" / "tests"
RUNNING_IMAGES = Path(__file__).parent / "containers"
sys.path[:0] = [str(RUNTIME_TESTS), str(RUNTIME_TESTS / "serve")]

settings.register_profile("any machine", settings(), deadline=None)  # a busy one takes its time with an example
settings.load_profile("any machine")

OF_IMAGES = {"distroless", "slim", "bases_registry", "podman", "docker", "icu_release", "icu_image"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what asks for an image of this session: `make test` runs it in one process, so that it is built once."""
    for item in items:
        if OF_IMAGES & set(getattr(item, "fixturenames", ())) or RUNNING_IMAGES in item.path.parents:
            item.add_marker(pytest.mark.containers)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(1200))  # the first one makes bases, a release and images


@pytest.fixture(scope="session")
def a_contract() -> Contract:
    """The small contract that the runtime's own tests use."""
    made: Contract = importlib.import_module("contracts").contract()
    return made


def _needs(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


@pytest.fixture(scope="session")
def distroless() -> Path:
    """The tar of a stand-in for the distroless Python base."""
    _needs("apt-get", "dpkg-deb")
    return built.base("distroless")


@pytest.fixture(scope="session")
def slim() -> Path:
    """The tar of a stand-in for python:3.11-slim."""
    _needs("mmdebstrap")
    return built.base("slim")


@pytest.fixture(scope="session")
def bases_registry(slim: Path, distroless: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry on loopback that has both bases."""
    _needs("docker-registry")
    with built.registry(tmp_path_factory.mktemp("bases") / "registry") as running:
        yield running


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """podman with storage and settings of this session; what tests run in it is there for all of them."""
    _needs("podman", "runc")
    if os.geteuid() != 0:
        pytest.skip("podman is set up for root here")
    with (
        built.containers(tmp_path_factory.mktemp("podman") / "containers") as variables,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in variables.items():
            patch.setenv(name, value)
        yield "podman"


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Docker engine of this session."""
    _needs("dockerd", "/usr/bin/docker")
    if os.geteuid() != 0:
        pytest.skip("a Docker engine needs root")
    directory = Path(tempfile.mkdtemp(prefix="bedside-docker-"))  # the path of a socket is short
    with built.dockerd(directory / "d") as variables, pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield "docker"
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def icu_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The release of the ICU example; copy it before changing anything."""
    return built.packaged("icu-mortality", tmp_path_factory.mktemp("icu"))


@pytest.fixture(scope="session")
def icu_image(icu_release: Path, distroless: Path, podman: str) -> Image:
    """The ICU example's image on the distroless base: assembled, proven in podman, named there and in its layout."""
    return built.image(icu_release, "--base", str(distroless), "--engine", "assembled", "--prove-with", podman)

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.real_registry.server import PROGRAM, Server, running

from bedside.image import layout as layouts
from bedside.image.layout import Layout


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.registry)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if PROGRAM is None:
        pytest.skip("docker-registry is not installed")
    with running(tmp_path_factory.mktemp("registry")) as started:
        yield started


@pytest.fixture
def repository_name(request: pytest.FixtureRequest) -> str:
    """A repository for this test alone."""
    name: str = request.node.originalname
    return f"{name.replace('_', '-')[:80].strip('-')}/{uuid.uuid4().hex[:8]}"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return layouts.create(tmp_path / "images")


@pytest.fixture(scope="session")
def skopeo() -> str:
    found = shutil.which("skopeo")
    if found is None:
        pytest.skip("skopeo is not installed")
    return found

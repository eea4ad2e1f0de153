"""Every story in `scenarios/`, with the simulated cluster."""

from pathlib import Path

import pytest
from tests.deploying import language
from tests.deploying.world import World
from tests.simulated_cluster.server import running

SCENARIOS = sorted((Path(__file__).parent / "scenarios").glob("*.txt"))


@pytest.mark.parametrize("path", SCENARIOS, ids=[path.stem for path in SCENARIOS])
def test_scenario(path: Path, tmp_path: Path) -> None:
    scenario = language.read(path)
    with running() as cluster:
        language.play(scenario, World(cluster, tmp_path))

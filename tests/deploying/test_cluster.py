"""The stories that a real cluster can be asked to play: `make test-cluster`, through KUBECONFIG."""

import os
from pathlib import Path

import pytest
from tests.deploying import language
from tests.deploying.real_world import Workshop, world

REGISTRY, BASE = os.environ.get("BEDSIDE_TEST_REGISTRY", ""), os.environ.get("BEDSIDE_TEST_BASE", "")
SCENARIOS = [language.read(path) for path in sorted((Path(__file__).parent / "scenarios").glob("*.txt"))]
POSSIBLE = [scenario for scenario in SCENARIOS if not scenario.only_simulated]

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(1_800),
    pytest.mark.skipif(
        not (os.environ.get("KUBECONFIG") and REGISTRY and BASE),
        reason="needs a cluster: KUBECONFIG, BEDSIDE_TEST_REGISTRY and BEDSIDE_TEST_BASE (make test-cluster)",
    ),
]


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("cluster"), REGISTRY, BASE)


@pytest.mark.parametrize("scenario", POSSIBLE, ids=[scenario.path.stem for scenario in POSSIBLE])
def test_scenario(scenario: language.Scenario, workshop: Workshop) -> None:
    with world(workshop) as real:
        language.play(scenario, real)

"""What the tests of the tools share with those of the runtime: its small contract, its server fixture."""

import importlib
import sys
from pathlib import Path

import pytest

from bedside_runtime.contract import Contract

RUNTIME_TESTS = Path(__file__).parents[1] / "runtime" / "tests"
sys.path[:0] = [str(RUNTIME_TESTS), str(RUNTIME_TESTS / "serve")]


@pytest.fixture(scope="session")
def a_contract() -> Contract:
    """The small contract that the runtime's own tests use."""
    made: Contract = importlib.import_module("contracts").contract()
    return made

"""What the tests of the tools share with those of the runtime."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from bedside_runtime.contract import Contract

ROOT = Path(__file__).parent.parent


def _load(name: str, path: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def a_contract() -> Contract:
    """The small contract that the runtime's own tests use."""
    made: Contract = _load("contracts", ROOT / "runtime/tests/contracts.py").contract()
    return made

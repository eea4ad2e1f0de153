import sys
from pathlib import Path

import pytest

from bedside.errors import ToolFailed
from bedside.locking.uv import Uv
from bedside.process import Subprocess
from bedside.stages import doctor


def look(name: str) -> str:
    return doctor._tool(name)(Uv(Subprocess()))


def test_a_tool_that_came_as_a_wheel_is_found_beside_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert look("trivy") == str(Path(sys.executable).parent / "trivy")
    assert Subprocess().run(["trivy", "--version"]).ok


def test_a_tool_that_is_nowhere_is_missing_with_a_remedy() -> None:
    with pytest.raises(ToolFailed):
        look("no-such-program")
    assert all(check.remedy for check in doctor.CHECKS)

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


def test_what_every_command_runs_is_looked_for() -> None:
    """A proof needs a container, and check asks three stock tools: who lacks one reads it here first."""
    names = {check.name for check in doctor.CHECKS}
    assert {"a runtime of containers", "trivy", "hadolint", "zizmor"} <= names


def test_any_one_of_several_programs_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (runtime,) = [check for check in doctor.CHECKS if check.name == "a runtime of containers"]
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolFailed, match="podman and docker and runc and crun"):
        runtime.look(Uv(Subprocess()))
    (tmp_path / "runc").write_text("#!/bin/sh\n")
    (tmp_path / "runc").chmod(0o755)
    assert runtime.look(Uv(Subprocess())) == str(tmp_path / "runc")

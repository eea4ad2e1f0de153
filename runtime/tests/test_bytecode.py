"""What an image carries so that no pod compiles it again."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

from bedside_runtime import bytecode


def compiled(target: Path, *modules: str) -> dict[str, bytes]:
    """Compile in a process of its own, as a build does: what this one has imported counts too."""
    command = [sys.executable, "-I", "-B", "-m", "bedside_runtime", "compile", *modules]
    done = subprocess.run([*command, "--to", str(target), "--site", "/app/site"], check=True, capture_output=True)
    found = {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}
    assert json.loads(done.stdout) == {"files": len(found)}
    return found


def test_the_same_modules_give_the_same_bytes_in_another_place(tmp_path: Path) -> None:
    assert compiled(tmp_path / "one") == compiled(tmp_path / "other")


def test_what_is_imported_is_compiled_and_nothing_else(tmp_path: Path) -> None:
    audit = "app/site/bedside_runtime/audit/__pycache__"
    tag = sys.implementation.cache_tag
    found = compiled(tmp_path)
    assert f"{audit}/chain.{tag}.pyc" in found
    assert f"{audit}/ed25519.{tag}.pyc" not in found  # only a log with signed checkpoints imports it


def test_a_compiled_file_is_never_compared_with_its_source_again(tmp_path: Path) -> None:
    for data in compiled(tmp_path).values():
        assert data[:4] == importlib.util.MAGIC_NUMBER
        assert int.from_bytes(data[4:8], "little") == 0b01  # PEP 552: a hash, and unchecked


def test_a_module_that_is_not_there_is_named(tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-m", "bedside_runtime", "compile", "no_such_module", "--to", str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 4
    assert "no_such_module" in done.stderr


def test_the_site_is_where_the_runtime_lies() -> None:
    assert (bytecode.SITE / "bedside_runtime" / "bytecode.py").is_file()

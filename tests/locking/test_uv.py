"""uv itself runs here; nothing is faked. Resolving reaches the package index."""

from pathlib import Path

import pytest

from bedside.errors import SpecInvalid, ToolFailed, VerificationFailed
from bedside.locking import lockfile, runtime_wheel
from bedside.locking.environments import EnvironmentCache
from bedside.locking.uv import Uv
from bedside.process import Subprocess

pytestmark = pytest.mark.package
UV = Uv(Subprocess())


def lock(directory: Path, requirements: str, extra: str = "packaging") -> Path:
    wanted = directory / "requirements.in"
    wanted.write_text(requirements)
    UV.compile(wanted, extra, directory / "requirements.lock", "3.11", None)
    return directory / "requirements.lock"


def names(path: Path) -> dict[str, str]:
    return {item.name: item.version for item in lockfile.parse(path.read_text())}


def test_a_lock_holds_versions_and_digests_and_no_address(tmp_path: Path) -> None:
    path = lock(tmp_path, "click==8.2.0\n")
    assert names(path)["click"] == "8.2.0"
    assert "packaging" in names(path)
    assert "http" not in path.read_text()


def test_versions_of_an_existing_lock_are_kept(tmp_path: Path) -> None:
    lock(tmp_path, "click==8.2.0\n")
    assert names(lock(tmp_path, "click\n"))["click"] == "8.2.0"


@pytest.mark.parametrize(
    "requirements", ["a-distribution-that-nobody-made==1.0\n", "click==8.2.0\nclick==8.1.0\n", "pysam==0.8.0\n"]
)
def test_what_cannot_be_locked_from_wheels_is_the_author_s_to_correct(tmp_path: Path, requirements: str) -> None:
    with pytest.raises(SpecInvalid, match="cannot be locked") as refused:
        lock(tmp_path, requirements)
    assert "wheel" in refused.value.remedy
    assert not (tmp_path / "requirements.lock").exists()


def test_an_index_that_does_not_answer_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(ToolFailed, match="index cannot be reached"):
        lock(tmp_path, "click==8.2.0\n")


def test_a_file_with_another_digest_is_never_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = lock(tmp_path, "click==8.2.0\n")
    zeros = "\n".join(
        line.split("sha256:")[0] + "sha256:" + "0" * 64 if "sha256:" in line else line
        for line in path.read_text().replace(" \\\n", " ").splitlines()
    )
    path.write_text(zeros + "\n")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(VerificationFailed, match="not the one that the lock names"):
        UV.environment(tmp_path / "environment", "3.11", path, None)


def test_a_python_that_is_not_here_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    path = lock(tmp_path, "click==8.2.0\n")
    with pytest.raises(ToolFailed, match=r"no environment with Python 3\.99") as refused:
        UV.environment(tmp_path / "environment", "3.99", path, None)
    assert "doctor" in refused.value.remedy


def test_the_runtime_s_wheel_has_the_same_bytes_twice(tmp_path: Path) -> None:
    one, other = (runtime_wheel.bring(tmp_path / name, UV) for name in ("one", "other"))
    assert one is not None
    assert other is not None
    assert one.read_bytes() == other.read_bytes()


def test_an_environment_is_made_once_for_a_lock(tmp_path: Path) -> None:
    path = lock(tmp_path, "click==8.2.0\n")
    cache = EnvironmentCache(UV, tmp_path / "environments")
    first = cache.interpreter(path, None, "3.11")
    made = first.stat().st_ino, (first.parent.parent / "pyvenv.cfg").stat().st_mtime_ns
    again = cache.interpreter(path, None, "3.11")
    assert again == first
    assert (again.stat().st_ino, (again.parent.parent / "pyvenv.cfg").stat().st_mtime_ns) == made
    assert [item.name for item in (tmp_path / "environments").iterdir()] == [first.parent.parent.name]


def test_a_failed_environment_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = lock(tmp_path, "click==8.2.0\n")
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    cache = EnvironmentCache(UV, tmp_path / "environments")
    with pytest.raises(ToolFailed):
        cache.interpreter(path, None, "3.99")
    assert list((tmp_path / "environments").iterdir()) == []

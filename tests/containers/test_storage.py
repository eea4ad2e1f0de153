"""The storage that tests give podman: whatever they leave mounted in it, nothing of it stays."""

import subprocess
from pathlib import Path

import pytest
from tests import built

pytestmark = pytest.mark.containers


def test_what_is_still_mounted_in_it_goes_with_it(podman: str, distroless: Path, tmp_path: Path) -> None:
    with built.containers(tmp_path / "one") as variables:
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **variables}
        loaded = subprocess.run(
            [podman, "import", "-q", str(distroless), "one"],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
        subprocess.run(
            [podman, "image", "mount", loaded.stdout.strip()], env=environment, check=True, capture_output=True
        )
        assert str(tmp_path) in Path("/proc/self/mounts").read_text()
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()
    assert not (tmp_path / "one").exists()

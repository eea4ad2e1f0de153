"""The limits that an image is proven within are those that its pods get."""

import shutil
from pathlib import Path

import pytest
from tests.kube import projects

from bedside.errors import SpecInvalid, UsageError
from bedside.image.containment import Limits
from bedside.release.reading import open_release
from bedside.stages import limits


def test_they_are_what_deploy_says(tmp_path: Path) -> None:
    release = projects.make(tmp_path, projects.INGRESS)
    assert limits.of_release(open_release(release)) == Limits(2 << 30, 2.5)


def test_without_deploy_they_are_computed_from_what_packaging_measured(tmp_path: Path) -> None:
    release = projects.make(tmp_path, "")
    assert limits.of_release(open_release(release)) == Limits(
        448 << 20, 1.0
    )  # 1.5 x 200 MiB, and 128 requests of 1 MiB


def test_a_release_outside_of_its_project_has_its_measurements_still(tmp_path: Path) -> None:
    release = projects.make(tmp_path / "project", projects.INGRESS)
    shutil.copytree(release, tmp_path / "copy")
    assert limits.of_release(open_release(tmp_path / "copy")) == Limits(448 << 20, 1.0)


def test_a_release_that_came_without_measurements_gets_what_is_said_for_all(tmp_path: Path) -> None:
    release = projects.make(tmp_path)
    (release / "measurements.json").unlink()
    assert limits.of_release(open_release(release)) == limits.UNMEASURED


def test_a_deploy_section_that_is_wrong_is_not_passed_over(tmp_path: Path) -> None:
    release = projects.make(tmp_path, '[deploy]\nexposure = "none"\n[deploy.resources]\nmemory = "lots"\n')
    with pytest.raises(SpecInvalid):
        limits.of_release(open_release(release))


@pytest.mark.parametrize(("text", "size"), [("512Mi", 512 << 20), ("1.5Gi", 3 << 29), ("2G", 2 * 10**9), ("100", 100)])
def test_quantities_are_those_of_kubernetes(text: str, size: int) -> None:
    assert limits.memory(text) == size


@pytest.mark.parametrize("text", ["", "512mb", "-1Gi", "1 Gi", "Gi"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no amount of memory"):
        limits.memory(text)

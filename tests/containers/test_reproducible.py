"""One release, one digest: in another directory, on another day, with nothing that was built before."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.built import Image

from bedside.cli.main import run
from bedside.image import installed, layout

PROGRAM = shutil.which("faketime")
ASSEMBLE = """
import datetime, pathlib, sys
from bedside import wiring
from bedside.image import layout
from bedside.stages.assemble import assembled

assert datetime.date.today().year == 2031
release, base, target = sys.argv[1:]
built = assembled(pathlib.Path(release), base, layout.create(pathlib.Path(target)), wiring.builder())
print(built.descriptor.digest)
"""


def test_years_later_and_elsewhere_the_same_release_gives_the_same_image(
    icu_image: Image, distroless: Path, tmp_path: Path
) -> None:
    """The clock is another one for every process of the build, the installer and the compiler among them."""
    if PROGRAM is None:
        pytest.skip("faketime is not installed")
    elsewhere = tmp_path / "some" / "where" / "else"
    shutil.copytree(icu_image.release, elsewhere / icu_image.release.name)
    words = [str(elsewhere / icu_image.release.name), str(distroless), str(elsewhere / "image")]
    downloaded = subprocess.run(
        [sys.executable, "-m", "uv", "cache", "dir"], check=True, capture_output=True, text=True
    )
    done = subprocess.run(
        [PROGRAM, "2031-05-05 05:05:05", sys.executable, "-c", ASSEMBLE, *words],
        check=True,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "UV_CACHE_DIR": downloaded.stdout.strip(),
            "UV_OFFLINE": "1",  # certificates of 2026 are worth nothing in 2031
        },
    )
    assert done.stdout.strip() == icu_image.digest


def test_a_build_that_is_not_the_same_twice_is_found_and_the_file_is_named(
    icu_release: Path,
    distroless: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is left out of an installation is decided by a script; this one leaves the time behind."""
    planted = tmp_path / "prune.py"
    planted.write_text(
        f"{installed.PRUNE.read_text()}import time\n"
        "if (site / 'numpy').is_dir():\n    (site / 'numpy' / 'built.txt').write_text(str(time.time_ns()))\n"
    )
    monkeypatch.setattr(installed, "PRUNE", planted)
    words = ["build", str(icu_release), "--base", str(distroless), "--engine", "assembled", "--check"]
    assert run(words) == 1
    said = capsys.readouterr().err
    assert "first in the layer dependencies: opt/bedside/lib/python3.11/site-packages/numpy/built.txt" in said
    assert "differs in content" in said


def test_checked_twice_it_is_one_image_and_nothing_is_kept(
    icu_image: Image, distroless: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(icu_image.release.parent.iterdir())
    words = ["build", str(icu_image.release), "--base", str(distroless), "--engine", "assembled", "--check"]
    capsys.readouterr()
    assert run(words) == 0
    assert capsys.readouterr().out.strip() == icu_image.digest
    assert sorted(icu_image.release.parent.iterdir()) == before
    assert layout.open_layout(icu_image.layout).find(icu_image.name).digest == icu_image.digest

"""What installing the lock leaves on disk, as the entries of a layer.

An installation differs from one machine to the next in what it says about itself: scripts name the interpreter
that installed them, RECORD their hashes, some files the time. None of it is needed to serve, so none of it goes
into an image. Neither do the tests that distributions carry: a quarter of the bytes, and never imported there.
RECORD is written again, without what was left out, so that it stays true.
"""

import csv
import io
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from bedside.errors import ImageInvalid
from bedside.image.layers import Entries, File, Link
from bedside.image.plan import HOME, PYTHON, Base, pyvenv
from bedside_runtime.contract import Contract

TESTS: Final = frozenset({"tests", "test"})
"""Folders of a package that are left out."""

_INSTALLER_FILES: Final = frozenset({"REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json"})
"""What an installer notes about its own run in a distribution's metadata."""


def prune(directory: Path) -> None:
    """Remove from an installation what does not go into an image. Files may be links into a cache: none is changed."""
    shutil.rmtree(directory / "bin", ignore_errors=True)
    (directory / ".lock").unlink(missing_ok=True)
    for folder in sorted(directory.glob("*/**/")):
        if folder.name in TESTS and (folder / "__init__.py").is_file():
            shutil.rmtree(folder)
    for info in directory.glob("*.dist-info"):
        for name in _INSTALLER_FILES:
            (info / name).unlink(missing_ok=True)


def entries(directory: Path, site_packages: str) -> Entries:
    """Return the layer of the installation in ``directory``, which was pruned.

    Args:
        directory: What was installed, and nothing else.
        site_packages: Where it lies in the image.

    Raises:
        ImageInvalid: Something there is no regular file.
    """
    present = dict(_files(directory))
    found: dict[str, File | Link] = {}
    for name, path in present.items():
        record = name.endswith(".dist-info/RECORD")
        source = _record(path.read_text(encoding="utf-8"), present.keys()) if record else path
        found[f"{site_packages.lstrip('/')}/{name}"] = File(source, executable=bool(path.stat().st_mode & 0o100))
    return found


def interpreter(base: Base, contract: Contract) -> Entries:
    """Return what makes the base's Python see these distributions and no other."""
    return {
        PYTHON.lstrip("/"): Link(base.interpreter),
        f"{HOME}/pyvenv.cfg".lstrip("/"): File(pyvenv(base, contract).encode()),
    }


def distributions(directory: Path) -> frozenset[tuple[str, str]]:
    """Return name and version of every distribution in an installation, as its own metadata names them."""
    return frozenset(_metadata(info / "METADATA") for info in directory.glob("*.dist-info"))


def _metadata(path: Path) -> tuple[str, str]:
    header = path.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n").partition("\n\n")[0]
    said = dict(line.split(": ", 1) for line in header.splitlines() if line.startswith(("Name: ", "Version: ")))
    return said["Name"], said["Version"]


def _files(directory: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(directory.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise ImageInvalid(f"{path.relative_to(directory)} is no regular file, and a wheel holds nothing else")
        if path.is_file():
            yield path.relative_to(directory).as_posix(), path


def _record(text: str, present: Collection[str]) -> bytes:
    """Return RECORD without the rows of files that were left out."""
    rows = [row for row in csv.reader(io.StringIO(text)) if row and row[0] in present]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(sorted(rows))
    return out.getvalue().encode()

"""What installing the lock leaves on disk, as the entries of a layer.

An installation differs from one machine to the next in what it says about itself: scripts name the interpreter
that installed them, RECORD their hashes, some files the time. None of it is needed to serve, so none of it goes
into an image. Neither do the tests that distributions carry, a quarter of the bytes and never imported there, nor what
their extension modules were compiled from. RECORD is written again, without what was left out, so that it stays true;
a library that two distributions bring lies there once.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bedside.errors import ImageInvalid, ToolFailed
from bedside.image.layers import Entries, File, Link, Twin
from bedside.image.plan import HOME, PYTHON, Base, pyvenv
from bedside.process import Runner
from bedside_runtime.contract import Contract

PRUNE: Final = Path(__file__).with_name("data") / "prune.py"
"""A script of the standard library alone: `bedside build` runs it, and every Dockerfile has its lines."""


def prune(directory: Path, runner: Runner) -> None:
    """Remove from an installation what does not go into an image. Files may be links into a cache: none is changed.

    Raises:
        ToolFailed: The disk took no more.
    """
    done = runner.run((sys.executable, "-I", str(PRUNE), str(directory)))
    if not done.ok:
        raise ToolFailed(f"the installation cannot be pruned: {done.stderr.strip().splitlines()[-1]}")


def entries(directory: Path, site_packages: str) -> Entries:
    """Return the layer of the installation in ``directory``, which was pruned.

    Args:
        directory: What was installed, and nothing else.
        site_packages: Where it lies in the image.

    Raises:
        ImageInvalid: Something there is no regular file.
    """
    found: dict[str, File | Twin] = {}
    first: dict[int, str] = {}
    for name, path in _files(directory):
        place, here = f"{site_packages.lstrip('/')}/{name}", path.stat()
        known, executable = first.setdefault(here.st_ino, place), bool(here.st_mode & 0o100)
        found[place] = File(path, executable=executable) if known == place else Twin(known, executable)
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

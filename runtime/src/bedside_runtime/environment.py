"""What a process runs in, and whether that is what the golden cases passed in."""

import importlib.metadata
import os
import platform
import re
from collections.abc import Iterator

from msgspec import Struct

from bedside_runtime.contract import Environment
from bedside_runtime.errors import EnvironmentMismatch

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
"""Every variable through which a numeric library is told how many threads to use."""


class Differences(Struct, frozen=True):
    """How an environment differs from the validated one, one sentence each.

    Attributes:
        fatal: Another Python or another distribution: the validated code is not what would run.
        notes: Patch level, C library, BLAS, threads: the golden replay decides whether they matter.
    """

    fatal: tuple[str, ...]
    notes: tuple[str, ...]


def fingerprint() -> Environment:
    """Describe the running interpreter and everything installed in it."""
    return Environment(
        python=platform.python_version(),
        implementation=platform.python_implementation().lower(),
        machine=platform.machine(),
        libc=" ".join(platform.libc_ver()).strip(),
        blas=_blas(),
        threads={name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ},
        distributions=dict(sorted(_distributions())),
    )


def differences(expected: Environment, here: Environment) -> Differences:
    """Compare two fingerprints. Pure."""
    fatal = [
        f"{what}: validated with {then}, here is {now}"
        for what, then, now in (
            ("Python", _minor(expected.python), _minor(here.python)),
            ("implementation", expected.implementation, here.implementation),
            ("machine", expected.machine, here.machine),
        )
        if then != now
    ]
    fatal += _different_keys(expected.distributions, here.distributions)
    notes = [
        f"{what}: validated with {then}, here is {now}"
        for what, then, now in (
            ("Python patch level", expected.python, here.python),
            ("C library", expected.libc, here.libc),
        )
        if then != now
    ]
    notes += _different_keys(expected.blas, here.blas)
    notes += _different_keys(expected.threads, here.threads)
    return Differences(tuple(fatal), tuple(notes))


def require(expected: Environment, here: Environment) -> tuple[str, ...]:
    """Return the notes of the comparison.

    Raises:
        EnvironmentMismatch: Naming every fatal difference.
    """
    found = differences(expected, here)
    if found.fatal:
        raise EnvironmentMismatch("this is not the environment that was validated:\n  " + "\n  ".join(found.fatal))
    return found.notes


def normalized(name: str) -> str:
    """Return the normalized name of a distribution (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed_version(distribution: str) -> str | None:
    """Return the version of an installed distribution, ``None`` where it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _distributions() -> Iterator[tuple[str, str]]:
    for distribution in importlib.metadata.distributions():
        yield normalized(distribution.name), distribution.version


def _blas() -> dict[str, str]:
    """Ask NumPy how it was built; a library that is loaded later cannot change this answer."""
    try:
        import numpy as np
    except ImportError:
        return {}
    found = np.show_config(mode="dicts").get("Build Dependencies", {})
    return {
        f"{kind} {found[kind].get('name', 'unknown')}": str(found[kind].get("version", "unknown"))
        for kind in ("blas", "lapack")
        if kind in found
    }


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _different_keys(expected: dict[str, str], here: dict[str, str]) -> list[str]:
    return [
        f"{name}: validated with {expected.get(name, 'none')}, here is {here.get(name, 'none')}"
        for name in sorted(expected.keys() | here.keys())
        if expected.get(name) != here.get(name)
    ]

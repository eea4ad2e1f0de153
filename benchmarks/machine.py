"""The machine: what it is, and whether somebody else is using it."""

import os
import platform
import resource
import time
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from benchmarks.processes import cpu_seconds

_TICKS = os.sysconf("SC_CLK_TCK")
_STEAL = 7


class Machine(Struct, frozen=True):
    """What the figures were measured on; no name, no address, no path."""

    processor: str
    cores: int
    memory_gib: int
    kernel: str
    system: str
    python: str
    load_tool: str
    versions: Mapping[str, str]


class Spent(Struct, frozen=True):
    """Whose time the processors spent, as shares of all of them, while something was measured.

    Attributes:
        others: By processes that are not ours.
        stolen: Given by the hypervisor to other machines.
        load_average: Of the last minute, ours included.
    """

    others: float
    stolen: float
    load_average: float


def describe(load_tool: str, versions: Mapping[str, str]) -> Machine:
    """Return what this machine is."""
    info = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    names = {key.strip(): value.strip() for key, value in info.items()}
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        names.get("model name", platform.machine()),
        os.cpu_count() or 1,
        round(memory / 2**30),
        platform.release(),
        platform.freedesktop_os_release().get("PRETTY_NAME", platform.system()),
        platform.python_version(),
        load_tool,
        dict(versions),
    )


class Stopwatch:
    """Tells whose processor time goes by. Processes of ours may end meanwhile, but must have been waited for."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._all = _machine()
        self._ours = _ours()

    def spent(self) -> Spent:
        """Return what was spent since the start."""
        cores, seconds = os.cpu_count() or 1, time.monotonic() - self._began
        busy, stolen = (now - then for now, then in zip(_machine(), self._all, strict=True))
        whole = max(cores * seconds, 1e-9)
        others = max(busy - (_ours() - self._ours), 0.0)
        return Spent(round(others / whole, 3), round(stolen / whole, 3), round(os.getloadavg()[0], 2))


def _machine() -> tuple[float, float]:
    """Return seconds in which processors worked in here, and those that were stolen."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    user, nice, system, _idle, _waiting, interrupts, soft = fields[:7]
    return (user + nice + system + interrupts + soft) / _TICKS, fields[_STEAL] / _TICKS


def _ours() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    here = resource.getrusage(resource.RUSAGE_SELF)
    return cpu_seconds() + ended.ru_utime + ended.ru_stime + here.ru_utime + here.ru_stime

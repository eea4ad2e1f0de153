"""What a container lets the server do, as seen from inside: not what was asked for, but what the kernel holds.

Linux only. Control groups of version 2 and 1 are read where they are mounted; what cannot be read is ``None``.
"""

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

_SERVER: Final = Path("/proc/1/status")
_CGROUP: Final = Path("/sys/fs/cgroup")
_UNLIMITED: Final = 1 << 60
"""Bytes from which on a limit of version 1 means none."""

_NAMED: Final = 10


class Confinement(Struct, frozen=True):
    """How the first process of this container is held.

    Attributes:
        user: Its user.
        group: Its group.
        capabilities: Its effective capabilities, a bit mask; 0 is none.
        no_new_privileges: Whether no program can give it more.
        root_read_only: Whether the root file system takes no write.
        interfaces: Network interfaces other than loopback.
        memory_limit: Bytes; ``None`` where there is none.
        cpu_limit: Cores; ``None`` where there is none.
        memory_peak: Most bytes in use so far: of the control group with its page cache, else of the process.
        writable: Application files that this user could write if they lay on a writable disk; the first ten.
    """

    user: int
    group: int
    capabilities: int
    no_new_privileges: bool
    root_read_only: bool
    interfaces: tuple[str, ...]
    memory_limit: int | None
    cpu_limit: float | None
    memory_peak: int | None
    writable: tuple[str, ...]


def observe(application: Path) -> Confinement:
    """Look at the first process of this container, and at who may write below ``application``."""
    said = _status()
    user, group = int(said["Uid"].split()[1]), int(said["Gid"].split()[1])
    writable = (path for path in _writable(application, user, group))
    return Confinement(
        user=user,
        group=group,
        capabilities=int(said["CapEff"], 16),
        no_new_privileges=said["NoNewPrivs"] == "1",
        root_read_only=bool(os.statvfs("/").f_flag & os.ST_RDONLY),
        interfaces=tuple(sorted(name for _, name in socket.if_nameindex() if name != "lo")),
        memory_limit=_limit(_number("memory.max", "memory/memory.limit_in_bytes")),
        cpu_limit=_cores(),
        memory_peak=_number("memory.peak", "memory/memory.max_usage_in_bytes") or int(said["VmHWM"].split()[0]) * 1024,
        writable=tuple(path for path, _ in zip(writable, range(_NAMED), strict=False)),
    )


def _status() -> dict[str, str]:
    lines = _SERVER.read_text(encoding="ascii", errors="replace").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _writable(application: Path, user: int, group: int) -> Iterator[str]:
    """Give what ``user`` or ``group`` may write by owner and mode, whatever the mount says."""
    for directory, _, files in os.walk(application):
        for path in (directory, *(f"{directory}/{name}" for name in sorted(files))):
            found = os.lstat(path)
            if not stat.S_ISLNK(found.st_mode) and _may_write(found, user, group):
                yield path


def _may_write(found: os.stat_result, user: int, group: int) -> bool:
    if found.st_uid == user:  # the owner can give the right back
        return True
    return bool(found.st_mode & stat.S_IWOTH) or (found.st_gid == group and bool(found.st_mode & stat.S_IWGRP))


def _number(*names: str) -> int | None:
    for name in names:
        try:
            said = (_CGROUP / name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        return int(said) if said.isdigit() else None
    return None


def _limit(number: int | None) -> int | None:
    return number if number is not None and number < _UNLIMITED else None


def _cores() -> float | None:
    try:
        quota, period = (_CGROUP / "cpu.max").read_text(encoding="ascii").split()
    except OSError:
        found = _number("cpu/cpu.cfs_quota_us"), _number("cpu/cpu.cfs_period_us")
        return found[0] / found[1] if found[0] and found[1] else None
    return int(quota) / int(period) if quota != "max" else None

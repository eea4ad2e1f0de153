"""A disk in memory that loses, reorders and tears what was not synced, and fails the n-th operation."""

import errno
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from bedside_runtime.audit.lines import SECTOR


class PowerCut(BaseException):
    """The process is gone; nothing may catch this."""


@dataclass
class Inode:
    data: bytearray = field(default_factory=bytearray)
    synced: int = 0
    reserved: int = 0


@dataclass
class SimulatedDisk:
    """``entries`` is what the process sees, ``durable`` the names that survive. Implements `disk.Disk`."""

    entries: dict[str, Inode] = field(default_factory=dict)
    durable: dict[str, Inode] = field(default_factory=dict)
    operations: list[str] = field(default_factory=list)
    fail_at: int | None = None
    how: str = "EIO"
    free_bytes: int = 1 << 40
    can_reserve: bool = True

    def operation(self, name: str) -> None:
        self.operations.append(name)
        if len(self.operations) - 1 == self.fail_at:
            if self.how == "power-cut":
                raise PowerCut
            if self.how != "short" or name != "write":
                number = getattr(errno, self.how, errno.EIO)
                raise OSError(number, os.strerror(number))

    def names(self) -> list[str]:
        self.operation("names")
        return list(self.entries)

    def create(self, name: str) -> "SimulatedFile":
        self.operation("create")
        if name in self.entries:
            raise FileExistsError(errno.EEXIST, "exists")
        self.entries[name] = Inode()
        return SimulatedFile(self, self.entries[name])

    def publish(self, temporary: str, name: str) -> None:
        self.operation("rename")
        if name in self.entries:
            raise FileExistsError(errno.EEXIST, "exists")
        self.entries[name] = self.entries.pop(temporary)
        self.operation("sync-directory")
        self.durable = dict(self.entries)

    def remove(self, name: str) -> None:
        self.operation("remove")
        del self.entries[name]

    def tail(self, name: str, size: int) -> tuple[int, bytes]:
        self.operation("read")
        data = bytes(self.entries[name].data)
        return max(0, len(data) - size), data[-size:]

    def free(self) -> int:
        self.operation("statvfs")
        return self.free_bytes

    def close(self) -> None:
        pass

    def files(self) -> dict[str, bytes]:
        """The segments as a reader finds them now."""
        return {name: bytes(item.data) for name, item in sorted(self.entries.items()) if name[0] != "."}

    def after_power_cut(self) -> Iterator["SimulatedDisk"]:
        """Every disk that can be found afterwards.

        Names are those of before or after the last rename. Of each file's unsynced bytes every sector
        arrived or did not, and the file ends after any of the sectors; a cut inside a sector is the
        special case that the last of them is cut anywhere.
        """
        for names in (self.durable, self.entries):
            files = [list(_remains(item)) for item in names.values()]
            for datas in itertools.product(*files):
                yield SimulatedDisk.of(dict(zip(names, datas, strict=True)))
            if self.durable == self.entries:
                return

    @classmethod
    def of(cls, files: dict[str, bytes]) -> "SimulatedDisk":
        entries = {name: Inode(bytearray(data), len(data)) for name, data in files.items()}
        return cls(entries, dict(entries))


def _remains(inode: Inode) -> Iterator[bytes]:
    data, synced = bytes(inode.data), inode.synced
    if synced == len(data):
        yield data
        return
    bounds = [synced, *range(synced // SECTOR * SECTOR + SECTOR, len(data), SECTOR), len(data)]
    sectors = [data[start:end] for start, end in itertools.pairwise(bounds)]
    for count in range(len(sectors) + 1):
        for arrived in itertools.product((True, False), repeat=count):
            yield data[:synced] + b"".join(
                sector if here else bytes(len(sector)) for sector, here in zip(sectors, arrived, strict=False)
            )
    for size in range(synced + 1, len(data)):
        yield data[:size]


@dataclass
class SimulatedFile:
    disk: SimulatedDisk
    inode: Inode

    def write(self, data: bytes) -> int:
        failing = len(self.disk.operations) == self.disk.fail_at
        if failing and self.disk.how != "short":
            self.inode.data += data
        self.disk.operation("write")
        taken = data[: len(data) // 2] if failing else data
        self.inode.data += taken
        return len(taken)

    def sync(self) -> None:
        self.disk.operation("sync")
        self.inode.synced = len(self.inode.data)

    def reserve(self, end: int) -> bool:
        self.disk.operation("reserve")
        self.inode.reserved = end
        return self.disk.can_reserve

    def is_here(self, name: str) -> bool:
        self.disk.operation("stat")
        return self.disk.entries.get(name) is self.inode

    def close(self) -> None:
        self.disk.operation("close")

    def abandon(self) -> None:
        pass

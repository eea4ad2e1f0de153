"""What the log asks of a disk, and the real one. Every system call of the log stands in this file."""

import contextlib
import ctypes
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from bedside_runtime.errors import AuditBusy

_KEEP_SIZE: Final = 1
"""FALLOC_FL_KEEP_SIZE of fallocate(2): the file does not grow by what is reserved for it."""

_CANNOT_RESERVE: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS})
_LOCK: Final = ".writer.lock"
_CHUNK: Final = 1 << 20


class File(Protocol):
    """A file open for appending. Every method raises ``OSError`` as the system does."""

    def write(self, data: bytes) -> int:
        """Append ``data`` in one call and return how many bytes were taken."""
        ...

    def sync(self) -> None:
        """Return once everything written is durable."""
        ...

    def reserve(self, end: int) -> bool:
        """Make sure that the file can grow to ``end`` bytes; ``False`` where this disk cannot promise that."""
        ...

    def is_here(self, name: str) -> bool:
        """Whether ``name`` still leads to this file."""
        ...

    def close(self) -> None:
        """Give back reserved space that was not used, and the file."""
        ...

    def abandon(self) -> None:
        """Close without touching the file once more."""
        ...


class Disk(Protocol):
    """One directory. Every method raises ``OSError`` as the system does."""

    def names(self) -> list[str]:
        """Every file name in the directory, in any order."""
        ...

    def create(self, name: str) -> File:
        """Create ``name``, which must not exist, and lock it."""
        ...

    def publish(self, temporary: str, name: str) -> None:
        """Give a durable file its name, which must not exist, and make the name durable."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file that never was part of the log."""
        ...

    def tail(self, name: str, size: int) -> tuple[int, bytes]:
        """Return the offset of the last ``size`` bytes of ``name`` and the bytes."""
        ...

    def free(self) -> int:
        """Bytes that are free for this process."""
        ...

    def close(self) -> None:
        """Let another process have the directory."""
        ...


class PosixDisk:
    """A directory of a local file system on Linux, held by one process at a time."""

    def __init__(self, directory: Path) -> None:
        """Make the directory where it is missing, durably, and lock it until `close`.

        Raises:
            AuditBusy: Another process holds it.
            OSError: It cannot be made or opened.
        """
        _make(directory)
        self._directory = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._closed = False
        self._held = self._open(_LOCK, os.O_RDWR | os.O_CREAT)
        try:
            _lock(self._held)
        except AuditBusy:
            self.close()
            raise

    def names(self) -> list[str]:
        """See `Disk`."""
        return [name for name in os.listdir(self._directory) if name != _LOCK]  # noqa: PTH208 - by descriptor

    def create(self, name: str) -> "PosixFile":
        """See `Disk`."""
        descriptor = self._open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL)
        _lock(descriptor)
        return PosixFile(descriptor, self._directory)

    def publish(self, temporary: str, name: str) -> None:
        """See `Disk`. The directory is held by this process alone, so nobody takes the name in between."""
        if name in os.listdir(self._directory):  # noqa: PTH208 - by descriptor
            raise FileExistsError(errno.EEXIST, "a segment of this name is there already")
        os.rename(temporary, name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        os.fsync(self._directory)

    def remove(self, name: str) -> None:
        """See `Disk`."""
        os.unlink(name, dir_fd=self._directory)

    def tail(self, name: str, size: int) -> tuple[int, bytes]:
        """See `Disk`. Refuses a file that another process still writes."""
        descriptor = self._open(name, os.O_RDONLY)
        try:
            _lock(descriptor)
            offset = max(0, os.fstat(descriptor).st_size - size)
            return offset, b"".join(_chunks(descriptor, offset))
        finally:
            os.close(descriptor)

    def free(self) -> int:
        """See `Disk`."""
        found = os.fstatvfs(self._directory)
        return found.f_bavail * found.f_frsize

    def close(self) -> None:
        """See `Disk`. Closing twice is closing once."""
        if not self._closed:
            self._closed = True
            os.close(self._held)
            os.close(self._directory)

    def _open(self, name: str, flags: int) -> int:
        return os.open(name, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640, dir_fd=self._directory)


class PosixFile:
    """See `File`."""

    def __init__(self, descriptor: int, directory: int) -> None:
        self._descriptor = descriptor
        self._directory = directory
        found = os.fstat(descriptor)
        self._identity = (found.st_dev, found.st_ino)

    def write(self, data: bytes) -> int:
        """See `File`."""
        return os.write(self._descriptor, data)

    def sync(self) -> None:
        """See `File`. fdatasync(2) also makes durable the size that is needed to read the data back."""
        os.fdatasync(self._descriptor)

    def reserve(self, end: int) -> bool:
        """See `File`."""
        try:
            _fallocate(self._descriptor, end)
        except OSError as error:
            if error.errno in _CANNOT_RESERVE:
                return False
            raise
        return True

    def is_here(self, name: str) -> bool:
        """See `File`."""
        try:
            found = os.stat(name, dir_fd=self._directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return (found.st_dev, found.st_ino) == self._identity

    def close(self) -> None:
        """See `File`. Setting a file to the size that it has frees what was reserved behind it."""
        with contextlib.closing(os.fdopen(self._descriptor, "wb", buffering=0)):
            os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size)

    def abandon(self) -> None:
        """See `File`."""
        os.close(self._descriptor)


def _make(directory: Path) -> None:
    """Make ``directory`` and those above it that are missing, and the entry of each durable.

    The entry of one that is there already is made durable too: whoever made it may have died before that.
    """
    if not directory.parent.is_dir():
        _make(directory.parent)
    directory.mkdir(exist_ok=True)
    descriptor = os.open(directory.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise AuditBusy("another process writes this audit log") from None


def _chunks(descriptor: int, offset: int) -> Iterator[bytes]:
    while chunk := os.pread(descriptor, _CHUNK, offset):
        yield chunk
        offset += len(chunk)


_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def _fallocate(descriptor: int, end: int) -> None:
    """fallocate(2), which Python has only in the form that makes the file longer; made again after a signal."""
    while _LIBC.fallocate(descriptor, _KEEP_SIZE, ctypes.c_int64(0), ctypes.c_int64(end)) != 0:
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))

"""Files that may be replaced while the process runs, as Kubernetes does with a Secret; the last good ones count."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Generic, Literal, TypeAlias, TypeVar

from bedside_runtime.errors import AuthKeysInvalid, BedsideRuntimeError

T = TypeVar("T")

Change: TypeAlias = Literal["replaced", "broken"]

_LARGEST: Final = 1_048_576
"""Bytes of a file; a Secret holds no more."""

_Stamp: TypeAlias = tuple[tuple[int, ...] | None, ...]


class Mounted(Generic[T]):
    """What stands in some files.

    Attributes:
        name: What it is, a fixed word.
        value: What the last good files said.
        stale: Whether the files that are there now cannot be used, so that older ones still count.
    """

    def __init__(self, name: str, paths: Sequence[Path], parse: Callable[[Sequence[bytes]], T]) -> None:
        """Read them for the first time.

        Raises:
            BedsideRuntimeError: One is not there or cannot be used; there is nothing older that could count.
        """
        self.name = name
        self.stale = False
        self._paths, self._parse = tuple(paths), parse
        self._seen = self._stamp()
        self.value: T = parse([_read(path) for path in self._paths])

    def again(self) -> None:
        """Return nothing to wait for: files come when they come."""
        return

    def look(self) -> Change | None:
        """Read the files again where they are others now; blocking. Returns what has changed, if anything."""
        stamp = self._stamp()
        if stamp == self._seen:
            return None
        try:
            value = self._parse([_read(path) for path in self._paths])
        except BedsideRuntimeError:
            value = None
        if self._stamp() != stamp:
            return None  # they are being replaced right now
        self._seen = stamp
        if value is None:
            self.stale = True
            return "broken"
        self.value, self.stale = value, False
        return "replaced"

    def _stamp(self) -> _Stamp:
        return tuple(map(_stamp_of, self._paths))


def _stamp_of(path: Path) -> tuple[int, ...] | None:
    """Return what differs between two files of one name, through any links; ``None`` where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - the same as Path.stat, said where the links matter
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _read(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise AuthKeysInvalid(f"{path} is no file")
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise AuthKeysInvalid(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > _LARGEST:
        raise AuthKeysInvalid(f"{path} is larger than {_LARGEST} bytes")
    return data

"""A large file from object storage: what is there already is kept, and only what was validated gets the file's name.

What was read lies in ``.NAME.part`` beside the file. A process that is killed leaves it there, and the next one goes on
at its end. The name itself comes with one rename, after the last byte was compared.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from msgspec import Struct

from bedside_runtime.errors import ArtifactMismatch, FetchBusy, StorageUnavailable, VolumeFull
from bedside_runtime.fetching.source import Source

CHUNK: Final = 8 * 2**20
"""Bytes of one request."""

_AHEAD: Final = 4
"""Requests that are under way at once. CHUNK times as many bytes are held in memory."""

_ATTEMPTS: Final = 5
"""Failures in a row, with not one byte between them, after which it is given up. Pauses: 1, 2, 4, 8 s."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Fetched(Struct, frozen=True):
    """A file that is what was validated.

    Attributes:
        size: Its bytes.
        kept: How many of them were there before, from a fetch that was cut off, or as the whole file.
    """

    size: int
    kept: int


def download(
    source: Source,
    target: Path,
    *,
    sha256: str,
    size: int | None = None,
    chunk: int = CHUNK,
    on_progress: Callable[[int, int], None] = lambda _done, _all: None,
    pause: Callable[[float], None] = time.sleep,
) -> Fetched:
    """Bring ``source`` to ``target``, or leave nothing of that name.

    Args:
        source: The object.
        target: The file; its directory must be there.
        sha256: What its bytes must have.
        size: How many they must be; ``None`` where only the digest is known yet.
        chunk: Bytes of one request.
        on_progress: Told how many bytes are there, and of how many.
        pause: Waits before asking again.

    Raises:
        ArtifactMismatch: The object has other bytes, or another number of them, than were validated.
        StorageUnavailable, StorageRefused: It cannot be read. What was read is kept.
        VolumeFull: There is no room for it. Nothing of it is kept.
        FetchBusy: Another process is fetching it.
    """
    # 1. A file of that name is there: it is the one that was validated, or it is refused.
    # 2. The object has as many bytes as were validated, and there is room for them.
    # 3. Go on where the last fetch ended: read again what it left, then ask for the rest.
    # 4. Compare the whole. What is wrong goes, so that the next fetch begins anew.
    # 5. On the disk first, then under its name.
    if target.exists():  # 1
        return _there(target, sha256)
    size = _expected(_asked(source.size, pause), size)  # 2
    part = target.with_name(f".{target.name}.part")
    with _partial(part) as file:
        if target.exists():  # the process that had it until now was faster
            part.unlink(missing_ok=True)
            return _there(target, sha256)
        digest, kept = _resumed(file, size)  # 3
        _room(target.parent, size - kept, part)
        try:
            for data in _rest(source, kept, size, chunk, pause):
                _write(file, data)
                digest.update(data)
                on_progress(file.tell(), size)
            if digest.hexdigest() != sha256:  # 4
                part.unlink()
                raise ArtifactMismatch(f"sha256 is {digest.hexdigest()}; {sha256} was validated")
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        except OSError as error:
            raise _refused(error, part) from None
        part.rename(target)  # 5
    _sync(target.parent)
    return Fetched(size, kept)


def _there(target: Path, sha256: str) -> Fetched:
    with target.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
    if digest != sha256 or target.is_symlink():
        raise ArtifactMismatch(
            f"{target.name} is there already, and is not the file that was validated",
            remedy="Find out who put it there, remove it, and fetch again.",
        )
    return Fetched(size, size)


def _expected(found: int, size: int | None) -> int:
    if size is not None and found != size:
        what = "more" if found > size else "fewer"
        raise ArtifactMismatch(f"the object has {found} bytes, {what} than the {size} that were validated")
    return found


@contextmanager
def _partial(part: Path) -> Iterator[BinaryIO]:
    """Give the file that is being fetched, to this process alone; unbuffered, so that what is written is there."""
    try:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _refused(error, part) from None
    with open(descriptor, "r+b", buffering=0) as file:  # noqa: PTH123 - the descriptor was opened without following links
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise FetchBusy(f"another process is fetching {part.name[1:-5]}") from None
        yield file


def _resumed(file: BinaryIO, size: int) -> "tuple[hashlib._Hash, int]":
    """Read what an earlier fetch left, and return its digest so far; more than the whole is left by nobody of us."""
    if os.fstat(file.fileno()).st_size > size:
        file.truncate(0)
    digest, kept = hashlib.sha256(), 0
    while data := file.read(CHUNK):
        digest.update(data)
        kept += len(data)
    return digest, kept


def _write(file: BinaryIO, data: memoryview) -> None:
    """Write all of it: a volume that is nearly full takes a part first, and refuses the next."""
    while data:
        data = data[file.write(data) :]


def _room(directory: Path, needed: int, part: Path) -> None:
    free = shutil.disk_usage(directory).free
    if free < needed:
        part.unlink()
        raise VolumeFull(f"{needed} bytes are still to come, and the volume has room for {free}")


def _rest(source: Source, start: int, size: int, chunk: int, pause: Callable[[float], None]) -> Iterator[memoryview]:
    """Yield the bytes from ``start`` on, in their order; a request that fails is asked again from where they end."""
    failures = 0
    with ThreadPoolExecutor(_AHEAD, "fetch") as pool:
        while start < size:
            try:
                for data in _ahead(pool, source, start, size, chunk):
                    yield data
                    start += len(data)
                    failures = 0
            except StorageUnavailable:
                failures += 1
                if failures == _ATTEMPTS:
                    raise
                pause(2.0 ** (failures - 1))


def _ahead(pool: ThreadPoolExecutor, source: Source, start: int, size: int, chunk: int) -> Iterator[memoryview]:
    waiting: deque[Future[memoryview]] = deque()
    starts = iter(range(start, size, chunk))
    try:
        while True:
            while len(waiting) < _AHEAD and (begin := next(starts, None)) is not None:
                waiting.append(pool.submit(_whole, source, begin, min(begin + chunk, size)))
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _whole(source: Source, start: int, end: int) -> memoryview:
    data = source.read(start, end)
    if len(data) != end - start:
        raise StorageUnavailable(f"{end - start} bytes were asked for, and {len(data)} came")
    return data


def _asked(size: Callable[[], int], pause: Callable[[float], None]) -> int:
    for failures in range(1, _ATTEMPTS):
        try:
            return size()
        except StorageUnavailable:
            pause(2.0 ** (failures - 1))
    return size()


def _refused(error: OSError, part: Path) -> VolumeFull | StorageUnavailable:
    """Return what an error of the disk means; a file that found no room takes none away."""
    if error.errno in _FULL:
        part.unlink(missing_ok=True)
        return VolumeFull(f"{part.name[1:-5]} cannot be written: {error.strerror}")
    return StorageUnavailable(
        f"{part.name[1:-5]} cannot be written: {error.strerror}", remedy="Look at the volume that it is fetched to."
    )


def _sync(directory: Path) -> None:
    """Make the name itself last."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

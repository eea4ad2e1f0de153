"""Writes the log: links records, makes a group durable with one sync, rotates, and stops for good on any error.

All calls come from one thread. What returns is durable. What raises `AuditUnavailable` has latched: a write
whose fate is unknown is never tried again on the same file (after a failed fsync the kernel may have dropped
the very pages), and every later call raises too. A new process opens a new segment instead.
"""

import errno
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

from msgspec import Struct

from bedside_runtime.audit import notes, record
from bedside_runtime.audit.chain import ENVELOPE, MAX_GROUP, Head, link
from bedside_runtime.audit.clock import Clock
from bedside_runtime.audit.disk import Disk, File
from bedside_runtime.audit.record import Entry, Position
from bedside_runtime.audit.recovery import Found, recover
from bedside_runtime.audit.segments import UNPUBLISHED, segment_name
from bedside_runtime.errors import AuditUnavailable

_Result = TypeVar("_Result")


_LONGEST_TICK: Final = 1.0
"""Seconds between two looks at the free space."""


class Settings(Struct, frozen=True):
    """How the log is written. Sizes in bytes, times in seconds.

    Attributes:
        promises: How often the writer is heard of.
        segment_bytes: A segment that has grown to this size is closed.
        segment_seconds: And when it is older.
        reserve_bytes: Space is reserved in steps of this size.
        low_water_bytes: With less free space the process is not ready.
    """

    promises: record.Promises = record.Promises(1_000, 60.0, 30.0)
    segment_bytes: int = 64 * 1024 * 1024
    segment_seconds: float = 86_400.0
    reserve_bytes: int = 8 * 1024 * 1024
    low_water_bytes: int = 256 * 1024 * 1024


class Keeping(Protocol):
    """How inputs are kept, one segment after the other."""

    def begin(self, pod: str, segment: int) -> record.Payload:
        """Start a segment, with a new data key where there is one."""
        ...


class Writer:
    """The one writer of a pod's log. Open it, append to it, close it."""

    def __init__(
        self,
        disk: Disk,
        identity: record.Identity,
        settings: Settings,
        clock: Clock,
        *,
        keeping: Keeping,
        signer: notes.Signer | None = None,
        on_checkpoint: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._disk, self._identity, self._settings, self._clock = disk, identity, settings, clock
        self._keeping, self._signer, self._on_checkpoint = keeping, signer, on_checkpoint
        self._failure: str | None = None
        self._file: File | None = None
        self._name = ""
        self._number = 0
        self._head = Head(0, "")
        self._size = self._reserved = 0
        self._reserves = True
        self._unsigned = 0
        self._now, self._utc = 0, ""
        self._opened = self._signed_at = self._heard_at = 0
        self._pending: list[bytes] = []
        self._waiting = 0  # bytes of them, or a few more
        self._notes: list[str] = []
        self.space_is_low = False
        self.meanwhile: Callable[[], None] = lambda: None
        """Called whenever the disk is about to sync: for what can be done while it is at work."""

    @property
    def failure(self) -> str | None:
        """Why the log takes no more records; ``None`` while it does."""
        return self._failure

    @property
    def signed(self) -> bool:
        """Whether checkpoints are signed; without, a cut at the end can only be seen from outside."""
        return self._signer is not None

    @property
    def tick_seconds(self) -> float:
        """How often `tick` must be called for every promise to be kept."""
        promises = self._settings.promises
        return min(_LONGEST_TICK, promises.heartbeat_seconds / 2, promises.checkpoint_seconds / 2)

    @property
    def reserves(self) -> bool:
        """Whether the disk keeps space reserved ahead."""
        return self._reserves

    def open(self) -> None:
        """Find the end of the log and begin a new segment behind it.

        Raises:
            AuditUnreadable, AuditBusy: See `recover`.
            AuditUnavailable: The disk failed; latched.
        """
        found = self._guarded(lambda: recover(self._disk))
        self._guarded(lambda: self._begin(found))

    def append(self, entries: Sequence[Entry]) -> None:
        """Return once all ``entries`` are durable, in their order.

        Raises:
            AuditUnavailable: Latched. Some of ``entries`` may be durable; none may be acknowledged.
        """
        self._guarded(lambda: self._append(entries))

    def tick(self, *, ready: bool) -> None:
        """Do what time demands: heartbeat, checkpoint, rotation, a look at the free space.

        Raises:
            AuditUnavailable: Latched.
        """
        self._guarded(lambda: self._tick(ready=ready))

    def close(self) -> None:
        """End the segment on purpose, with a last checkpoint.

        Raises:
            AuditUnavailable: Latched.
        """
        self._guarded(lambda: self._end("stop"))

    def fail(self, reason: str) -> None:
        """Latch for a reason that the disk does not know of."""
        self._failure = self._failure or reason

    def abandon(self) -> None:
        """Let go of the file and the directory as they are, for another process to find."""
        if self._file is not None:
            self._file.abandon()
            self._file = None
        self._disk.close()

    def _guarded(self, step: Callable[[], _Result]) -> _Result:
        if self._failure is not None:
            raise AuditUnavailable(self._failure)
        self._now, self._utc = self._clock.mono(), self._clock.utc()  # one reading for all records of one call
        try:
            return step()
        except OSError as error:
            self._failure = f"the audit log's disk failed: {error.strerror or type(error).__name__}"
            raise AuditUnavailable(self._failure) from error

    def _begin(self, found: Found) -> None:
        """1. a file without the name of a segment; 2. its genesis record and checkpoint, durable; 3. its name."""
        for name in self._disk.names():
            if name.startswith(UNPUBLISHED):
                self._disk.remove(name)
        name = segment_name(self._identity.boot, found.number)
        self._file = self._disk.create(UNPUBLISHED + name)
        self._name, self._number, self._head = UNPUBLISHED + name, found.number, found.head
        self._size = self._reserved = 0
        self._reserves = True
        self._reserve(self._settings.reserve_bytes)
        self._opened = self._signed_at = self._now
        payload = self._keeping.begin(self._identity.pod, found.number)
        key = str(self._signer.key) if self._signer else None
        promises = self._settings.promises
        body = record.Genesis(
            self._identity, found.number, found.previous, promises, key, payload, reserved=self._reserves
        )
        self._link([record.encode(body)])
        self._checkpoint()
        self._write()
        self._disk.publish(UNPUBLISHED + name, name)
        self._name = name
        self._announce()

    def _append(self, entries: Sequence[Entry]) -> None:
        if self._size >= self._settings.segment_bytes:
            self._rotate()
        while entries:
            fit = max(1, self._settings.promises.checkpoint_records - self._unsigned)
            self._link([self._body(entry, ahead) for ahead, entry in enumerate(entries[:fit])])
            entries = entries[fit:]
            if self._unsigned >= self._settings.promises.checkpoint_records:
                self._checkpoint()
        if self._checkpoint_is_due():
            self._checkpoint()
        self._commit()

    def _body(self, entry: Entry, ahead: int) -> bytes:
        """Return the body of ``entry``, which will stand ``ahead`` records behind the next one."""
        if isinstance(entry, bytes):
            return entry
        return entry(Position(self._identity.pod, self._number, self._head.records + ahead))

    def _tick(self, *, ready: bool) -> None:
        self.space_is_low = self._disk.free() < self._settings.low_water_bytes
        if self._now - self._heard_at >= _us(self._settings.promises.heartbeat_seconds):
            self._append([record.encode(record.Heartbeat(ready))])
        elif self._checkpoint_is_due():
            self._checkpoint()
            self._commit()
        if self._now - self._opened >= _us(self._settings.segment_seconds):
            self._rotate()

    def _checkpoint_is_due(self) -> bool:
        waited = self._now - self._signed_at
        return self._unsigned > 0 and waited >= _us(self._settings.promises.checkpoint_seconds)

    def _rotate(self) -> None:
        self._end("rotation")
        previous = record.Previous(self._name, self._size, self._head.records, self._head.hash, None)
        self._begin(Found(self._head, self._number + 1, previous))

    def _end(self, reason: record.EndReason) -> None:
        self._link([record.encode(record.End(reason))])
        self._checkpoint()
        self._commit()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _link(self, bodies: Sequence[bytes]) -> None:
        """Chain ``bodies``; they are written with the next `_write`, or some before it, where it would be too much."""
        size = sum(map(len, bodies)) + ENVELOPE * len(bodies)
        if self._waiting + size > MAX_GROUP // 2:
            if len(bodies) > 1:
                for body in bodies:
                    self._link([body])
                return
            self._commit()
        lines, self._head = link(self._head, bodies, self._utc, self._now)
        self._heard_at = self._now
        self._unsigned += len(bodies)
        self._waiting += size
        self._pending += lines

    def _checkpoint(self) -> None:
        if self._signer is not None:
            note = notes.sign(notes.Checkpoint(notes.origin(self._identity.pod), self._head), self._signer)
            self._link([record.encode(record.Checkpoint(note))])
            self._notes.append(note)
        self._unsigned = 0
        self._signed_at = self._now

    def _commit(self) -> None:
        if self._pending:
            self._write()
            self._announce()

    def _write(self) -> None:
        """Make every linked record durable. Whatever goes wrong in here ends the use of this file."""
        file = self._file
        if file is None:
            raise AuditUnavailable("the audit log is closed")
        data = b"".join(self._pending)
        self._pending.clear()
        self._waiting = 0
        self._reserve(self._size + len(data))
        if file.write(data) != len(data):
            raise OSError(errno.EIO, "the disk took only a part of a write")
        self.meanwhile()
        file.sync()
        if not file.is_here(self._name):
            raise OSError(errno.EIO, "the file of the audit log was moved or removed")
        self._size += len(data)

    def _reserve(self, end: int) -> None:
        if end <= self._reserved or self._file is None or not self._reserves:
            return
        self._reserved = end + self._settings.reserve_bytes
        self._reserves = self._file.reserve(self._reserved)

    def _announce(self) -> None:
        for note in self._notes:
            self._on_checkpoint(note)
        self._notes.clear()


def _us(seconds: float) -> float:
    return seconds * 1e6

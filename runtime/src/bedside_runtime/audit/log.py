"""The log as a service sees it: hand in an entry, be told when it is durable. Group commit on one thread.

While one group is being synced, the next one gathers; so a lone caller waits for one sync, and many callers
share one. Nothing is dropped: an entry ends durable, or its caller is told that it is not.
"""

import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, Generic, Literal, TypeAlias, TypeVar

from bedside_runtime.audit.record import Entry, Heartbeat, encode
from bedside_runtime.audit.writer import Writer
from bedside_runtime.errors import AuditUnavailable

Ticket = TypeVar("Ticket")
Deliver: TypeAlias = Callable[[Sequence[Ticket], AuditUnavailable | None], None]
State: TypeAlias = Literal["open", "space-low", "stalled", "failed", "closed"]

_LARGEST_GROUP: Final = 1_024
"""As many entries make a group, whatever still waits; a bound on how long the first of them waits."""

STALLED_AFTER: Final = 5.0
"""Seconds that the disk may take for one group. Nothing has failed then, but nobody should wait for it any longer."""


class AuditLog(Generic[Ticket]):
    """The log of one process.

    ``deliver`` is called on the log's thread, once a group: with the tickets of all entries that are durable
    and ``None``, or with those that are not and the reason. ``on_failure`` is called there once, when the log
    latches: the process must end non-zero then, and a new one opens a new segment.
    """

    def __init__(
        self,
        writer: Writer,
        deliver: Deliver[Ticket],
        *,
        on_failure: Callable[[str], None] = lambda _: None,
        tick_seconds: float | None = None,
    ) -> None:
        self._writer = writer
        self._deliver = deliver
        self._on_failure = on_failure
        self._tick_seconds = writer.tick_seconds if tick_seconds is None else tick_seconds
        self._queue: queue.SimpleQueue[Sequence[tuple[Sequence[Entry], Ticket]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._lock = threading.Lock()
        self._closing = False
        self._next_tick = 0.0
        self._began = math.inf  # when the step began that is under way
        self._durable: list[Ticket] = []  # of entries of the group before, who are still to be told
        writer.meanwhile = self._tell
        self._late = False  # the last one took too long, and what comes now would wait as long
        self._ended = threading.Event()
        self.ready = False
        """Said by every heartbeat; the service sets it."""

    def open(self) -> None:
        """Open the log and start its thread.

        Raises:
            AuditUnavailable, AuditUnreadable, AuditBusy: As `Writer.open`.
        """
        self._writer.open()
        self._thread.start()

    @property
    def state(self) -> State:
        """Whether records are taken now, and why not."""
        if self._writer.failure is not None:
            return "failed"
        if self._closing:
            return "closed"
        if self.stalled:
            return "stalled"
        return "space-low" if self._writer.space_is_low else "open"

    @property
    def stalled(self) -> bool:
        """Whether the disk hangs, or has not been in time since; what is handed in becomes durable once it goes on."""
        return self._late or time.monotonic() - self._began > STALLED_AFTER

    @property
    def failure(self) -> str | None:
        """Why the log latched; holds nothing of any record."""
        return self._writer.failure

    @property
    def signed(self) -> bool:
        """Whether checkpoints are signed."""
        return self._writer.signed

    def submit(self, entries: Sequence[tuple[Sequence[Entry], Ticket]]) -> None:
        """Hand in entries, some together with a ticket that ``deliver`` gets when their fate is known.

        Raises:
            AuditUnavailable: The log is closed or has latched; nothing was handed in.
        """
        with self._lock:
            if self._closing or self._writer.failure is not None:
                raise AuditUnavailable(self._writer.failure or "the audit log is closed")
            self._queue.put(entries)

    def close(self) -> None:
        """Write what was handed in, end the segment with a checkpoint, and stop.

        Raises:
            AuditUnavailable: The log has latched, before or now.
        """
        with self._lock:
            self._closing = True
            self._queue.put(None)
        if self._thread.ident is not None:
            self._ended.wait()
        self._writer.abandon()
        if self._writer.failure is not None:
            raise AuditUnavailable(self._writer.failure)

    def _run(self) -> None:
        group: list[tuple[Sequence[Entry], Ticket]] = []
        try:
            while True:
                going_on = self._gather(group)
                self._began = time.monotonic()
                self._step(group)
                self._late = time.monotonic() - self._began > STALLED_AFTER
                self._began = math.inf
                if not going_on:
                    self._writer.close()
                    return
        except AuditUnavailable as error:
            self._latch(group, str(error))
        except Exception as error:  # noqa: BLE001 - the thread's outermost boundary: a defect latches like a disk
            self._latch(group, f"defect in the audit log: {type(error).__name__}")
        finally:
            self._ended.set()

    def _gather(self, group: list[tuple[Sequence[Entry], Ticket]]) -> bool:
        """Wait for entries, then take all that wait. Returns ``False`` when the log is being closed."""
        size = 0
        try:
            entries = self._queue.get(timeout=self._tick_seconds)
            while entries is not None:
                group.extend(entries)
                size += sum([len(together) for together, _ in entries])
                if size >= _LARGEST_GROUP:
                    return True
                entries = self._queue.get_nowait()
        except queue.Empty:
            return True
        return False

    def _step(self, group: list[tuple[Sequence[Entry], Ticket]]) -> None:
        if group:
            self._writer.append([entry for together, _ in group for entry in together])
            self._durable += [ticket for _, ticket in group]
            group.clear()
        elif self._late:  # nothing waits that would show whether the disk is in time again
            self._writer.append([encode(Heartbeat(self.ready))])
        now = time.monotonic()
        if self._queue.empty() or now >= self._next_tick:
            self._tell()
        if now >= self._next_tick:
            self._next_tick = now + self._tick_seconds
            self._writer.tick(ready=self.ready)

    def _tell(self) -> None:
        """Tell those whose entries are durable.

        Where others wait already, that is done once theirs are on their way to the disk: whoever is told needs the
        interpreter at once, and this thread would get it back, for the next sync, only when they are done.
        """
        durable, self._durable = self._durable, []
        if durable:
            self._deliver(durable, None)

    def _latch(self, group: list[tuple[Sequence[Entry], Ticket]], reason: str) -> None:
        """Tell everybody who waits, and everybody who still slipped in, that nothing of theirs is durable."""
        with self._lock:
            self._writer.fail(reason)
            waiting = [ticket for _, ticket in group]
            while not self._queue.empty():
                waiting += [ticket for _, ticket in self._queue.get_nowait() or ()]
        self._on_failure(reason)
        self._tell()  # but those before, whose is
        if waiting:
            self._deliver(waiting, AuditUnavailable(reason))

"""The audit log in the life of a serving process: opened before ready, told of every change, closed last."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from bedside_runtime.audit import opening
from bedside_runtime.audit.reading import EVENT
from bedside_runtime.audit.record import Event
from bedside_runtime.contract import Audit
from bedside_runtime.errors import AuditUnavailable
from bedside_runtime.loading import Loaded
from bedside_runtime.serve.beside import beside
from bedside_runtime.serve.lifecycle import Readiness
from bedside_runtime.serve.logs import EventLog
from bedside_runtime.service import NoRecord, Recorder

if TYPE_CHECKING:
    from bedside_runtime.audit.recorder import AuditRecorder


class Auditing:
    """Holds the recorder of one process."""

    def __init__(self, log: EventLog, on_latch: Callable[[str], None]) -> None:
        """``on_latch`` is called with the reason when nobody may be answered any more."""
        self._log = log
        self._on_latch = on_latch
        self._recorder: AuditRecorder | None = None
        self._followed: Readiness | None = None

    @property
    def detail(self) -> str:
        """A fixed word about the log; ``none`` where there is none yet, or none is asked for."""
        return self._recorder.detail if self._recorder is not None else NoRecord.detail

    @property
    def unrecorded(self) -> int:
        """How many answers left without a record, because the author chose so."""
        return self._recorder.unrecorded if self._recorder is not None else 0

    @property
    def unrecorded_refusals(self) -> int:
        """How many refusals left without a record, because too many wait for a disk that hangs."""
        return self._recorder.unrecorded_refusals if self._recorder is not None else 0

    async def open(self, loaded: Loaded) -> Recorder:
        """Open the log of a release, and return its recorder.

        Raises:
            AuditKeyInvalid, AuditBusy, AuditUnreadable, AuditUnavailable, LibraryMissing: See `opening.recorder`.
        """
        audit, loop = loaded.contract.audit, asyncio.get_running_loop()
        if audit is None:
            return NoRecord()
        self._recorder = recorder = await beside(lambda: self._opened(loaded, audit, loop), name="audit-open")
        await recorder.changed("start")
        if not recorder.signed:
            self._log.info("audit", reason="checkpoints-unsigned")
        return recorder

    def _opened(self, loaded: Loaded, audit: Audit, loop: asyncio.AbstractEventLoop) -> "AuditRecorder":
        here = opening.surroundings(os.environ)
        recorder = opening.recorder(
            *(loaded.contract, audit, loaded.digest, here),
            on_latch=self._latched,
            on_checkpoint=self._export,
            loop=loop,
        )
        recorder.open()
        return recorder

    async def changed(self, event: Event, reason: str | None = None) -> None:
        """Record a change of the process, where there is a log."""
        if self._recorder is not None:
            await self._recorder.changed(event, reason)

    async def follow(self, readiness: Readiness) -> None:
        """Record that the process became ready or unready, or unready for another reason; nothing where it did not."""
        if self._recorder is None or readiness == self._followed:
            return
        self._followed = readiness
        if readiness.ready:
            await self.changed("ready")
        else:
            await self.changed("not-ready", readiness.reason)

    def relieve(self) -> None:
        """Tell whoever waits for a disk that hangs; to be called now and then."""
        if self._recorder is not None:
            self._recorder.relieve()

    async def close(self) -> bool:
        """Write what waits, end the segment with a checkpoint. Returns whether all of it is durable."""
        if self._recorder is None:
            return True
        try:
            await self._recorder.close()
        except AuditUnavailable:
            return False
        return True

    def _latched(self, reason: str) -> None:
        self._log.error("audit-failed", reason=reason)
        if self._recorder is None or not self._recorder.alarm:
            self._on_latch(AuditUnavailable.code)

    def _export(self, note: str) -> None:
        """Hand a checkpoint to whatever collects stdout, so that it is kept off the pod."""
        try:
            sys.stdout.write(json.dumps({"event": EVENT, "note": note}) + "\n")
            sys.stdout.flush()
        except (OSError, ValueError):  # nobody reads stdout, or it is closed: the log itself is whole
            self._log.error("audit-checkpoint-not-exported")

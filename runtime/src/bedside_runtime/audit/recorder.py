"""The audit log as the service's recorder: on the event loop, one future a request, resolved once it is durable."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal, TypeAlias

from bedside_runtime.audit.chain import MAX_BODY
from bedside_runtime.audit.log import AuditLog
from bedside_runtime.audit.privacy import Keeper
from bedside_runtime.audit.record import Entry, Event, Lifecycle, Refusal, encode
from bedside_runtime.audit.writer import Writer
from bedside_runtime.errors import AuditUnavailable, RecordTooLarge
from bedside_runtime.service import Entry as Answered
from bedside_runtime.service import Refused

OnFailure: TypeAlias = Literal["refuse", "answer-and-alarm"]
_MOST_UNAWAITED = 4_096
"""Records on their way to the disk that nobody waits for. One more is waited for, or not made while the disk hangs."""

_HANGS: Final = "the disk of the audit log hangs"

_Waiting: TypeAlias = "asyncio.Future[None]"


class AuditRecorder:
    """Records every answer before it leaves. Used and closed on one event loop.

    With ``on_failure = "answer-and-alarm"`` answers leave unrecorded after the log has latched, and while its disk
    hangs: `unrecorded` counts them, and `alarm` stands in readiness and metrics.
    """

    def __init__(
        self,
        writer: Writer,
        keeper: Keeper,
        on_failure: OnFailure,
        on_latch: Callable[[str], None],
        *,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """``loop`` is the one that uses it, the running one where none is given."""
        self._loop = loop or asyncio.get_running_loop()
        self._keeper = keeper
        self._answers_anyway = on_failure == "answer-and-alarm"
        self._log: AuditLog[_Waiting] = AuditLog(writer, self._deliver, on_failure=self._latched)
        self._on_latch = on_latch
        self.unrecorded = self.unrecorded_refusals = 0
        self._unawaited = 0
        self._gathered: list[tuple[Sequence[Entry], _Waiting]] = []
        self._awaited: set[_Waiting] = set()  # those that somebody waits for

    def open(self) -> None:
        """Open the log; blocking.

        Raises:
            AuditUnavailable, AuditUnreadable, AuditBusy: As `Writer.open`.
        """
        self._log.open()

    @property
    def healthy(self) -> bool:
        """Whether a record could be written now; readiness depends on it."""
        return self._log.state == "open" or self.alarm

    @property
    def alarm(self) -> bool:
        """Whether answers leave without a record, because the author chose so."""
        return self._answers_anyway and self._log.state in ("failed", "stalled")

    @property
    def detail(self) -> str:
        """Fixed word for readiness: that of the log's state, or ``answering-unrecorded``."""
        return "answering-unrecorded" if self.alarm else self._log.state

    @property
    def signed(self) -> bool:
        """Whether checkpoints are signed."""
        return self._log.signed

    def record(self, entries: Sequence[Answered]) -> Awaitable[None]:
        """Return what ends once all of ``entries`` are durable.

        It raises AuditUnavailable when some never will be, or the disk hangs; nobody of them may be answered then.

        Raises:
            RecordTooLarge: One does not fit into one record; none of them is recorded.
        """
        waiting = self._nothing_taken() if self._log.stalled else self._taken(entries)
        return self._anyway(waiting, len(entries)) if self._answers_anyway else waiting

    def _taken(self, entries: Sequence[Answered]) -> _Waiting:
        made = self._keeper.entries(entries)
        if any(isinstance(entry, bytes) and len(entry) > MAX_BODY for entry in made):
            raise RecordTooLarge("the answer does not fit into one record")
        waiting = self._hand_in(made)
        self._awaited.add(waiting)
        return waiting

    def _nothing_taken(self) -> _Waiting:
        """Take nothing behind a disk that hangs: what waited for it would have no bound."""
        waiting: _Waiting = self._loop.create_future()
        waiting.set_exception(AuditUnavailable(_HANGS))
        return waiting

    def relieve(self) -> None:
        """Tell whoever waits for a disk that hangs; to be called now and then.

        What was handed in becomes durable all the same once the disk goes on, with a refusal of the same request
        behind it.
        """
        if self._log.stalled:
            self._resolve(list(self._awaited), AuditUnavailable(_HANGS))

    def begin(self) -> None:
        """Wake the log, and let it have the interpreter until the disk is at work; it takes nothing more than that.

        The log's thread would get it only once the loop rests: a moment of sleep, which the kernel makes about 60
        microseconds of, lets the disk work while the loop does.
        """
        self._hand_over()
        time.sleep(0)

    async def _anyway(self, waiting: _Waiting, answers: int) -> None:
        """Count answers that leave without their record: the log has latched, or its disk hangs."""
        try:
            await waiting
        except AuditUnavailable:
            if self._log.state == "closed":
                raise
            self.unrecorded += answers

    async def refused(self, refused: Refused) -> None:
        """Return once ``refused`` is durable, or once it is known that it never will be.

        No prediction leaves with a refusal; that the log has latched is said by readiness. One that must leave
        at once, or that the disk would hold up, does not wait for it, as long as not too many are on their way. Beyond
        that the disk is waited for, unless it hangs: then `unrecorded_refusals` counts what leaves without a record.
        """
        if self._log.stalled and self._unawaited >= _MOST_UNAWAITED:
            self.unrecorded_refusals += 1
            return
        caller = refused.caller
        micros = round(refused.seconds * 1e6)
        body = Refusal(caller.request, caller.identity, refused.status, refused.code, micros)
        await self._note(body, at_once=refused.at_once)

    async def changed(self, event: Event, reason: str | None = None) -> None:
        """Record a change of the process; what every heartbeat says about readiness follows it."""
        self._log.ready = event == "ready"
        await self._note(Lifecycle(event, reason), at_once=False)

    async def _note(self, body: Refusal | Lifecycle, *, at_once: bool) -> None:
        written = self._hand_in([encode(body)])
        if self._log.stalled or (at_once and self._unawaited < _MOST_UNAWAITED):
            self._unawaited += 1
            written.add_done_callback(self._written)
            return
        self._awaited.add(written)
        with contextlib.suppress(AuditUnavailable):
            await written

    async def close(self) -> None:
        """Write what waits, end the segment with a checkpoint.

        Raises:
            AuditUnavailable: The log has latched.
        """
        self._hand_over()
        await asyncio.to_thread(self._log.close)

    def _hand_in(self, entries: Sequence[Entry]) -> _Waiting:
        """Gather ``entries``; those of one turn of the loop are handed over together, which wakes the log once."""
        waiting: _Waiting = self._loop.create_future()
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
        self._gathered.append((entries, waiting))
        return waiting

    def _hand_over(self) -> None:
        gathered, self._gathered = self._gathered, []
        try:
            if gathered:
                self._log.submit(gathered)
        except AuditUnavailable as error:
            self._resolve([waiting for _, waiting in gathered], error)

    def _written(self, waiting: _Waiting) -> None:
        self._unawaited -= 1
        waiting.exception()  # that the log has latched is said elsewhere

    def _deliver(self, waiting: Sequence[_Waiting], error: AuditUnavailable | None) -> None:
        self._loop.call_soon_threadsafe(self._resolve, waiting, error)

    def _resolve(self, waiting: Sequence[_Waiting], error: AuditUnavailable | None) -> None:
        self._awaited.difference_update(waiting)
        for future in waiting:
            if future.done():  # its caller went away, or was told that the disk hangs
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    def _latched(self, reason: str) -> None:
        self._loop.call_soon_threadsafe(self._on_latch, reason)

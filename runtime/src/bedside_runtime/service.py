"""The prediction service: validated rows in, checked predictions out. Knows nothing of HTTP.

How the model is asked is the business of `batching`. An answer is handed back only after the recorder has it.
"""

import itertools
import math
import time
from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any, Protocol

from msgspec import Struct

from bedside_runtime import golden
from bedside_runtime.adapters.predictor import Predictor
from bedside_runtime.batching import Answered, Asking
from bedside_runtime.contract import Contract, Row, Scalar
from bedside_runtime.errors import OutputInvalid, Overloaded
from bedside_runtime.inputs import Flag, ValidRow
from bedside_runtime.outputs import band_of


class Prediction(Struct, frozen=True, gc=False):
    """One answered row."""

    value: Scalar
    band: str | None
    flags: tuple[Flag, ...]


class Caller(Struct, frozen=True, gc=False):
    """Who asked, for the record.

    Attributes:
        request: The request id that the answer carries.
        identity: The authenticated caller; ``None`` where nobody authenticates.
    """

    request: str
    identity: str | None = None


class Entry(Struct, frozen=True, gc=False):
    """All of one answered request that a recorder is given.

    Attributes:
        caller: Who asked.
        rows: What was asked, in declared units.
        predictions: What is answered, one a row.
        seconds: How long the model's call took that answered it.
        batch: How many rows that call answered, those of other requests included.
    """

    caller: Caller
    rows: Sequence[Row]
    predictions: Sequence[Prediction]
    seconds: float
    batch: int


class Refused(Struct, frozen=True):
    """All of one request without a prediction that a recorder is given.

    Attributes:
        caller: Who asked.
        status: HTTP status of the answer.
        code: Its fixed reason code.
        seconds: Time from the request's arrival.
        at_once: Whether the answer must not wait for the disk: shedding load may not cost what serving does.
    """

    caller: Caller
    status: int
    code: str
    seconds: float
    at_once: bool = False


class Recorder(Protocol):
    """Keeps a durable record of every answer: the seam of the audit log."""

    @property
    def healthy(self) -> bool:
        """Whether a record could be written now; readiness depends on it."""
        ...

    def record(self, entries: Sequence[Entry]) -> Awaitable[None] | None:
        """Return what ends once all of ``entries`` are durable, ``None`` where nothing is kept.

        Answers leave after that.
        """
        ...

    def begin(self) -> None:
        """Begin with what was handed in, although whoever hands in has more to do before the loop goes on."""
        ...

    @property
    def detail(self) -> str:
        """A fixed word about the log for readiness."""
        ...

    async def refused(self, refused: Refused) -> None:
        """Return once ``refused`` is durable, or never will be; a refusal leaves either way."""
        ...


class NoRecord:
    """The recorder of a release without an audit log. It keeps nothing, and /model says so."""

    healthy = True
    detail = "none"

    def record(self, entries: Sequence[Entry]) -> None:
        """Keep nothing."""

    def begin(self) -> None:
        """There is nothing to begin with."""

    async def refused(self, refused: Refused) -> None:
        """Keep nothing."""


class PredictionService:
    """Predicts, checks, records. One instance a loaded release."""

    def __init__(
        self,
        contract: Contract,
        digest: str,
        predictor: Predictor,
        asking: Asking,
        cases: Sequence[golden.Case],
        recorder: Recorder,
    ) -> None:
        """``asking`` asks ``predictor``; the self-check goes the same way."""
        self.contract = contract
        self.digest = digest
        self.recorder = recorder
        self.in_flight = 0
        self._predictor = predictor
        self._asking = asking
        self._cases = itertools.cycle(cases)
        self._most = contract.serve.max_in_flight
        self._patience = contract.serve.deadline_seconds
        self._band_of = band_of(contract.output)

    @property
    def free(self) -> int:
        """Requests that may be begun now."""
        return max(0, self._most - self.in_flight - self._asking.abandoned)

    @property
    def waiting(self) -> int:
        """Rows that wait for the model."""
        return self._asking.waiting

    async def predict(
        self, rows: Sequence[ValidRow], caller: Caller, deadline: float = math.inf
    ) -> tuple[Prediction, ...]:
        """Answer ``rows`` in their order, durably recorded.

        Args:
            rows: At least one.
            caller: Who asks.
            deadline: When the caller no longer wants the answer, on the monotonic clock, seconds. The release's
                own limit holds beside it.

        Raises:
            Overloaded: As many requests are in flight as the release allows; this one was not begun.
            DeadlineExceeded: The model had not answered in time. Its slot is free again once it has.
            OutputInvalid: The model answered what the declared output cannot be. Nothing is answered then,
                not even the rows that came out right.
        """
        if not self.free:
            raise Overloaded(f"{self._most} requests are in flight")
        self.in_flight += 1
        try:
            own = time.monotonic() + self._patience
            cells = [row.cells for row in rows]
            answered = self._asking.predict(cells, min(own, deadline))
            if not isinstance(answered, Answered):
                answered = await answered
            band_of = self._band_of
            predictions = tuple(
                [Prediction(raw, band_of(raw), row.flags) for row, raw in zip(rows, answered.values, strict=True)]
            )
            entry = Entry(caller, cells, predictions, answered.seconds, answered.batch)
            recorded = self.recorder.record((entry,))
            if recorded is not None:
                await recorded
        finally:
            self.in_flight -= 1
        return predictions

    @property
    def answers_at_once(self) -> bool:
        """Whether `predict_together` answers anybody: an engine that takes its time gathers requests by itself."""
        return self._asking.answers_at_once

    def predict_together(
        self, rows: Sequence[ValidRow], callers: Sequence[Caller]
    ) -> tuple[Sequence[bool], Coroutine[Any, Any, Sequence[Prediction]]]:
        """Answer one row of each of several callers, with one call of the model and recorded together.

        Args:
            rows: At least one.
            callers: Who asks for each.

        Returns:
            Whether each row is answered: one that is not is not recorded either, and has to be asked for by itself with
            `predict`, which says why. And the predictions of all that are, once they are recorded; they are in flight
            while that is awaited.

        Raises:
            Overloaded: More than are `free`; none of them was begun.
        """
        if len(rows) > self.free:
            raise Overloaded(f"{self._most} requests are in flight")
        cells = [row.cells for row in rows]
        started = time.monotonic()
        values = self._asking.at_once(cells)
        seconds = time.monotonic() - started
        made = [self._prediction(row, value) for row, value in zip(rows, values, strict=True)]
        batch = len(cells)
        entries = [
            Entry(caller, (row,), (prediction,), seconds, batch)
            for caller, row, prediction in zip(callers, cells, made, strict=True)
            if prediction is not None
        ]
        recorded = self.recorder.record(entries) if entries else None
        return [one is not None for one in made], self._recorded([one for one in made if one is not None], recorded)

    async def _recorded(
        self, predictions: Sequence[Prediction], recorded: Awaitable[None] | None
    ) -> Sequence[Prediction]:
        """Hand ``predictions`` back once they are ``recorded``."""
        self.in_flight += len(predictions)
        try:
            if recorded is not None:
                await recorded
        finally:
            self.in_flight -= len(predictions)
        return predictions

    def _prediction(self, row: ValidRow, raw: Scalar | None) -> Prediction | None:
        if raw is None:
            return None
        try:
            return Prediction(raw, self._band_of(raw), row.flags)
        except OutputInvalid:
            return None

    async def self_check(self) -> None:
        """Answer the next golden case where patients are answered.

        Raises:
            GoldenMismatch: It is no longer answered as at the start.
            OutputInvalid: The answer is none at all.
        """
        case, contract = next(self._cases), self.contract
        await self._asking.run(lambda: golden.check(case, contract.output, contract.golden.tolerance, self._predictor))

    def close(self) -> None:
        """Let the running prediction end and take no more."""
        self._asking.close()

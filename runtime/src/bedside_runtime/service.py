"""The prediction service: validated rows in, checked predictions out. Knows nothing of HTTP.

Predictions run on one thread of their own, so that probes never wait behind them. An answer is handed back
only after the recorder has it.
"""

import asyncio
import itertools
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from msgspec import Struct

from bedside_runtime import golden
from bedside_runtime.adapters.predictor import Predictor
from bedside_runtime.contract import Contract, Scalar
from bedside_runtime.errors import OutputInvalid
from bedside_runtime.inputs import Flag, ValidRow
from bedside_runtime.outputs import answer


class Prediction(Struct, frozen=True):
    """One answered row."""

    value: Scalar
    band: str | None
    flags: tuple[Flag, ...]


class Caller(Struct, frozen=True):
    """Who asked, for the record.

    Attributes:
        request: The request id that the answer carries.
        identity: The authenticated caller; ``None`` where nobody authenticates.
    """

    request: str
    identity: str | None = None


class Entry(Struct, frozen=True):
    """All of one answered request that a recorder is given. ``seconds`` is the time spent predicting."""

    caller: Caller
    rows: tuple[ValidRow, ...]
    predictions: tuple[Prediction, ...]
    seconds: float


class Refused(Struct, frozen=True):
    """All of one request without a prediction that a recorder is given.

    Attributes:
        caller: Who asked.
        status: HTTP status of the answer.
        code: Its fixed reason code.
        seconds: Time from the request's arrival.
    """

    caller: Caller
    status: int
    code: str
    seconds: float


class Recorder(Protocol):
    """Keeps a durable record of every answer: the seam of the audit log."""

    @property
    def healthy(self) -> bool:
        """Whether a record could be written now; readiness depends on it."""
        ...

    async def record(self, entry: Entry) -> None:
        """Return once ``entry`` is durable; the answer leaves only after that."""
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

    async def record(self, entry: Entry) -> None:
        """Keep nothing."""

    async def refused(self, refused: Refused) -> None:
        """Keep nothing."""


class PredictionService:
    """Predicts, checks, records. One instance a loaded release."""

    def __init__(
        self,
        contract: Contract,
        digest: str,
        predictor: Predictor,
        cases: Sequence[golden.Case],
        recorder: Recorder,
    ) -> None:
        self.contract = contract
        self.digest = digest
        self.recorder = recorder
        self._predictor = predictor
        self._cases = itertools.cycle(cases)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="predict")

    async def predict(self, rows: Sequence[ValidRow], caller: Caller) -> tuple[Prediction, ...]:
        """Answer ``rows`` in their order, durably recorded.

        Raises:
            OutputInvalid: The model answered what the declared output cannot be. Nothing is answered then,
                not even the rows that came out right.
        """
        started = time.perf_counter()
        loop = asyncio.get_running_loop()
        raw = await loop.run_in_executor(self._thread, self._predictor.predict, [row.cells for row in rows])
        seconds = time.perf_counter() - started
        if len(raw) != len(rows):
            raise OutputInvalid(f"the model answered {len(raw)} values for {len(rows)} rows")
        predictions = tuple(self._prediction(row, value) for row, value in zip(rows, raw, strict=True))
        await self.recorder.record(Entry(caller, tuple(rows), predictions, seconds))
        return predictions

    async def self_check(self) -> None:
        """Answer the next golden case on the thread that answers patients.

        Raises:
            GoldenMismatch: It is no longer answered as at the start.
            OutputInvalid: The answer is none at all.
        """
        case, contract = next(self._cases), self.contract
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(
            self._thread, golden.check, case, contract.output, contract.golden.tolerance, self._predictor
        )

    def close(self) -> None:
        """Let the running prediction end and take no more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _prediction(self, row: ValidRow, raw: Scalar) -> Prediction:
        checked = answer(self.contract.output, raw)
        return Prediction(checked.value, checked.band, row.flags)

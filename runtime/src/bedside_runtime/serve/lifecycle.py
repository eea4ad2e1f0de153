"""Loading, verifying, ready, draining, failed: the states of a serving process, and what readiness says of them."""

import time
from collections.abc import Callable
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from bedside_runtime.service import PredictionService

STALLED_AFTER = 3
"""Self-check periods without an answer after which the predict loop counts as stalled."""


class State(StrEnum):
    """Where a process is."""

    LOADING = "loading"
    VERIFYING = "verifying"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


NEXT: Final = MappingProxyType(
    {
        State.LOADING: frozenset({State.VERIFYING, State.DRAINING, State.FAILED}),
        State.VERIFYING: frozenset({State.READY, State.DRAINING, State.FAILED}),
        State.READY: frozenset({State.DRAINING, State.FAILED}),
        State.DRAINING: frozenset[State](),
        State.FAILED: frozenset({State.DRAINING}),
    }
)
"""Every transition there is. Nothing leads back: a process that failed is replaced, not repaired."""


class Readiness(Struct, frozen=True):
    """Whether to send patients here, the state, and the fixed reason code."""

    ready: bool
    status: str
    reason: str


class Lifecycle:
    """The state of this process, and the service once it is ready."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, unready: Callable[[], str | None] = lambda: None
    ) -> None:
        """Begin with loading.

        Args:
            clock: Seconds.
            unready: Why nobody can be answered for a reason from outside of the service; ``None`` where there is none.
        """
        self.state = State.LOADING
        self.service: PredictionService | None = None
        self.failure: str | None = None
        self._clock = clock
        self._checked = clock()
        self._unready = unready

    def verifying(self) -> None:
        """The release is read; its golden cases are being replayed."""
        self._become(State.VERIFYING)

    def ready(self, service: PredictionService) -> None:
        """The golden cases passed here."""
        self._become(State.READY)
        self.service = service
        self.checked()

    def checked(self) -> None:
        """The predict loop just answered a golden case."""
        self._checked = self._clock()

    def fail(self, code: str) -> None:
        """Never answer again; ``code`` is the reason that readiness gives. Draining stays draining."""
        if State.FAILED in NEXT[self.state]:
            self._become(State.FAILED)
        self.failure = code
        self.service = None

    def drain(self) -> None:
        """Take no new traffic; the service goes on answering what still comes."""
        if State.DRAINING in NEXT[self.state]:
            self._become(State.DRAINING)

    def started(self) -> bool:
        """Whether loading and the golden replay finished."""
        return self.state in (State.READY, State.DRAINING) and self.failure is None and self.service is not None

    def readiness(self) -> Readiness:
        """Return what /readyz answers now."""
        reason = self._reason()
        return Readiness(reason == "ready", str(self.state), reason)

    def _reason(self) -> str:
        if self.failure is not None:
            return self.failure
        if self.state is not State.READY or self.service is None:
            return str(self.state)
        period = self.service.contract.serve.self_check_seconds
        if self._clock() - self._checked > STALLED_AFTER * period:
            return "predict-loop-stalled"
        if not self.service.recorder.healthy:
            return "recorder-unavailable"
        return self._unready() or "ready"

    def _become(self, state: State) -> None:
        if state not in NEXT[self.state]:
            raise RuntimeError(f"no way leads from {self.state} to {state}")
        self.state = state

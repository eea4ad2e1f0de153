"""Records of a log, understood: with the segment that they stand in, and chosen by what they say. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from bedside.errors import VerificationFailed
from bedside_runtime.audit import record
from bedside_runtime.audit.chain import Record
from bedside_runtime.audit.verify import Segment

PREDICTION, REFUSAL, LIFECYCLE, END = "prediction", "refusal", "lifecycle", "end"
KINDS: Final = (PREDICTION, REFUSAL, LIFECYCLE, "genesis", "heartbeat", "checkpoint", END)
"""Every kind of record, as its body names it."""

TOLD: Final = frozenset({PREDICTION, REFUSAL, LIFECYCLE, END})
"""What somebody who asks about predictions is told; the rest proves the log."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One proved record.

    Attributes:
        segment: File that it stands in.
        genesis: First record of that file: who writes, how inputs are kept.
        line: The record as it was chained.
        body: What it says.
    """

    segment: str
    genesis: record.Genesis
    line: Record
    body: record.Body

    @property
    def kind(self) -> str:
        """Kind of the record, one of ``KINDS``."""
        return str(self.line.body["kind"])

    @property
    def position(self) -> record.Position:
        """Where it stands: what a sealed payload is bound to."""
        return record.Position(self.genesis.identity.pod, self.genesis.segment, self.line.seq)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which records are wanted; what is empty or ``None`` asks for nothing in particular.

    Attributes:
        since: Earliest time, as records write it.
        until: First time that is too late.
        kinds: Kinds of records.
        callers: Authenticated callers.
        requests: Request ids.
        bands: Bands, of which one row of a prediction must have one.
        rows: Says whether a prediction is about the inputs that somebody looks for.
    """

    since: str | None = None
    until: str | None = None
    kinds: frozenset[str] = TOLD
    callers: frozenset[str] = frozenset()
    requests: frozenset[str] = frozenset()
    bands: frozenset[str] = frozenset()
    rows: Callable[[Entry], bool] | None = None

    def takes(self, entry: Entry) -> bool:
        """Whether ``entry`` is wanted."""
        line, body = entry.line, entry.body
        if entry.kind not in self.kinds or not self._in_time(line.time):
            return False
        if not (self.callers or self.requests or self.bands or self.rows):
            return True
        return isinstance(body, record.Prediction | record.Refusal) and self._asked(entry, body)

    def _in_time(self, time: str) -> bool:
        return (self.since is None or self.since <= time) and (self.until is None or time < self.until)

    def _asked(self, entry: Entry, body: record.Prediction | record.Refusal) -> bool:
        if self.callers and body.caller not in self.callers:
            return False
        if self.requests and body.request not in self.requests:
            return False
        if not self.bands and self.rows is None:
            return True
        if not isinstance(body, record.Prediction):
            return False
        banded = not self.bands or any(output.band in self.bands for output in body.outputs)
        return banded and (self.rows is None or self.rows(entry))


EVERYTHING_TOLD: Final = Selection()
"""Every record that says something about predictions."""


class Entries:
    """Understands the records of one log as they are proved, and passes on those that are wanted."""

    def __init__(self, selection: Selection, on_entry: Callable[[Entry], None]) -> None:
        self._selection, self._on_entry = selection, on_entry
        self._genesis: record.Genesis | None = None

    def __call__(self, segment: Segment, line: Record) -> None:
        """Take the next record.

        Raises:
            VerificationFailed: It says something that this version of bedside does not know.
        """
        try:
            body = msgspec.convert(line.body, record.Body)
        except msgspec.ValidationError:
            raise VerificationFailed(
                f"record {line.seq} in {segment.name} is of a kind that is not known here",
                remedy="Read this log with the version of bedside that wrote it, or a newer one.",
            ) from None
        if isinstance(body, record.Genesis):
            self._genesis = body
        if self._genesis is None:
            raise AssertionError("a proved segment begins with its genesis record")
        entry = Entry(segment.name, self._genesis, line, body)
        if self._selection.takes(entry):
            self._on_entry(entry)

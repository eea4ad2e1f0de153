"""The verdict on a log: a stream of bytes in, a report with the first offending position out. Pure.

Memory is constant: one chunk, one record, and at most one torn group. Nothing here knows how a log is
written or served; it needs sha256, and Ed25519 only where keys are given.

What is proved, in this order:

1. Segments come in their numbers' order, beginning at 0, each naming the file, size and head of the one before.
2. Every line is a canonical record with its own hash, the next number, and the hash of the one before.
3. What a crash tore is quoted, byte for byte, by the genesis record that follows it.
4. Every checkpoint in the log says where the log stands; with keys, it is signed by the key that the
   genesis record names, and no stretch is longer without one than the genesis record promises.
5. The log passes through every checkpoint that was kept elsewhere, and is at least as long.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Final, NoReturn, TypeAlias

import msgspec
from msgspec import Struct

from bedside_runtime.audit import notes, record
from bedside_runtime.audit.chain import FORMAT, START, Head, Record
from bedside_runtime.audit.lines import Lines, is_tear
from bedside_runtime.audit.notes import NotANote, VerificationKey
from bedside_runtime.audit.usual import UsualRecord

_Item: TypeAlias = Record | UsualRecord


class Verdict(StrEnum):
    """What a log is found to be; the exit code of each stands in ``EXIT_CODES``."""

    INTACT = "intact"
    TORN_TAIL = "torn-tail"
    ALTERED = "altered"
    GAP = "gap"
    MISSING_SEGMENT = "missing-segment"
    BAD_SIGNATURE = "bad-signature"
    TRUNCATED = "truncated"


EXIT_CODES: Final = {
    Verdict.INTACT: 0,
    Verdict.TORN_TAIL: 10,
    Verdict.ALTERED: 11,
    Verdict.GAP: 12,
    Verdict.MISSING_SEGMENT: 13,
    Verdict.BAD_SIGNATURE: 14,
    Verdict.TRUNCATED: 15,
}


class Segment(Struct, frozen=True):
    """One file of a log. ``number`` is the one in its name; ``chunks`` its bytes, read once, in order."""

    name: str
    number: int
    chunks: Iterable[bytes]


class Trust(Struct, frozen=True):
    """Whose checkpoints count.

    Attributes:
        keys: In the order in which they were in use; a log that goes back to an earlier one is not trusted.
        verifies: Ed25519.
    """

    keys: tuple[VerificationKey, ...]
    verifies: notes.Verifier


class Place(Struct, frozen=True):
    """Where the first thing is wrong: file, byte, and the number of the record that should stand there."""

    segment: str
    offset: int
    record: int


class Report(Struct, frozen=True):
    """What a log was found to be.

    Attributes:
        verdict: The one word.
        reason: One sentence; holds no content of any record.
        place: Where; ``None`` for an intact log.
        segments: Segments read.
        records: Records that are proved.
        bytes: Bytes of those records.
        hash: Hash of the last proved record.
        signed_records: Records that a valid signature covers; 0 where no key was given.
        tears: Ends torn by earlier crashes, each quoted by the segment after it.
        clock_steps: How often the UTC clock went back.
        silences: Stretches of more than twice the promised heartbeat without a record.
        closed: Whether the last segment was closed on purpose.
        pod: The pod that the log names.
    """

    verdict: Verdict
    reason: str
    place: Place | None
    segments: int
    records: int
    bytes: int
    hash: str
    signed_records: int
    tears: int
    clock_steps: int
    silences: int
    closed: bool
    pod: str | None


class _Found(Exception):
    def __init__(self, verdict: Verdict, reason: str, place: Place) -> None:
        super().__init__(reason)
        self.verdict, self.reason, self.place = verdict, reason, place


def verify(
    segments: Iterable[Segment],
    *,
    trust: Trust | None = None,
    checkpoints: Sequence[notes.Checkpoint] = (),
    pod: str | None = None,
    partial: bool = False,
    on_bytes: Callable[[int], None] = lambda _: None,
    on_record: Callable[[Segment, Record], None] | None = None,
) -> Report:
    """Read a whole log once and say what it is.

    Args:
        segments: In the order of their numbers.
        trust: Keys; without them signatures are not looked at.
        checkpoints: Kept elsewhere; their signatures are the caller's business (`signed_by`).
        pod: The pod whose log this must be.
        partial: Whether the log may begin in the middle, where older segments are kept elsewhere.
        on_bytes: Told after every chunk how many bytes were read.
        on_record: Given every record, with its segment, once it is proved to follow the one before; what a
            signature says comes later, with the next checkpoint, or with the verdict.
    """
    walk = _Walk(trust, checkpoints, pod, partial=partial, on_record=on_record)
    try:
        for segment in segments:
            counted = _counted(segment.chunks, on_bytes)
            walk.segment(Segment(segment.name, segment.number, counted))
        walk.end()
    except _Found as found:
        return walk.report(found.verdict, found.reason, found.place)
    return walk.report(Verdict.INTACT, "every record is whole and follows the one before", None)


def _counted(chunks: Iterable[bytes], on_bytes: Callable[[int], None]) -> Iterable[bytes]:
    for chunk in chunks:
        yield chunk
        on_bytes(len(chunk))


class _Walk:
    """The state of one verification."""

    def __init__(
        self,
        trust: Trust | None,
        checkpoints: Sequence[notes.Checkpoint],
        pod: str | None,
        *,
        partial: bool,
        on_record: Callable[[Segment, Record], None] | None = None,
    ) -> None:
        self._on_record = on_record
        self._trust = trust
        self._kept = sorted(checkpoints, key=lambda item: -item.head.records)
        self._pod = pod
        self._partial = partial
        self._head = START
        self._genesis: record.Genesis | None = None
        self._before: record.Previous | None = None
        self._held_back: _Found | None = None
        self._segment = Segment("", 0, ())
        self._first = True
        self._lines, self._begun = Lines(()), 0
        self._silence = 0.0
        self._last: _Item | None = None
        self._key_index = 0
        self._unsigned = self._signed = 0
        self._segments = self._bytes = self._tears = self._clock_steps = self._silences = 0
        self._closed = False

    def segment(self, segment: Segment) -> None:
        """Prove one segment. What its end says alone is held back: the next genesis, or `end`, judges that."""
        if self._held_back is not None and self._before is None:
            raise self._held_back
        self._segments += 1
        self._segment = segment
        self._first = True
        self._held_back = None
        self.lines(Lines(segment.chunks))

    def lines(self, lines: Lines) -> None:
        """Prove the lines of the current segment, from the first or from wherever it was left."""
        self._bytes, self._lines, self._begun = self._counted(), lines, lines.offset
        for item in lines.records():
            if self._first:
                self._open(self._segment, item.record)
            if item.seq != self._head.records or item.prev != self._head.hash:
                self._misplaced(item)
            self._say(item)
            self._first = False
            if self._on_record is not None:
                self._on_record(self._segment, item.record)
        self._close(lines.offset, lines.rest(), lines.reason)

    def _counted(self) -> int:
        """Bytes of all records so far."""
        return self._bytes + self._lines.offset - self._begun

    def _close(self, at: int, rest: bytes, reason: str) -> None:
        if rest and not is_tear(rest, at):
            self._fail(Verdict.ALTERED, reason)
        torn = record.Torn(at, len(rest), hashlib.sha256(rest).hexdigest()) if rest else None
        self._before = record.Previous(self._segment.name, at + len(rest), self._head.records, self._head.hash, torn)
        if self._first:
            self._before = None
            self._hold_back(Verdict.ALTERED, "the segment does not begin with a whole genesis record")
        elif self._trust is not None and self._last_is_genesis():
            self._before = None
            self._hold_back(Verdict.BAD_SIGNATURE, "no checkpoint follows the genesis record")
        elif torn is not None:
            self._hold_back(Verdict.TORN_TAIL, "the last group was torn by a crash; nobody was answered from it")

    def _open(self, segment: Segment, item: Record) -> None:
        try:
            genesis = msgspec.convert(item.body, record.Genesis)
        except msgspec.ValidationError:
            self._fail(Verdict.ALTERED, "the segment does not begin with a genesis record")
        if genesis.format != FORMAT:
            self._fail(Verdict.ALTERED, f"the segment is not of format {FORMAT}")
        if genesis.segment != segment.number:
            self._fail(Verdict.ALTERED, "the file has the number of another segment")
        pod = self._pod or genesis.identity.pod
        if genesis.identity.pod != pod:
            self._fail(Verdict.ALTERED, "the segment is from the log of another pod")
        self._pod = pod
        self._continue(genesis, item)
        self._tears += genesis.previous is not None and genesis.previous.torn is not None
        self._genesis = genesis
        self._silence = 2e6 * genesis.promises.heartbeat_seconds
        self._closed = False
        self._key_in_force(genesis)

    def _continue(self, genesis: record.Genesis, item: _Item) -> None:
        """Compare what the genesis record says of the segment before with what was found."""
        if self._before is None and self._partial:
            self._head = Head(item.seq, item.prev)
            self._meet_checkpoints(self._head)
            return
        expected = 0 if self._genesis is None else self._genesis.segment + 1
        if genesis.segment > expected:
            self._fail(Verdict.MISSING_SEGMENT, f"segment {expected} is not here")
        if genesis.segment < expected:
            self._fail(Verdict.ALTERED, "two files have the number of one segment")
        if genesis.previous == self._before:
            return
        said, found = genesis.previous, self._before
        if said is not None and found is not None and said.records > found.records:
            self._fail(Verdict.GAP, "records are missing at the end of the segment before")
        self._fail(Verdict.ALTERED, "the segment before is not as this one found it")

    def _key_in_force(self, genesis: record.Genesis) -> None:
        if self._trust is None:
            return
        names = [str(key) for key in self._trust.keys]
        if genesis.key not in names[self._key_index :]:
            self._fail(Verdict.BAD_SIGNATURE, "the genesis record names no key that is trusted here")
        self._key_index = names.index(genesis.key)

    def _misplaced(self, item: _Item) -> NoReturn:
        records = self._head.records
        if item.seq > records:
            self._fail(Verdict.GAP, f"record {records} is not here")
        if item.seq < records:
            self._fail(Verdict.ALTERED, "a record stands here a second time, or in another's place")
        self._fail(Verdict.ALTERED, "the record does not follow the one before")

    def _say(self, item: _Item) -> None:
        kind = item.kind
        if (kind == "genesis") != self._first:
            self._fail(Verdict.ALTERED, "a genesis record stands in the middle of a segment")
        if kind == "checkpoint":
            self._checkpoint(item)
        else:
            self._without_checkpoint(kind)
        last = self._last
        if last is not None and (item.time < last.time or item.mono - last.mono > self._silence):
            self._clocks(item, last)
        self._last = item
        head = Head(item.seq + 1, item.hash)
        if self._kept:
            self._meet_checkpoints(head)
        self._head = head

    def _without_checkpoint(self, kind: object) -> None:
        if self._closed:
            self._fail(Verdict.ALTERED, "a record follows the end of its segment")
        self._closed = kind == "end"
        self._unsigned += 1
        if self._trust is None or self._genesis is None:
            return
        if self._unsigned > self._genesis.promises.checkpoint_records + 1 or self._last_is_genesis():
            self._fail(Verdict.BAD_SIGNATURE, "a checkpoint that the genesis record promises is not here")

    def _last_is_genesis(self) -> bool:
        return self._last is not None and self._last.kind == "genesis"

    def _checkpoint(self, item: _Item) -> None:
        try:
            note = notes.read_note(str(item.note))
            checkpoint = notes.read_checkpoint(note.text)
        except NotANote as error:
            self._fail(Verdict.ALTERED, str(error))
        if checkpoint != notes.Checkpoint(notes.origin(str(self._pod)), self._head):
            self._fail(Verdict.ALTERED, "the checkpoint is about another log, or another place in it")
        self._unsigned = 0
        if self._trust is None:
            return
        key = self._trust.keys[self._key_index]
        if notes.signed_by(note, [key], self._trust.verifies) is None:
            self._fail(Verdict.BAD_SIGNATURE, "the checkpoint is not signed by the key in force")
        self._signed = self._head.records

    def _clocks(self, item: _Item, last: _Item) -> None:
        if item.time < last.time:
            self._clock_steps += 1
        if not self._first and item.mono - last.mono > self._silence:
            self._silences += 1

    def _meet_checkpoints(self, head: Head) -> None:
        while self._kept and self._kept[-1].head.records <= head.records:
            kept = self._kept.pop().head
            if kept.records == head.records and kept != head:
                self._fail(Verdict.ALTERED, "the log is not the one that a checkpoint kept elsewhere saw")

    def end(self) -> None:
        """Judge what only the whole log shows: its end.

        A cut that a checkpoint proves is a cut, even where it looks like what a crash leaves.
        """
        longest = self._kept[0].head.records if self._kept else 0
        if longest > self._head.records:
            self._fail(Verdict.TRUNCATED, f"a checkpoint kept elsewhere saw {longest} records")
        if self._held_back is not None:
            raise self._held_back
        if not self._segments:
            self._fail(Verdict.MISSING_SEGMENT, "there is no segment")

    def report(self, verdict: Verdict, reason: str, place: Place | None) -> Report:
        """Return what was found so far under ``verdict``."""
        return Report(
            verdict=verdict,
            reason=reason,
            place=place,
            segments=self._segments,
            records=self._head.records,
            bytes=self._counted(),
            hash=self._head.hash,
            signed_records=self._signed,
            tears=self._tears,
            clock_steps=self._clock_steps,
            silences=self._silences,
            closed=self._closed,
            pod=self._pod,
        )

    def _hold_back(self, verdict: Verdict, reason: str) -> None:
        self._held_back = _Found(verdict, reason, Place(self._segment.name, self._lines.offset, self._head.records))

    def _fail(self, verdict: Verdict, reason: str) -> NoReturn:
        raise _Found(verdict, reason, Place(self._segment.name, self._lines.offset, self._head.records))

"""Writes logs without a disk: what the tests verify, alter and cut."""

from collections.abc import Sequence

from msgspec import Struct

from bedside_runtime import canonical
from bedside_runtime.audit import chain, notes, record
from bedside_runtime.audit.chain import START, Head
from bedside_runtime.audit.notes import Checkpoint, Signer, origin
from bedside_runtime.audit.verify import Report, Segment, Trust, verify

POD = "icu-7f9c-x1"
PROMISES = record.Promises(checkpoint_records=16, checkpoint_seconds=5, heartbeat_seconds=10)
RELEASE = "sha256:" + "ab" * 32


def link(head: Head, body: bytes, time: str, mono: int) -> tuple[bytes, Head]:
    """The one line that follows ``head``, and the new head."""
    (line,), head = chain.link(head, [body], time, mono)
    return line, head


class Written(Struct):
    """A log in memory: file name to bytes, in order, and every checkpoint's note that was written."""

    files: dict[str, bytes]
    notes: list[str]
    head: Head

    def lines(self, name: str) -> list[bytes]:
        return self.files[name].splitlines(keepends=True)


class Writer:
    def __init__(self, signer: Signer | None = None, pod: str = POD, promises: record.Promises = PROMISES) -> None:
        self.signer, self.pod, self.promises = signer, pod, promises
        self.head, self.unsigned, self.mono = START, 0, 0
        self.files: dict[str, bytearray] = {}
        self.notes: list[str] = []
        self.torn: record.Torn | None = None

    def name(self, number: int) -> str:
        return f"boot1-{number:08d}.jsonl"

    def _line(self, body: bytes) -> None:
        self.mono += 1000
        time = f"2026-11-23T19:{self.mono // 60_000_000:02d}:{self.mono // 1_000_000 % 60:02d}.{self.mono % 10**6:06d}Z"
        line, self.head = link(self.head, body, time, self.mono)
        self.files[next(reversed(self.files))] += line
        self.unsigned += 1

    def open(self, boot: str = "boot1") -> None:
        number = len(self.files)
        previous = None
        if self.files:
            name, data = next(reversed(self.files.items()))
            previous = record.Previous(name, len(data), self.head.records, self.head.hash, self.torn)
        self.files[self.name(number)] = bytearray()
        self.torn = None
        identity = record.Identity("icu", "1.0.0", RELEASE, None, self.pod, boot)
        key = str(self.signer.key) if self.signer else None
        payload = record.Payload("none")
        self._line(
            record.encode(record.Genesis(identity, number, previous, self.promises, key, payload, reserved=True))
        )
        self.checkpoint()

    def checkpoint(self) -> None:
        if self.signer is None:
            return
        self.notes.append(notes.sign(Checkpoint(origin(self.pod), self.head), self.signer))
        self._line(record.encode(record.Checkpoint(self.notes[-1])))
        self.unsigned = 0

    def add(self, body: object) -> None:
        self._line(canonical.encode(body))  # type: ignore[arg-type]
        if self.unsigned >= self.promises.checkpoint_records:
            self.checkpoint()

    def tear(self, rest: bytes) -> None:
        data = self.files[next(reversed(self.files))]
        self.torn = record.Torn(len(data), len(rest), canonical.digest(rest))
        data += rest

    def end(self) -> None:
        self._line(record.encode(record.End("rotation")))
        self.checkpoint()

    def written(self) -> Written:
        return Written({name: bytes(data) for name, data in self.files.items()}, self.notes, self.head)


def a_log(records: int, *, segments: int = 1, signer: Signer | None = None, pod: str = POD) -> Written:
    """A log of ``records`` records in all, genesis and checkpoint records included."""
    writer = Writer(signer, pod)
    share = -(-records // segments)
    for number in range(segments):
        writer.open()
        wanted = min(records, share * (number + 1))
        while writer.head.records < wanted:
            writer.add({"kind": "prediction", "request": f"r-{writer.head.records} @ward", "value": 0.25, "band": "ö"})
    return writer.written()


def segments(files: dict[str, bytes], chunk: int = 1 << 20) -> list[Segment]:
    return [
        Segment(name, int(name.split("-")[-1][:8]), [data[at : at + chunk] for at in range(0, len(data), chunk)])
        for name, data in files.items()
    ]


def judge(
    files: dict[str, bytes],
    *,
    trust: Trust | None = None,
    checkpoints: Sequence[Checkpoint] = (),
    pod: str | None = None,
    partial: bool = False,
    chunk: int = 1 << 20,
) -> Report:
    return verify(segments(files, chunk), trust=trust, checkpoints=checkpoints, pod=pod, partial=partial)

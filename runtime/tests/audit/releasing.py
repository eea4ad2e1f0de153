"""Writes logs of the present format, to be kept for ever: ``python releasing.py DIRECTORY``, once a format.

What was written stays as it is: `test_released` verifies and opens the logs of every released format.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from keys import signer

from bedside_runtime.audit import record
from bedside_runtime.audit.disk import PosixDisk
from bedside_runtime.audit.privacy import Keeper, KeepsHmac, KeepsNothing
from bedside_runtime.audit.reading import EVENT, judge, paths
from bedside_runtime.audit.sealing import KeepsSealed
from bedside_runtime.audit.writer import Settings, Writer
from bedside_runtime.contract import Row, Scalar
from bedside_runtime.inputs import Flag
from bedside_runtime.service import Caller, Entry, Prediction

POD = "icu-7f9c-x1"
RELEASE, IMAGE = "sha256:" + "ab" * 32, "sha256:" + "cd" * 32
NAMES = ("age", "temperature", "Größe", "admission", "ventilated")
ROWS: tuple[Row, ...] = ((63, 37.25, None, "Emergency", False), (17, 1e-7, 1.8e21, 'a "ward" ☃', True))
HMAC_KEY = bytes(range(32))
RECIPIENT = X25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
"""Keys of these logs alone."""

_VALUES: Sequence[Scalar] = (0.148281274557863, 1e-9, 12, True, "malignant")


class _Clock:
    def __init__(self, start: int) -> None:
        self.micros = start

    def utc(self) -> str:
        seconds, micros = divmod(self.micros, 1_000_000)
        return f"2026-11-25T22:{seconds // 60:02d}:{seconds % 60:02d}.{micros:06d}Z"

    def mono(self) -> int:
        self.micros += 1_003
        return self.micros


def _entries(keeper: Keeper) -> Iterator[record.Entry]:
    yield record.encode(record.Lifecycle("start"))
    yield record.encode(record.Lifecycle("ready"))
    for number, value in enumerate(_VALUES):
        flags = (Flag("missing", "Größe"), Flag("outside-expected", "age")) if number % 2 else ()
        outputs = [Prediction(value, "elevated" if number else None, flags)] * (1 + number % 2)
        caller = Caller(f"r-{number}", "ehr" if number else None)
        yield from keeper.entries([Entry(caller, ROWS[: 1 + number % 2], outputs, (120 + number) / 1e6, 3)])
    yield record.encode(record.Refusal("r-refused", "ehr", 422, "invalid-inputs", 77))
    yield record.encode(record.Lifecycle("not-ready", "predict-loop-stalled"))
    yield record.encode(record.Heartbeat(ready=False))


def _boot(directory: Path, boot: str, keeper: Keeper, said: list[str], *, signed: bool) -> Writer:
    identity = record.Identity("icu-mortality", "1.0.0", RELEASE, IMAGE, POD, boot)
    settings = Settings(record.Promises(8, 60.0, 30.0), segment_bytes=4_096, reserve_bytes=4_096, low_water_bytes=0)
    clock = _Clock(len(paths(directory)) * 90_000_000 if directory.is_dir() else 0)
    key = signer() if signed else None
    writer = Writer(
        PosixDisk(directory), identity, settings, clock, keeping=keeper, signer=key, on_checkpoint=said.append
    )
    writer.open()
    for entry in _entries(keeper):
        writer.append([entry])
    return writer


def _tear(directory: Path) -> None:
    last = paths(directory)[-1]
    last.write_bytes(last.read_bytes()[:-100])


def write(directory: Path, made: Callable[[], Keeper], *, signed: bool, torn: bool) -> None:
    """Write one log: a life that a crash tore, one that ended well, and where ``torn`` one more that a crash tore."""
    log, said = directory / POD, list[str]()
    for boot, crashed in (("b0", True), ("b1", False), *([("b2", True)] if torn else [])):
        writer = _boot(log, boot, made(), said, signed=signed)
        if not crashed:
            writer.append([record.encode(record.Lifecycle("drain"))])
            writer.close()
        writer.abandon()
        if crashed:
            _tear(log)
    (log / ".writer.lock").unlink()
    if signed:
        (directory / "stdout").write_text("".join(json.dumps({"event": EVENT, "note": note}) + "\n" for note in said))


def main(directory: Path) -> None:
    write(directory / "none-torn", lambda: KeepsNothing(NAMES, RELEASE, IMAGE), signed=False, torn=True)
    write(directory / "hmac-signed", lambda: KeepsHmac(NAMES, RELEASE, IMAGE, HMAC_KEY), signed=True, torn=False)
    sealed = RECIPIENT.public_key()
    write(directory / "sealed-signed", lambda: KeepsSealed(NAMES, RELEASE, IMAGE, sealed), signed=True, torn=False)
    found = {log.name: msgspec.to_builtins(judge(log / POD)) for log in sorted(directory.iterdir())}
    (directory / "expected.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

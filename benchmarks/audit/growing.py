"""A log of a given size that a crash ended: what a start finds, and what is verified."""

from pathlib import Path
from typing import Final

from bedside_runtime.audit import record
from bedside_runtime.audit.clock import SystemClock
from bedside_runtime.audit.disk import PosixDisk
from bedside_runtime.audit.ed25519 import PrivateKey
from bedside_runtime.audit.reading import paths
from bedside_runtime.audit.writer import Writer
from benchmarks.audit.committing import SETTINGS, Answer

_GROUP: Final = 1_000


def grow(directory: Path, answer: Answer, signing_key: bytes, size: int) -> int:
    """Write a signed log of ``size`` bytes into ``directory``, tear its end, and return how many bytes it has."""
    identity = record.Identity("icu-mortality", "1.0.0", "sha256:" + "ab" * 32, None, directory.name, "before")
    signer = PrivateKey("icu-mortality", signing_key)
    writer = Writer(PosixDisk(directory), identity, SETTINGS, SystemClock(), keeping=answer.keeper, signer=signer)
    writer.open()
    body, written = answer.body(), 0
    while written < size:
        writer.append([body] * _GROUP)
        written = _size(directory)
    writer.abandon()
    last = paths(directory)[-1]
    last.write_bytes(last.read_bytes()[:-100])
    return _size(directory)


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in paths(directory))

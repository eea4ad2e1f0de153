"""Durable records a second, beside the same writes and fdatasyncs with nothing around them."""

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from bedside_runtime import service
from bedside_runtime.audit import record
from bedside_runtime.audit.clock import SystemClock
from bedside_runtime.audit.disk import PosixDisk
from bedside_runtime.audit.log import AuditLog
from bedside_runtime.audit.privacy import KeepsHmac
from bedside_runtime.audit.reading import paths
from bedside_runtime.audit.recorder import AuditRecorder
from bedside_runtime.audit.writer import Settings, Writer
from bedside_runtime.errors import AuditUnavailable

SETTINGS: Final = Settings(low_water_bytes=0)


class Answer(Struct, frozen=True):
    """What is recorded again and again: an answer of a model, and how its inputs are kept."""

    entry: service.Entry
    keeper: KeepsHmac

    def body(self) -> bytes:
        """Return it as canonical bytes, with the HMAC of its inputs."""
        (made,) = self.keeper.entries([self.entry])
        if not isinstance(made, bytes):
            raise TypeError("an HMAC does not wait for its position")
        return made


class Committed(Struct, frozen=True):
    """What one run came to.

    Attributes:
        records: How many were durable in the end.
        seconds: How long that took.
        groups: How many fdatasyncs made them durable.
        raw: Seconds of the same writes and fdatasyncs alone.
    """

    records: int
    seconds: float
    groups: int
    raw: float


def writer(directory: Path, answer: Answer) -> Writer:
    """Return a writer into a new directory, set as a release sets it."""
    identity = record.Identity("icu-mortality", "1.0.0", "sha256:" + "ab" * 32, None, directory.name, "bench")
    return Writer(PosixDisk(directory), identity, SETTINGS, SystemClock(), keeping=answer.keeper)


def log_alone(directory: Path, answer: Answer, callers: int, seconds: float) -> Committed:
    """As many callers as ``callers``, each handing in one more body once its last one is durable: the log alone."""
    body, ended, done = answer.body(), threading.Event(), 0

    def deliver(tickets: Sequence[None], error: AuditUnavailable | None) -> None:
        nonlocal done
        done += len(tickets)
        if error is None and time.monotonic() < deadline:
            log.submit([((body,), None)] * len(tickets))
        else:
            ended.set()

    log: AuditLog[None] = AuditLog(writer(directory, answer), deliver)
    log.open()
    began = time.monotonic()
    deadline = began + seconds
    log.submit([((body,), None)] * callers)
    ended.wait()
    took = time.monotonic() - began
    log.close()
    return _beside_raw(directory, done, took)


def recorded(directory: Path, answer: Answer, callers: int, seconds: float) -> Committed:
    """As the service does it: coroutines of one event loop, which have the body made and wait for the recorder."""
    done, took = asyncio.run(_recorded(directory, answer, callers, seconds))
    return _beside_raw(directory, done, took)


async def _recorded(directory: Path, answer: Answer, callers: int, seconds: float) -> tuple[int, float]:
    recorder = AuditRecorder(writer(directory, answer), answer.keeper, "refuse", lambda _: None)
    await asyncio.to_thread(recorder.open)
    began = time.monotonic()

    async def call() -> int:
        for count in itertools.count():
            if time.monotonic() - began >= seconds:
                return count
            await recorder.record((answer.entry,))
        raise AssertionError("counting does not end")

    done = sum(await asyncio.gather(*(call() for _ in range(callers))))
    took = time.monotonic() - began
    await recorder.close()
    return done, took


def _beside_raw(directory: Path, records: int, seconds: float) -> Committed:
    groups = list(_groups(directory))
    return Committed(records, seconds, len(groups), _raw(directory.with_name(f"{directory.name}-raw"), groups))


def _groups(directory: Path) -> Iterator[int]:
    """The size of every group that the log made durable: its records share one reading of the clock."""
    for path in paths(directory):
        lines = path.read_bytes().splitlines(keepends=True)
        for _, group in itertools.groupby(lines, key=_mono):
            yield sum(map(len, group))


def _mono(line: bytes) -> bytes:
    return line.rpartition(b'"mono":')[2].partition(b",")[0]


def _raw(directory: Path, groups: list[int]) -> float:
    disk = PosixDisk(directory)
    file, size, reserved = disk.create("raw"), 0, 0
    data = b"x" * max(groups)
    began = time.monotonic()
    for group in groups:
        if size + group > reserved:
            reserved = size + group + SETTINGS.reserve_bytes
            file.reserve(reserved)
        file.write(data[:group])
        file.sync()
        size += group
    took = time.monotonic() - began
    file.close()
    disk.close()
    return took

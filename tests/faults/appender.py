"""Appends numbered records to a log and prints each number once it is durable: ``appender.py DIR BOOT FROM COUNT``.

A COUNT of 0 goes on until the process is ended. Exits 4 where the log takes no record.
"""

import sys
from pathlib import Path

from bedside_runtime import canonical
from bedside_runtime.audit import record
from bedside_runtime.audit.clock import SystemClock
from bedside_runtime.audit.disk import PosixDisk
from bedside_runtime.audit.privacy import KeepsNothing
from bedside_runtime.audit.writer import Settings, Writer
from bedside_runtime.errors import AuditUnavailable

SETTINGS = Settings(record.Promises(50, 60.0, 30.0), segment_bytes=6_000, reserve_bytes=4_096, low_water_bytes=0)


def made(directory: Path, boot: str) -> Writer:
    release = "sha256:" + "ab" * 32
    identity = record.Identity("icu", "1.0.0", release, None, directory.name, boot)
    keeping = KeepsNothing([], release, None)
    return Writer(PosixDisk(directory), identity, SETTINGS, SystemClock(), keeping=keeping)


def opened(directory: Path, boot: str) -> Writer:
    writer = made(directory, boot)
    writer.open()
    return writer


def append(writer: Writer, numbers: range) -> list[str]:
    names = [f"r-{number}" for number in numbers]
    writer.append([canonical.encode({"kind": "prediction", "request": name}) for name in names])
    return names


def main(directory: Path, boot: str, start: int, count: int) -> int:
    try:
        writer = opened(directory, boot)
        number = start
        while not count or number < start + count:
            for name in append(writer, range(number, number + 1 + number % 3)):
                print(name, flush=True)
                number += 1
            writer.tick(ready=True)
        writer.close()
    except (AuditUnavailable, OSError):
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))

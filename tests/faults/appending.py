"""Starts appenders, and holds what they left to the one rule: nothing acknowledged is lost."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from appender import append, opened

from bedside_runtime.audit.chain import Record
from bedside_runtime.audit.notes import Checkpoint
from bedside_runtime.audit.reading import judge, paths, segments
from bedside_runtime.audit.verify import Report, Segment, Trust, Verdict, verify

LONG = os.environ.get("BEDSIDE_FAULTS") == "long"
POD = "icu-0"
NO_ALARM = frozenset({Verdict.INTACT, Verdict.TORN_TAIL})
_APPENDER = str(Path(__file__).with_name("appender.py"))


def command(directory: Path, boot: str, start: int, count: int) -> list[str]:
    return [sys.executable, "-I", _APPENDER, str(directory), boot, str(start), str(count)]


def run(arguments: Sequence[str]) -> tuple[int, list[str]]:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stdout.split()


def read(
    directory: Path, trust: Trust | None = None, checkpoints: Sequence[Checkpoint] = ()
) -> tuple[Report, set[str]]:
    """What the log is found to be, and the requests of its predictions: of records that are proved, of no torn one."""
    requests = set[str]()

    def take(_: Segment, item: Record) -> None:
        if item.body["kind"] == "prediction":
            requests.add(item.body["request"])

    return verify(segments(directory), trust=trust, checkpoints=checkpoints, on_record=take), requests


def survived(directory: Path, acknowledged: Sequence[str]) -> Report | None:
    """Assert that all of ``acknowledged`` is there, that a new start goes on behind it, and that no alarm is raised.

    Returns what was found before the new start, ``None`` where there was no log yet.
    """
    before = judge(directory) if directory.exists() and paths(directory) else None
    assert before is None or before.verdict in NO_ALARM, before
    writer = opened(directory, "after")
    further = append(writer, range(100_000, 100_003))
    writer.close()
    writer.abandon()
    after, kept = read(directory)
    assert after.verdict is Verdict.INTACT, after
    assert not {*acknowledged, *further} - kept
    return before

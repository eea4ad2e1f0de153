"""Starts appenders, and holds what they left to the one rule: nothing acknowledged is lost."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from appender import append, opened

from bedside_runtime.audit.reading import judge, paths
from bedside_runtime.audit.verify import Report, Verdict

LONG = os.environ.get("BEDSIDE_FAULTS") == "long"
POD = "icu-0"
_APPENDER = str(Path(__file__).with_name("appender.py"))


def command(directory: Path, boot: str, start: int, count: int) -> list[str]:
    return [sys.executable, "-I", _APPENDER, str(directory), boot, str(start), str(count)]


def run(arguments: Sequence[str]) -> tuple[int, list[str]]:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stdout.split()


def kept(directory: Path) -> list[str]:
    data = b"".join(path.read_bytes() for path in paths(directory))
    return [word.split(b'"')[0].decode() for word in data.split(b'"request":"')[1:] if b'"' in word]


def survived(directory: Path, acknowledged: Sequence[str]) -> Report | None:
    """Assert that all of ``acknowledged`` is there, that a new start goes on behind it, and that no alarm is raised.

    Returns what was found before the new start, ``None`` where there was no log yet.
    """
    before = judge(directory) if directory.exists() and paths(directory) else None
    assert before is None or before.verdict in {Verdict.INTACT, Verdict.TORN_TAIL}, before
    writer = opened(directory, "after")
    further = append(writer, range(100_000, 100_003))
    writer.close()
    writer.abandon()
    after = judge(directory)
    assert after.verdict is Verdict.INTACT, after
    missing = {*acknowledged, *further} - set(kept(directory))
    assert not missing
    return before

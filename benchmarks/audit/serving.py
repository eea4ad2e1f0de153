"""The commands as they are run: verification by the runtime alone, and a start behind a log."""

import contextlib
import hashlib
import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from bedside_runtime.audit.reading import segments

_KIB: Final = 1024
_LOOK: Final = 0.02
"""Seconds between two looks at a process."""


class Verified(Struct, frozen=True):
    """One verification.

    Attributes:
        verdict: What the log was found to be.
        seconds: How long it took, the start of the process included.
        processor_seconds: How much of a processor that took.
        peak: Most memory, bytes.
        sha256_seconds: How long it takes to hash the same files alone.
    """

    verdict: str
    seconds: float
    processor_seconds: float
    peak: int
    sha256_seconds: float


def verify(interpreter: Path, directory: Path, key: Path | None) -> Verified:
    """Verify the log in ``directory`` by the command of the runtime, with signatures where ``key`` is given."""
    words = [str(interpreter), "-m", "bedside_runtime", "audit-verify", str(directory)]
    words += ["--key", str(key)] if key is not None else []
    began, peak, ended = time.monotonic(), 0, 0
    child = subprocess.Popen(words, stdout=subprocess.PIPE)
    while not ended:
        time.sleep(_LOOK)
        peak = max(peak, _peak(child.pid))
        ended, _, used = os.wait4(child.pid, os.WNOHANG)
    took = time.monotonic() - began
    said = child.stdout.read() if child.stdout is not None else b""
    began = time.monotonic()
    for segment in segments(directory):
        digest = hashlib.sha256()
        for chunk in segment.chunks:
            digest.update(chunk)
    processor = used.ru_utime + used.ru_stime
    return Verified(json.loads(said)["verdict"], took, processor, peak, time.monotonic() - began)


def _peak(pid: int) -> int:
    """Most memory of a process so far; what wait4 says includes that of the process that started it."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) * _KIB for line in lines if line.startswith("VmHWM:")), 0)


def seconds_to_ready(words: Sequence[str], environ: Mapping[str, str]) -> float:
    """Start a server, wait until it says that it is ready, and kill it. Seconds from the start of the process."""
    began = time.monotonic()
    with subprocess.Popen(
        list(words), env={**os.environ, **environ}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            for line in child.stderr or ():
                if _event(line) == "ready":
                    return time.monotonic() - began
        finally:
            child.kill()
    raise RuntimeError("the server did not become ready")


def _event(line: str) -> object:
    with contextlib.suppress(ValueError, AttributeError):
        return json.loads(line).get("event")
    return None

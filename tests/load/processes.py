"""Serving processes around the small test model."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHILD = Path(__file__).parents[2] / "runtime" / "tests" / "serve" / "child.py"
_DEADLINE = 60.0


class Process:
    """One of them; see child.py for what may be asked."""

    def __init__(self, log: Path, **asked: Any) -> None:
        self.log = log
        with log.open("w") as stderr:
            self.child = subprocess.Popen([sys.executable, str(CHILD), json.dumps(asked)], stderr=stderr)

    def wait_for(self, event: str) -> dict[str, Any]:
        deadline = time.monotonic() + _DEADLINE
        while time.monotonic() < deadline:
            for line in self.log.read_text().splitlines():
                if line.startswith("{") and (found := json.loads(line))["event"] == event:
                    return dict(found)
            time.sleep(0.02)
        raise AssertionError(f"never {event}: {self.log.read_text()}")

    @property
    def port(self) -> int:
        return int(self.wait_for("listening")["port"])

    @property
    def admin_port(self) -> int:
        return int(self.wait_for("listening")["admin_port"])

    def resident(self) -> int:
        """Bytes of memory."""
        lines = Path(f"/proc/{self.child.pid}/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmRSS:")).split()[1])

    def terminate(self) -> None:
        self.child.send_signal(signal.SIGTERM)


@contextlib.contextmanager
def running(log: Path, **asked: Any) -> Iterator[Process]:
    """Start one and wait until it is ready."""
    process = Process(log, **asked)
    try:
        process.wait_for("ready")
        yield process
    finally:
        process.child.kill()
        process.child.wait(10)

"""A real server process of the small test model, for clients that others wrote."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

CHILD = Path(__file__).parents[2] / "runtime" / "tests" / "serve" / "child.py"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("server") / "log"
    with log.open("w") as stderr, subprocess.Popen([sys.executable, str(CHILD), "{}"], stderr=stderr) as child:
        try:
            yield f"127.0.0.1:{_ready_port(log)}"
        finally:
            child.terminate()
            child.wait(20)


def _ready_port(log: Path) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        events = {event["event"]: event for event in map(json.loads, log.read_text().splitlines())}
        if "ready" in events:
            return int(events["listening"]["port"])
        time.sleep(0.05)
    raise AssertionError(log.read_text())

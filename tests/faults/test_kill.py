"""kill -9 under load: every 200 that a client saw is in the log."""

import contextlib
import http.client
import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from appending import LONG, kept

from bedside_runtime.audit.reading import judge, paths
from bedside_runtime.audit.verify import Verdict

POD = "icu-0"
CYCLES = 1_000 if LONG else 6
CHILD = Path(__file__).parents[2] / "runtime/tests/serve/child.py"
PATIENT = {"age": 63, "temperature": 37.2, "lactate": 1.1, "admission": "Emergency", "ventilated": False}
BODY = json.dumps({"inputs": PATIENT}).encode()


@contextlib.contextmanager
def server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    environment = {
        "PATH": "/usr/bin:/bin",
        "POD_NAME": POD,
        "BEDSIDE_AUDIT_DIRECTORY": str(tmp_path / "log"),
        "BEDSIDE_AUDIT_KEYS": str(tmp_path),
    }
    asked = json.dumps({"audit": {"segment_bytes": 65_536, "low_water_bytes": 0}})
    line = [sys.executable, str(CHILD), asked]
    with subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment) as child:
        port = 0
        assert child.stderr is not None
        for said in child.stderr:
            event = json.loads(said)
            port = event.get("port", port)
            if event["event"] == "ready":
                break
        drain = threading.Thread(target=child.stderr.read, daemon=True)
        drain.start()
        try:
            yield child, port
        finally:
            child.kill()
            drain.join(5)


def ask(port: int, seen: list[str]) -> None:
    """Ask until the server is gone, and remember the id of every answer that arrived whole."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        while True:
            connection.request("POST", "/predict", BODY, {"content-type": "application/json"})
            response = connection.getresponse()
            body = response.read()
            if response.status == 200:
                seen.append(json.loads(body)["id"])


@pytest.mark.timeout(7_200 if LONG else 120)
def test_every_200_that_a_client_saw_is_in_the_log(tmp_path: Path) -> None:
    (tmp_path / "audit-hmac.key").write_text("ab" * 32)
    directory, everything, rng = tmp_path / "log" / POD, set[str](), random.Random(4)
    for cycle in range(CYCLES):
        with server(tmp_path) as (child, port):
            seen: list[list[str]] = [[] for _ in range(8)]
            clients = [threading.Thread(target=ask, args=(port, one)) for one in seen]
            for client in clients:
                client.start()
            time.sleep(rng.uniform(0.01, 0.4))
            child.send_signal(signal.SIGKILL)
            for client in clients:
                client.join(10)
        answered = {item for one in seen for item in one}
        found = set(kept(directory))
        assert not answered - found, cycle
        everything |= answered
        assert judge(directory).verdict in {Verdict.INTACT, Verdict.TORN_TAIL}, cycle
        _keep_short(directory, everything)
    assert len(everything) > CYCLES


def _keep_short(directory: Path, everything: set[str]) -> None:
    """Start a log of its own once in a while, so that a thousand cycles do not verify a thousand segments each."""
    if len(paths(directory)) > 60:
        assert not everything - set(kept(directory))
        everything.clear()
        for path in paths(directory):
            path.unlink()

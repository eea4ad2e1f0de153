"""kill -9 under load: every 200 that a client saw is in the log."""

import contextlib
import http.client
import json
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from appending import LONG, NO_ALARM, read
from keys import pem

from bedside_runtime.audit.ed25519 import PrivateKey
from bedside_runtime.audit.reading import kept, trust
from bedside_runtime.audit.verify import Report, Verdict

POD = "icu-0"
CYCLES = 1_000 if LONG else 6
CHILD = Path(__file__).parents[2] / "runtime/tests/serve/child.py"
PATIENT = {"age": 63, "temperature": 37.2, "lactate": 1.1, "admission": "Emergency", "ventilated": False}
BODY = json.dumps({"inputs": PATIENT}).encode()


@contextlib.contextmanager
def server(tmp_path: Path, checkpoints: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    environment = {
        "PATH": "/usr/bin:/bin",
        "POD_NAME": POD,
        "BEDSIDE_AUDIT_DIRECTORY": str(tmp_path / "log"),
        "BEDSIDE_AUDIT_KEYS": str(tmp_path),
    }
    asked = {"segment_bytes": 65_536, "low_water_bytes": 0, "signed": True, "checkpoint_every": 20}
    line = [sys.executable, str(CHILD), json.dumps({"audit": asked})]
    with (
        checkpoints.open("ab") as out,
        subprocess.Popen(line, stderr=subprocess.PIPE, stdout=out, text=True, env=environment) as child,
    ):
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
def test_every_200_that_a_client_saw_is_in_the_log(tmp_path: Path, figure: Callable[[str, object], None]) -> None:
    """And every checkpoint that left the pod: what was cut off behind it would be seen."""
    told, rng, answers, tears = _Told(tmp_path), random.Random(4), 0, 0
    for cycle in range(CYCLES):
        seen = _killed_under_load(tmp_path, told.checkpoints, rng.uniform(0.01, 0.4))
        answers += len(seen)
        told.answered |= seen
        found = told.holds(cycle)
        tears += found.verdict is Verdict.TORN_TAIL
        if found.segments > 60:  # begin anew, so that a thousand cycles do not verify a thousand segments each
            shutil.rmtree(told.directory)
            told = _Told(tmp_path)
    assert answers > CYCLES
    figure("kill -9 under load", f"{CYCLES:,} cycles, {answers:,} answers seen, 0 lost, {tears:,} torn tails")


def _killed_under_load(tmp_path: Path, checkpoints: Path, seconds: float) -> set[str]:
    """Let eight clients ask, kill the server after ``seconds``, and return the ids of the answers that they saw."""
    seen: list[list[str]] = [[] for _ in range(8)]
    with server(tmp_path, checkpoints) as (child, port):
        clients = [threading.Thread(target=ask, args=(port, one)) for one in seen]
        for client in clients:
            client.start()
        time.sleep(seconds)
        child.send_signal(signal.SIGKILL)
        for client in clients:
            client.join(10)
    return {item for one in seen for item in one}


class _Told:
    """What the outside was told of one log: answers, and checkpoints on stdout."""

    def __init__(self, tmp_path: Path) -> None:
        (tmp_path / "audit-hmac.key").write_text("ab" * 32)
        (tmp_path / "audit-signing.pem").write_bytes(pem(1))
        self.directory = tmp_path / "log" / POD
        self.checkpoints = tmp_path / "stdout"
        self.checkpoints.write_bytes(b"")
        self.answered = set[str]()
        self._trust = trust([str(PrivateKey("icu-test", pem(1)).key)])

    def holds(self, cycle: int) -> Report:
        """Assert that the log has all of it."""
        checkpoints = kept([self.checkpoints], self._trust)[POD]
        found, requests = read(self.directory, self._trust, checkpoints)
        assert found.verdict in NO_ALARM, (cycle, found)
        assert not self.answered - requests, cycle
        return found

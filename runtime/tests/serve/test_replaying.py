"""Asking a real server its golden cases over HTTP, as the proof of an image does from inside the container."""

import contextlib
import hashlib
import itertools
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from served import EXPECTED, PATIENT, QUICK, Switchable, loaded, serving

from bedside_runtime import __main__ as command
from bedside_runtime import canonical, golden
from bedside_runtime import contract as seam
from bedside_runtime.contract import File, Golden
from bedside_runtime.errors import GoldenMismatch, IntegrityError, NeverReady
from bedside_runtime.loading import Loaded
from bedside_runtime.serve import confinement, replaying
from contracts import INPUTS, OUTPUT, contract

CASES = b"".join(
    json.dumps({"id": f"case {number}", "inputs": PATIENT, "expected": EXPECTED}).encode() + b"\n"
    for number in range(7)
)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A release on disk that the small test model can be served as."""
    directory = tmp_path / "app" / "release"
    (directory / "model").mkdir(parents=True)
    files = {"golden.jsonl": CASES, "model/m.joblib": b"a model"}
    for name, data in files.items():
        (directory / name).write_bytes(data)
    made = contract(
        serve=msgspec.structs.replace(QUICK, max_instances=3, self_check_seconds=60.0),
        golden=Golden(path="golden.jsonl", cases=7, tolerance=1e-9),
        files=tuple(
            File(path=name, sha256=hashlib.sha256(data).hexdigest(), size=len(data)) for name, data in files.items()
        ),
    )
    (directory / "contract.json").write_bytes(seam.encode(made))
    return directory


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def served_as(release: Path, predictor: Any = None) -> Loaded:
    data = (release / "contract.json").read_bytes()
    given = loaded(predictor)
    return msgspec.structs.replace(
        given,
        contract=seam.decode(data),
        digest=canonical.digest(data),
        cases=golden.parse(CASES, INPUTS, OUTPUT),
    )


class Counting(Switchable):
    """Remembers how many rows it was asked at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    def predict(self, rows: Any) -> Any:
        self.asked.append(len(rows))
        return super().predict(rows)

    def wait_for_the_self_check(self) -> None:
        deadline = time.monotonic() + 20
        while not self.asked and time.monotonic() < deadline:
            time.sleep(0.01)
        self.asked.clear()


def test_every_case_is_asked_alone_and_together(release: Path) -> None:
    model = Counting()
    with serving(served_as(release, model)) as server:
        model.wait_for_the_self_check()
        replayed = replaying.replay(release, server.port)
    assert replayed.cases == 7
    assert replayed.largest_difference <= 1e-9
    assert model.asked == [1] * 7 + [3, 3, 1]


def test_one_answer_that_differs_is_named_and_refused(release: Path) -> None:
    model = Counting()
    with serving(served_as(release, model)) as server:
        model.wait_for_the_self_check()
        model.change = lambda value: value + 1e-6
        with pytest.raises(GoldenMismatch, match="case 0"):
            replaying.replay(release, server.port)


def test_a_server_of_another_release_is_refused(release: Path) -> None:
    other = msgspec.structs.replace(served_as(release), digest="e" * 64)
    with serving(other) as server, pytest.raises(GoldenMismatch, match="another release"):
        replaying.replay(release, server.port)


def test_a_server_that_refuses_its_release_is_named_with_its_reason(release: Path) -> None:
    def refuse(*_: Any) -> Loaded:
        raise IntegrityError("Jane Canary")

    with serving(refuse) as server, pytest.raises(NeverReady, match="refuses its release: integrity"):
        replaying.replay(release, server.port)


class Worker(BaseHTTPRequestHandler):
    """Says what it is told to."""

    protocol_version = "HTTP/1.1"

    def say(self, status: int, value: dict[str, Any]) -> None:
        said = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None: ...


@contextlib.contextmanager
def answering(worker: type[Worker]) -> Iterator[int]:
    """Answer with ``worker``, one a connection; yields the port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), worker) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_a_server_is_waited_for_until_the_last_of_its_workers_has_started(release: Path) -> None:
    class OneOfTwo(Worker):
        def do_GET(self) -> None:
            if self.path == "/readyz":
                self.say(200, {"status": "ready", "reason": "ready", "ready": True})
            else:
                self.say(503, {"status": "ready", "reason": "verifying"})

    with answering(OneOfTwo) as port, pytest.raises(NeverReady, match="not ready in time: verifying"):
        replaying.replay(release, port, within=1.5)


def test_cases_are_asked_where_it_was_said_that_the_server_has_started(release: Path) -> None:
    """The second connection goes to a worker that is still loading."""
    connections = itertools.count(1)

    class Loading(Worker):
        def setup(self) -> None:
            super().setup()
            self.loads = next(connections) == 2

        def do_GET(self) -> None:
            if self.loads:
                self.say(503, {"status": "loading", "reason": "loading", "ready": False})
            else:
                self.say(200, {"status": "ready", "reason": "started", "ready": True})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.say(503, {"reason": "asked-for-a-case"})

    asked = "POST /predict is answered 503: asked-for-a-case"
    with answering(Loading) as port, pytest.raises(GoldenMismatch, match=asked):
        replaying.replay(release, port)


def test_a_server_that_is_not_there_is_waited_for_and_no_longer(release: Path, unused_port: int) -> None:
    with pytest.raises(NeverReady, match="not ready in time: nothing listens"):
        replaying.replay(release, unused_port, within=0.2)


def test_a_release_that_changed_under_a_ready_server_is_refused(release: Path) -> None:
    with serving(served_as(release)) as server:
        (release / "model" / "m.joblib").write_bytes(b"b model")
        with pytest.raises(IntegrityError):
            replaying.replay(release, server.port)


def test_the_command_says_what_was_asked_and_what_the_process_runs_in(
    release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(served_as(release)) as server:
        assert command.main(["replay", str(release), "--port", str(server.port), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["replayed"]["cases"] == 7
    assert said["environment"]["implementation"] == "cpython"
    assert said["confinement"]["memory_peak"] > 0


def test_files_that_the_server_s_user_owns_or_may_write_are_named(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("")
    (tmp_path / "kept").chmod(0o644)
    (tmp_path / "open").write_text("")
    (tmp_path / "open").chmod(0o666)
    tmp_path.chmod(0o755)
    found = confinement._writable(tmp_path, os.getuid() + 1, os.getgid() + 1)
    assert list(found) == [str(tmp_path / "open")]
    assert str(tmp_path / "kept") in list(confinement._writable(tmp_path, os.getuid(), os.getgid()))

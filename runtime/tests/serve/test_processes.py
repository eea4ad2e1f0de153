"""A real process with real signals."""

import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from served import PATIENT

CHILD = Path(__file__).with_name("child.py")
SLOW = json.dumps({"inputs": PATIENT | {"age": 99}})


class Running:
    def __init__(self, log: Path, **asked: Any) -> None:
        self.log = log
        with log.open("w") as stderr:
            self.child = subprocess.Popen([sys.executable, str(CHILD), json.dumps(asked)], stderr=stderr)

    def wait_for(self, event: str) -> dict[str, Any]:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            for line in self.log.read_text().splitlines():
                if line.startswith("{") and (found := json.loads(line))["event"] == event:
                    return dict(found)
            time.sleep(0.02)
        raise AssertionError(f"never {event}: {self.log.read_text()}")

    def signal(self) -> None:
        self.child.send_signal(signal.SIGTERM)

    def ask(
        self, method: str = "GET", path: str = "/readyz", body: str | None = None, *, admin: bool = False
    ) -> tuple[int, Any]:
        port = self.wait_for("listening")["admin_port" if admin else "port"]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body, {"content-type": "application/json"})
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def metric(self, name: str) -> float:
        connection = http.client.HTTPConnection("127.0.0.1", self.wait_for("listening")["admin_port"], timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE))

    def ask_slowly(self) -> tuple[threading.Thread, list[tuple[int, Any]]]:
        """Ask on a thread, and return once the request is in flight."""
        before = self.metric("bedside_requests_in_flight")
        answers: list[tuple[int, Any]] = []
        thread = threading.Thread(target=lambda: answers.append(self.ask("POST", "/predict", SLOW)))
        thread.start()
        until(lambda: self.metric("bedside_requests_in_flight") > before)
        return thread, answers


def until(condition: Callable[[], bool], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def made(path: Path) -> Path:
    """A file that has a child wait while it is there."""
    path.touch()
    return path


@contextlib.contextmanager
def running(tmp_path: Path, **asked: Any) -> Iterator[Running]:
    process = Running(tmp_path / "log", **asked)
    try:
        yield process
    finally:
        process.child.kill()
        process.child.wait(10)


def test_sigterm_finishes_what_is_in_flight_and_exits_0(tmp_path: Path) -> None:
    held = made(tmp_path / "held")
    with running(tmp_path, holds_where=str(held), serve={"shutdown_seconds": 60.0}) as process:
        process.wait_for("ready")
        thread, answers = process.ask_slowly()
        process.signal()
        process.wait_for("draining")
        held.unlink()
        assert process.child.wait(50) == 0
        thread.join(60)
        assert answers[0][0] == 200
        with pytest.raises(ConnectionRefusedError):
            process.ask()


def test_a_prediction_that_outlasts_the_grace_does_not_hold_the_process(tmp_path: Path) -> None:
    with running(tmp_path, predict_seconds=60.0, serve={"shutdown_seconds": 1.0}) as process:
        process.wait_for("ready")
        thread, answers = process.ask_slowly()
        started = time.monotonic()
        process.signal()
        assert process.child.wait(10) == 0
        assert time.monotonic() - started < 8
        thread.join(60)
        assert [(status, problem["reason"]) for status, problem in answers] == [(503, "draining")]


def test_while_draining_it_answers_and_says_that_it_is_not_ready(tmp_path: Path) -> None:
    with running(tmp_path, serve={"drain_seconds": 5.0}) as process:
        process.wait_for("ready")
        process.signal()
        process.wait_for("draining")
        assert process.ask()[1]["reason"] == "draining"
        assert process.ask("POST", "/predict", json.dumps({"inputs": PATIENT}))[0] == 200
        assert process.child.wait(60) == 0


def test_a_second_sigterm_ends_it_at_once(tmp_path: Path) -> None:
    with running(tmp_path, serve={"drain_seconds": 60.0}) as process:
        process.wait_for("ready")
        process.signal()
        process.wait_for("draining")
        process.signal()
        assert process.child.wait(5) == 1


def test_a_second_sigterm_does_not_wait_for_a_prediction(tmp_path: Path) -> None:
    with running(tmp_path, predict_seconds=60.0, serve={"shutdown_seconds": 60.0}) as process:
        process.wait_for("ready")
        with socket.create_connection(("127.0.0.1", process.wait_for("listening")["port"]), timeout=10) as asking:
            fields = f"Host: h\r\nContent-Type: application/json\r\nContent-Length: {len(SLOW)}"
            asking.sendall(f"POST /predict HTTP/1.1\r\n{fields}\r\n\r\n{SLOW}".encode())
            until(lambda: process.metric("bedside_requests_in_flight") > 0)
            process.signal()
            process.wait_for("draining")
            process.signal()
            assert process.child.wait(5) == 1


def test_connections_are_refused_after_the_lag_while_a_prediction_is_still_in_flight(tmp_path: Path) -> None:
    held = made(tmp_path / "held")
    with running(tmp_path, holds_where=str(held), serve={"drain_seconds": 3.0, "shutdown_seconds": 60.0}) as process:
        process.wait_for("ready")
        thread, answers = process.ask_slowly()
        process.signal()
        process.wait_for("draining")
        assert process.ask()[0] == 503
        until(lambda: is_refused(process))
        assert answers == []
        held.unlink()
        thread.join(60)
        assert answers[0][0] == 200
        assert process.child.wait(60) == 0


def is_refused(process: Running) -> bool:
    try:
        process.ask()
    except ConnectionRefusedError:
        return True
    except (ConnectionError, http.client.HTTPException):  # it had knocked already
        pass
    return False


def test_sigterm_while_loading_does_not_wait_for_the_load(tmp_path: Path) -> None:
    with running(tmp_path, load_seconds=60.0) as process:
        process.wait_for("listening")
        assert process.ask()[1]["reason"] == "loading"
        process.signal()
        assert process.child.wait(5) == 0


def test_a_failed_load_exits_non_zero_after_its_grace_and_says_only_its_code(tmp_path: Path) -> None:
    with running(tmp_path, fail=True, serve={"failed_exit_seconds": 0.5}) as process:
        assert process.wait_for("failed")["reason"] == "golden-mismatch"
        assert process.child.wait(60) == 3
    assert "Canary" not in (tmp_path / "log").read_text()


def test_sigterm_ends_a_failed_process_at_once_and_non_zero(tmp_path: Path) -> None:
    with running(tmp_path, fail=True) as process:
        process.wait_for("failed")
        process.signal()
        assert process.child.wait(5) == 3


def test_a_port_that_is_taken_is_a_clear_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with running(tmp_path, port=port) as process:
            assert process.child.wait(60) == 4
    assert f"port {port} on 127.0.0.1 cannot be listened on" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("option", ["--port", "--admin-port"])
def test_the_command_names_the_port_that_is_taken_and_a_remedy(tmp_path: Path, option: str) -> None:
    other = {"--port": "--admin-port", "--admin-port": "--port"}[option]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "bedside_runtime", "serve", str(tmp_path), option, port, other, "0"]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 4
    assert f"port {port} on 127.0.0.1 cannot be listened on: Address already in use\nremedy: " in ended.stderr
    assert "Traceback" not in ended.stderr


def test_probes_answer_while_a_prediction_blocks(tmp_path: Path) -> None:
    held = made(tmp_path / "held")
    with running(tmp_path, holds_where=str(held)) as process:
        process.wait_for("ready")
        thread, answers = process.ask_slowly()
        assert process.ask("GET", "/livez")[0] == 200
        assert process.ask("GET", "/readyz")[0] == 200
        assert answers == []
        held.unlink()
        thread.join(60)
        assert answers[0][0] == 200


def test_who_sends_many_requests_in_one_piece_takes_turns_with_others(tmp_path: Path) -> None:
    """The process stands still while both send, so that it finds all of it at once."""
    request = b"POST /predict HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    with running(tmp_path) as process:
        process.wait_for("ready")
        address = "127.0.0.1", process.wait_for("listening")["port"]
        with contextlib.ExitStack() as stack:
            greedy, *modest = [stack.enter_context(socket.create_connection(address, 15)) for _ in range(6)]
            for connection in (greedy, *modest):
                connection.sendall(request)
                connection.recv(65536)
            process.child.send_signal(signal.SIGSTOP)
            greedy.sendall(request * 400)
            for connection in modest:
                connection.sendall(request)
            process.child.send_signal(signal.SIGCONT)
            theirs = _identities(greedy, 400)
            last = max(_identities(connection, 1)[0] for connection in modest)
        assert theirs == sorted(theirs)
        assert sum(identity < last for identity in theirs) < 200


def _identities(connection: socket.socket, count: int) -> list[str]:
    """Return the ids of so many answers; a process counts them up."""
    received = b""
    while received.count(b"}") < count or len(found := re.findall(rb"x-request-id: ([0-9a-f]+)", received)) < count:
        received += connection.recv(65536)
    return [identity.decode() for identity in found]


def test_the_duration_of_an_answer_is_measured_finer_than_the_loop_s_own_clock(tmp_path: Path) -> None:
    with running(tmp_path) as process:
        process.wait_for("ready")
        assert process.ask("POST", "/predict", json.dumps({"inputs": PATIENT}))[0] == 200
        port = process.wait_for("listening")["admin_port"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=15) as answer:
            text = answer.read().decode()
        line = next(line for line in text.splitlines() if "duration_seconds_sum" in line and "/predict" in line)
        milliseconds = float(line.rsplit(" ", 1)[1]) * 1000
        assert milliseconds > 0
        assert milliseconds != round(milliseconds, 6)


def test_an_idle_connection_is_closed_when_the_process_stops(tmp_path: Path) -> None:
    with running(tmp_path) as process:
        process.wait_for("ready")
        with socket.create_connection(("127.0.0.1", process.wait_for("listening")["port"]), timeout=10) as idle:
            idle.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            received = b""
            while not received.endswith(b"}"):
                received += idle.recv(65536)
            process.signal()
            assert idle.recv(65536) == b""
        assert process.child.wait(10) == 0

"""The load tool against a server that answers some and refuses some."""

import http.server
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import load


class Picky(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200 if asked["good"] else 503)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Picky) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_good_answers_and_refusals_are_told_apart(url: str, tmp_path: Path) -> None:
    bodies = tmp_path / "bodies"
    bodies.write_text('{"good": true}\n{"good": false}\n{"good": true}\n')
    began = time.monotonic()
    found = load.run(url, bodies, connections=4, seconds=1)
    took = time.monotonic() - began
    assert found.requests > found.refused > 0
    assert found.broken == 0
    assert 0 < found.p50 <= found.p90 <= found.p99 <= found.longest
    assert 0.9 < found.microseconds / 1e6 < took


def test_a_server_that_is_not_there_is_no_measurement(tmp_path: Path) -> None:
    bodies = tmp_path / "bodies"
    bodies.write_text("{}\n")
    with pytest.raises(load.LoadFailed, match="wrk ended with 1"):
        load.run("http://127.0.0.1:1/", bodies, connections=1, seconds=1)


def test_refused_answers_are_no_good_ones() -> None:
    said = (
        'Running\n\n{"requests": 100, "microseconds": 2000000, "refused": 40, "broken": 1, '
        '"p50": 1, "p90": 2, "p99": 3, "longest": 4}\n'
    )
    found = load.parse(said)
    assert (found.requests, found.refused, found.per_second) == (60, 40, 30.0)


def test_a_server_that_refuses_everything_is_no_measurement(url: str, tmp_path: Path) -> None:
    bodies = tmp_path / "bodies"
    bodies.write_text('{"good": false}\n')
    with pytest.raises(load.LoadFailed, match="no good answer"):
        load.run(url, bodies, connections=1, seconds=0.5)


def test_however_short_a_load_it_is_measured(url: str, tmp_path: Path) -> None:
    bodies = tmp_path / "bodies"
    bodies.write_text('{"good": true}\n')
    assert (
        load.run(url, bodies, connections=1, seconds=0.0).requests > 0
    )  # asked to end before it starts, wrk would die


def test_the_load_is_made_on_the_last_core_and_nothing_else_is() -> None:
    cores = os.sched_getaffinity(0)
    with load._on_last_core():
        assert os.sched_getaffinity(0) == {max(cores)}
    assert os.sched_getaffinity(0) == cores

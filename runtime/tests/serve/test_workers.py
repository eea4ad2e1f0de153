"""Several real processes behind one port, with real signals."""

import contextlib
import http.client
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served import PATIENT
from test_processes import Running, made, running, until

from bedside_runtime.audit import reading

ASKING = json.dumps({"inputs": PATIENT})


@contextlib.contextmanager
def several(tmp_path: Path, **asked: Any) -> Iterator[Running]:
    """Two workers; what is left of them is killed with the process that started them."""
    asked["serve"] = {"workers": 2, **asked.get("serve", {})}
    with running(tmp_path, **asked) as process:
        yield process


def children(process: Running) -> list[int]:
    return [
        int(pid) for pid in Path(f"/proc/{process.child.pid}/task/{process.child.pid}/children").read_text().split()
    ]


def counted(process: Running, name: str, value: float) -> None:
    """Wait until the metric has that value: what a worker says half a second late is in the next scrape."""
    until(lambda: process.metric(name) == value)


def all_ready(process: Running) -> None:
    process.wait_for("listening")
    counted(process, "bedside_workers_ready", 2)


def test_connections_go_to_both_in_turn_and_the_metrics_are_one_view(tmp_path: Path) -> None:
    with several(tmp_path) as process:
        all_ready(process)
        ids = [process.ask("POST", "/predict", ASKING)[1]["id"] for _ in range(10)]
        assert len({identity[:16] for identity in ids}) == 2  # the part that is a process's own
        counted(process, "bedside_predictions_total", 10)
        assert process.metric("bedside_ready") == 1
        assert process.metric("bedside_worker_restarts_total") == 0


def test_a_worker_that_is_killed_is_replaced_and_nobody_notices(tmp_path: Path) -> None:
    loading = tmp_path / "loading"
    with several(tmp_path, loads_where=str(loading)) as process:
        all_ready(process)
        for _ in range(6):
            assert process.ask("POST", "/predict", ASKING)[0] == 200
        counted(process, "bedside_predictions_total", 6)
        made(loading)
        victim = children(process)[0]
        os.kill(victim, signal.SIGKILL)
        until(lambda: not Path(f"/proc/{victim}").exists())
        asked = 6
        while process.log.read_text().count('"event":"ready"') < 3:
            assert process.ask("POST", "/predict", ASKING)[0] == 200
            assert process.ask()[0] == 200
            asked += 1
            if asked == 11:
                loading.unlink()
        assert asked > 10
        counted(process, "bedside_predictions_total", asked)
        assert process.metric("bedside_worker_restarts_total") == 1


def test_a_start_that_fails_ends_all_with_its_exit_code_and_its_reason(tmp_path: Path) -> None:
    with several(tmp_path, fail=True, serve={"failed_exit_seconds": 6.0}) as process:
        process.wait_for("failed")
        until(lambda: process.ask(admin=True)[1]["status"] == "failed")
        assert process.ask(admin=True)[1]["reason"] == "golden-mismatch"
        assert process.ask(path="/startupz")[0] == 503
        assert process.child.wait(60) == 3


def test_the_reason_of_a_start_that_fails_stands_until_all_have_ended(tmp_path: Path) -> None:
    with several(tmp_path, fail=True, serve={"failed_exit_seconds": 3.0}) as process:
        process.wait_for("failed")
        until(lambda: process.ask(admin=True)[1]["status"] == "failed")
        with contextlib.suppress(ConnectionError, http.client.HTTPException):
            while process.child.poll() is None:
                report = process.ask(admin=True)[1]
                assert (report["status"], report["reason"]) == ("failed", "golden-mismatch")
        said = [json.loads(line) for line in process.log.read_text().splitlines()]
        assert {line["reason"] for line in said if line["event"] == "failed"} == {"golden-mismatch"}


def test_a_replacement_that_cannot_start_does_not_end_those_who_answer(tmp_path: Path) -> None:
    mark = tmp_path / "fail"
    with several(tmp_path, fail_where=str(mark), serve={"failed_exit_seconds": 0.0}) as process:
        all_ready(process)
        mark.touch()
        os.kill(children(process)[0], signal.SIGKILL)
        until(lambda: process.log.read_text().count('"event":"worker-ended"') >= 3)
        assert process.ask("POST", "/predict", ASKING)[0] == 200
        mark.unlink()
        all_ready(process)


def test_sigterm_finishes_what_is_in_flight_in_every_worker_and_exits_0(tmp_path: Path) -> None:
    held = made(tmp_path / "held")
    with several(tmp_path, holds_where=str(held), serve={"drain_seconds": 5.0}) as process:
        all_ready(process)
        first, second = process.ask_slowly(), process.ask_slowly()
        process.signal()
        process.wait_for("draining")
        until(lambda: process.ask()[1]["reason"] == "draining")
        assert first[1] == second[1] == []
        held.unlink()
        assert process.ask("POST", "/predict", ASKING)[0] == 200
        assert process.child.wait(60) == 0
        for thread, answers in (first, second):
            thread.join(60)
            assert answers[0][0] == 200
        with pytest.raises(ConnectionRefusedError):
            process.ask()


def test_a_second_sigterm_ends_them_all_at_once(tmp_path: Path) -> None:
    with several(tmp_path, serve={"drain_seconds": 60.0}) as process:
        all_ready(process)
        workers = children(process)
        process.signal()
        process.wait_for("draining")
        process.signal()
        assert process.child.wait(5) == 1
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


def test_workers_end_when_the_process_that_listens_is_killed(tmp_path: Path) -> None:
    with several(tmp_path, serve={"drain_seconds": 0.2}) as process:
        all_ready(process)
        workers = children(process)
        process.child.kill()
        process.child.wait(10)
        until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in workers), 10)


def test_each_worker_has_an_audit_log_of_its_own(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    audit = {"path": str(logs), "payload": "none", "low_water_bytes": 0}
    with several(tmp_path, audit=audit) as process:
        all_ready(process)
        for _ in range(6):
            assert process.ask("POST", "/predict", ASKING)[0] == 200
        process.signal()
        assert process.child.wait(60) == 0
    pods = sorted(logs.iterdir())
    assert [pod.name[-2:] for pod in pods] == ["-0", "-1"]
    assert [reading.judge(pod).verdict for pod in pods] == ["intact", "intact"]
    recorded = [sum(part.read_text().count('"prediction"') for part in pod.glob("*.jsonl")) for pod in pods]
    assert sum(count > 0 for count in recorded) == 2


@pytest.mark.faults
def test_a_worker_that_hangs_gets_no_connection_and_is_replaced(tmp_path: Path) -> None:
    with several(tmp_path) as process:
        all_ready(process)
        os.kill(children(process)[0], signal.SIGSTOP)
        time.sleep(6)
        for _ in range(6):
            assert process.ask("POST", "/predict", ASKING)[0] == 200
        until(lambda: process.metric("bedside_worker_restarts_total") == 1, 45)

import contextlib
import errno
import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from bypasses import request
from served import ENGINES, PATIENT, QUICK, Served, Switchable, loaded, serving
from wire import dialled, rest, statuses

from bedside_runtime.audit.log import AuditLog
from bedside_runtime.audit.reading import judge, paths
from bedside_runtime.audit.recorder import AuditRecorder
from bedside_runtime.audit.verify import Report, Verdict
from bedside_runtime.contract import Audit, EngineName, Serve
from bedside_runtime.loading import Loaded

POD = "icu-7f9c-x1"
REQUEST = request(b"Connection: close")
STALLED_AFTER = "bedside_runtime.audit.log.STALLED_AFTER"


_engine: EngineName | Literal["native"] = "native"
"""Each test is run with every one of them."""


@pytest.fixture(autouse=True, params=ENGINES)
def _mounted(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "_engine", request.param)
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "audit-hmac.key").write_text("ab" * 32)
    monkeypatch.setenv("BEDSIDE_AUDIT_KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("BEDSIDE_AUDIT_DIRECTORY", str(tmp_path / "log"))
    monkeypatch.setenv("POD_NAME", POD)


def audited(
    predictor: Any = None,
    engine: EngineName | Literal["native"] | None = None,
    serve: Serve = QUICK,
    **settings: Any,
) -> Loaded:
    made = loaded(predictor, serve, engine or _engine)
    return msgspec.structs.replace(made, contract=msgspec.structs.replace(made.contract, audit=Audit(**settings)))


def files(tmp_path: Path) -> list[Path]:
    return paths(tmp_path / "log" / POD)


def records(tmp_path: Path) -> Iterator[dict[str, Any]]:
    for path in files(tmp_path):
        for line in path.read_bytes().splitlines():
            yield json.loads(line)["body"]


def verdict(tmp_path: Path) -> Report:
    return judge(tmp_path / "log" / POD)


def break_the_log(tmp_path: Path) -> None:
    for path in files(tmp_path):
        path.unlink()


def test_every_answer_is_in_the_log_when_it_arrives(tmp_path: Path) -> None:
    with serving(audited()) as served:
        for _ in range(5):
            status, answered = served.post({"inputs": PATIENT})
            assert status == 200
            (found,) = [item for item in records(tmp_path) if item.get("request") == answered["id"]]
            assert found["kind"] == "prediction"
            assert found["outputs"][0]["value"] == answered["predictions"][0]["value"]
            assert found["release"] == answered["release"]["digest"]
            assert served.get("/readyz")[1]["audit"] == "open"
        assert served.stop() == 0
    assert verdict(tmp_path).verdict is Verdict.INTACT
    assert verdict(tmp_path).closed
    events = [item["event"] for item in records(tmp_path) if item["kind"] == "lifecycle"]
    assert events == ["start", "ready", "drain"]


def test_answers_of_the_inference_protocol_are_in_the_log_too(tmp_path: Path) -> None:
    kinds = {"age": "INT64", "temperature": "FP64", "lactate": "FP64", "admission": "BYTES", "ventilated": "BOOL"}
    tensors = [
        {"name": name, "shape": [1, 1], "datatype": kind, "data": [PATIENT[name]]} for name, kind in kinds.items()
    ]
    with serving(audited()) as served:
        status, answered = served.post({"inputs": tensors}, "/v2/models/icu-test/infer")
        assert status == 200
        assert [item for item in records(tmp_path) if item.get("request") == answered["id"]]


def test_a_refusal_is_in_the_log_with_its_code(tmp_path: Path) -> None:
    with serving(audited()) as served:
        served.post({"inputs": PATIENT | {"age": 1000}})
        served.post(b"{")
        served.post({"inputs": PATIENT}, **{"content-type": "text/plain"})
    found = [(item["code"], item["status"]) for item in records(tmp_path) if item["kind"] == "refusal"]
    assert found == [("invalid-inputs", 422), ("bad-json", 400), ("media-type", 415)]


def test_a_log_that_fails_ends_the_service(tmp_path: Path) -> None:
    with serving(audited()) as served:
        break_the_log(tmp_path)
        status, body = served.post({"inputs": PATIENT})
        assert (status, body["code"]) == (503, "audit-unavailable")
        served.wait_for("failed", reason="audit-unavailable")
        served.wait_for("stopped", exit_code=4)


def test_a_log_that_fails_with_its_first_record_ends_the_start_for_that_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = AuditRecorder.open

    def opened_and_lost(recorder: AuditRecorder) -> None:
        opened(recorder)
        break_the_log(tmp_path)

    monkeypatch.setattr(AuditRecorder, "open", opened_and_lost)
    with serving(loading_audited) as served:
        assert served.wait_for("stopped")["exit_code"] == 4
        assert [event["reason"] for event in served.events() if event["event"] == "failed"] == ["audit-unavailable"]
        assert "load-failed" not in {event["event"] for event in served.events()}


def three_are_answered_unrecorded(served: Served) -> None:
    assert [served.post({"inputs": PATIENT})[0] for _ in range(3)] == [200, 200, 200]
    status, body = served.get("/readyz")
    assert (status, body["audit"]) == (200, "answering-unrecorded")
    _, _, metrics = served.request("GET", "/metrics", admin=True)
    assert b"bedside_audit_unrecorded_answers_total 3.0" in metrics
    assert b"bedside_audit_ok 0.0" in metrics


def test_with_answer_and_alarm_a_log_that_fails_is_seen_and_patients_are_answered(tmp_path: Path) -> None:
    with serving(audited(on_failure="answer-and-alarm")) as served:
        break_the_log(tmp_path)
        three_are_answered_unrecorded(served)
        assert served.stop() == 4


class Syncs:
    """The syncs of the log: one can be held up, and those behind it fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._sync = os.fdatasync
        self._held: deque[threading.Event] = deque()
        self._fail = self._fails_next = False
        self.holds, self.goes_on = threading.Event(), threading.Event()
        monkeypatch.setattr(os, "fdatasync", self._asked)

    def hold_the_next(self, *, and_fail_all_others: bool = False) -> None:
        self._fails_next = and_fail_all_others
        self._held.append(self.goes_on)

    def _asked(self, descriptor: int) -> None:
        if self._held:
            self._fail = self._fails_next
            self._held.popleft()
            self.holds.set()
            assert self.goes_on.wait(60)
        elif self._fail:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._sync(descriptor)


@pytest.fixture
def handed_in(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many entries the log was handed at once, each time."""
    found: list[int] = []
    submit = AuditLog.submit

    def submitted(log: Any, entries: Any) -> None:
        found.append(sum(len(together) for together, _ in entries))
        submit(log, entries)

    monkeypatch.setattr(AuditLog, "submit", submitted)
    return found


MEMBERS = 8


def group(
    served: Served, syncs: Syncs, handed_in: list[int]
) -> tuple[list[tuple[int, bytes]], list[tuple[int, bytes]]]:
    """Let one be recorded, and meanwhile others wait as one group, whose sync fails. Returns all answers."""
    with contextlib.ExitStack() as stack:
        asking = [stack.enter_context(dialled(served, 60)) for _ in range(1 + MEMBERS)]
        syncs.hold_the_next(and_fail_all_others=True)
        asking[0].sendall(REQUEST)
        assert syncs.holds.wait(60)
        handed_in.clear()
        for connection in asking[1:]:
            connection.sendall(REQUEST)
        wait_until(lambda: sum(handed_in) == MEMBERS)
        syncs.goes_on.set()
        answers = [rest(connection) for connection in asking]
    said = [(statuses(answer)[0], answer) for answer in answers]
    return said[:1], said[1:]


def test_nobody_whose_group_is_not_durable_is_answered_and_the_process_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, handed_in: list[int]
) -> None:
    syncs = Syncs(monkeypatch)
    with serving(audited(Switchable())) as served:
        first, members = group(served, syncs, handed_in)
        assert [status for status, _ in first] == [200]
        assert [status for status, _ in members] == [503] * MEMBERS
        assert all(b'"code":"audit-unavailable"' in answer for _, answer in members)
        served.wait_for("audit-failed")
        served.wait_for("failed", reason="audit-unavailable", exit_code=4)
        report = served.process.report()
        assert (report.ready, report.reason, report.audit) == (False, "audit-unavailable", "failed")
        served.wait_for("stopped", exit_code=4)
        assert served.stop() == 4
    written = [item["kind"] for item in records(tmp_path)]
    assert written.count("prediction") == 1 + MEMBERS, "they were one group: behind it nothing is written any more"
    assert verdict(tmp_path).verdict is Verdict.INTACT
    assert not verdict(tmp_path).closed


def test_with_answer_and_alarm_a_group_that_is_not_durable_is_answered_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, handed_in: list[int]
) -> None:
    syncs = Syncs(monkeypatch)
    with serving(audited(Switchable(), on_failure="answer-and-alarm")) as served:
        first, members = group(served, syncs, handed_in)
        assert [status for status, _ in first + members] == [200] * (1 + MEMBERS)
        _, _, metrics = served.request("GET", "/metrics", admin=True)
        assert b"bedside_audit_unrecorded_answers_total %d.0" % MEMBERS in metrics
        assert served.stop() == 4
    assert verdict(tmp_path).verdict is Verdict.INTACT


def test_little_space_is_not_ready_and_is_recorded_all_the_same(tmp_path: Path) -> None:
    with serving(audited(low_water_bytes=1 << 62)) as served:
        wait_until(lambda: served.get("/readyz")[0] != 200)
        assert served.get("/readyz") == (
            503,
            {"status": "ready", "reason": "recorder-unavailable", "ready": False, "audit": "space-low", "keys": "none"},
        )
        assert served.post({"inputs": PATIENT})[0] == 200


def changes(tmp_path: Path) -> list[tuple[str, str | None]]:
    return [(item["event"], item["reason"]) for item in records(tmp_path) if item["kind"] == "lifecycle"]


def wait_until(said: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not said() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert said()


def test_every_change_of_readiness_is_in_the_log_whatever_it_comes_from(tmp_path: Path) -> None:
    model = Switchable()
    checked = msgspec.structs.replace(QUICK, self_check_seconds=1.0)
    with serving(audited(model, "native", checked)) as served:  # no other can stall
        model.gate.clear()
        wait_until(lambda: ("not-ready", "predict-loop-stalled") in changes(tmp_path))
        model.gate.set()
        wait_until(lambda: changes(tmp_path)[-1] == ("ready", None))
        model.change = lambda value: value + 0.1
        served.wait_for("failed", reason="golden-mismatch")
        wait_until(lambda: changes(tmp_path)[-1] == ("not-ready", "golden-mismatch"))
    assert [event for event, _ in changes(tmp_path)] == ["start", "ready", "not-ready", "ready", "not-ready", "drain"]
    assert verdict(tmp_path).verdict is Verdict.INTACT


def test_a_disk_that_hangs_is_not_ready_and_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = Syncs(monkeypatch)
    with serving(audited()) as served, dialled(served, 60) as asking, dialled(served, 60) as wrong:
        monkeypatch.setattr(STALLED_AFTER, 0.5)  # a start may take longer on a busy disk
        syncs.hold_the_next()
        asking.sendall(REQUEST)
        assert syncs.holds.wait(60)
        wrong.sendall(request(b"Connection: close", body=b"{"))
        told = rest(asking)
        assert statuses(told) == [503]
        assert b'"code":"audit-unavailable"' in told
        assert b"retry-after" in told.lower()
        assert statuses(rest(wrong)) == [400]
        assert served.post({"inputs": PATIENT})[1]["code"] == "audit-unavailable"
        _, said = served.get("/readyz")
        assert (said["reason"], said["audit"]) == ("recorder-unavailable", "stalled")
        assert served.get("/livez")[0] == 200
        syncs.goes_on.set()
        wait_until(lambda: served.get("/readyz")[0] == 200)
        monkeypatch.setattr(STALLED_AFTER, 60.0)  # and so may this
        assert served.post({"inputs": PATIENT})[0] == 200
    assert ("not-ready", "recorder-unavailable") in changes(tmp_path)
    assert verdict(tmp_path).verdict is Verdict.INTACT
    asked = [(item["kind"], item.get("code"), item["request"]) for item in records(tmp_path) if "request" in item]
    (kind, _, first), *others = asked
    assert kind == "prediction"
    assert ("refusal", "audit-unavailable", first) in others, "it was recorded, and nobody was told"
    assert sorted(code for _, code, _ in others if code) == ["audit-unavailable", "audit-unavailable", "bad-json"]
    assert [kind for kind, _, _ in others].count("prediction") == 1


def test_with_answer_and_alarm_a_disk_that_hangs_is_seen_and_patients_are_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs = Syncs(monkeypatch)
    with serving(audited(on_failure="answer-and-alarm")) as served:
        monkeypatch.setattr(STALLED_AFTER, 0.5)
        syncs.hold_the_next()
        three_are_answered_unrecorded(served)
        syncs.goes_on.set()
        wait_until(lambda: served.get("/readyz")[1]["audit"] == "open")
        assert served.stop() == 0
    assert verdict(tmp_path).verdict is Verdict.INTACT


def test_a_disk_that_hangs_does_not_keep_the_process_from_draining(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs = Syncs(monkeypatch)
    with serving(audited()) as served, dialled(served, 60) as idle, dialled(served, 60) as asking:
        idle.sendall(b"GET /livez HTTP/1.1\r\nhost: h\r\n\r\n")
        assert statuses(idle.recv(65_536)) == [200]
        syncs.hold_the_next()
        asking.sendall(REQUEST)
        assert syncs.holds.wait(60)
        served.process.stop()
        assert idle.recv(65_536) == b""  # closed: nothing is in flight on it
        syncs.goes_on.set()
        assert statuses(rest(asking)) == [200]
        assert served.stop() == 0
    assert [event for event, _ in changes(tmp_path)] == ["start", "ready", "drain"]
    assert verdict(tmp_path).closed


@pytest.mark.parametrize("step", ["audit.opening.PosixDisk", "audit.recorder.AuditRecorder.open"])
def test_a_disk_that_hangs_at_the_start_holds_up_neither_probes_nor_the_end(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, opens = threading.Event(), threading.Event()

    def hangs(_of_it: object) -> None:
        opens.set()
        goes_on.wait(120)
        raise OSError

    monkeypatch.setattr(f"bedside_runtime.{step}", hangs)
    with serving(loading_audited) as served:
        try:
            assert opens.wait(60)
            assert served.get("/livez")[0] == 200
            assert served.stop() == 0
        finally:
            goes_on.set()


def test_little_space_is_in_the_log(tmp_path: Path) -> None:
    with serving(audited(low_water_bytes=1 << 62)):
        wait_until(lambda: ("not-ready", "recorder-unavailable") in changes(tmp_path))


def test_the_genesis_record_says_what_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEDSIDE_IMAGE_DIGEST", "sha256:" + "cd" * 32)
    with serving(audited()) as served:
        served.post({"inputs": PATIENT})
    genesis, *_, prediction = [item for item in records(tmp_path) if item["kind"] in ("genesis", "prediction")]
    assert genesis["identity"]["image"] == prediction["image"] == "sha256:" + "cd" * 32
    assert genesis["identity"]["release"] == prediction["release"] == "sha256:" + "d" * 64
    assert (genesis["identity"]["pod"], genesis["identity"]["model"]) == (POD, "icu-test")


def test_an_image_digest_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEDSIDE_IMAGE_DIGEST", "icu:latest")
    with serving(loading_audited) as served:
        served.wait_for("failed", reason="audit-unavailable")
    assert not (tmp_path / "log").exists()


def test_metrics_say_how_answers_are_recorded(tmp_path: Path) -> None:
    with serving(audited(payload="none", on_failure="answer-and-alarm")) as served:
        _, _, metrics = served.request("GET", "/metrics", admin=True)
        assert served.get("/model")[1]["audit"]["on_failure"] == "answer-and-alarm"
    assert b'bedside_audit_info{on_failure="answer-and-alarm",payload="none",signed="false"} 1.0' in metrics


def test_silence_is_broken_by_heartbeats_that_say_whether_anybody_would_have_been_answered(tmp_path: Path) -> None:
    with serving(audited(heartbeat_seconds=0.4)):
        wait_until(lambda: list(records(tmp_path)).count({"kind": "heartbeat", "ready": True}) > 1)


def loading_audited(_stage: object, on_contract: Any) -> Loaded:
    on_contract(audited().contract)
    return audited()


def test_a_missing_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keys" / "audit-hmac.key").unlink()
    with serving(loading_audited) as served:
        served.wait_for("failed", reason="audit-key-invalid", exit_code=2)
        assert served.get("/readyz")[0] == 503
    assert not (tmp_path / "log").exists()


def test_a_second_process_on_the_same_log_is_refused(tmp_path: Path) -> None:
    with serving(audited()) as first, serving(loading_audited) as second:
        second.wait_for("failed", reason="audit-busy")
        assert first.post({"inputs": PATIENT})[0] == 200


def _keys(tmp_path: Path) -> None:
    for name, algorithm in (("audit-signing.pem", "ed25519"), ("private.pem", "x25519")):
        path = tmp_path / "keys" / name
        subprocess.run(["openssl", "genpkey", "-algorithm", algorithm, "-out", path], check=True)
    private = tmp_path / "keys" / "private.pem"
    public = tmp_path / "keys" / "audit-recipient.pem"
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)


def test_checkpoints_go_to_stdout_so_that_they_are_kept_off_the_pod(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cryptography", reason="signed checkpoints need the extra `audit`")
    _keys(tmp_path)
    with serving(audited(signed=True, checkpoint_every=2)) as served:
        for _ in range(4):
            served.post({"inputs": PATIENT})
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    written = [item["note"] for item in records(tmp_path) if item["kind"] == "checkpoint"]
    assert [line["note"] for line in lines if line["event"] == "audit-checkpoint"] == written
    assert len(written) > 3


def test_without_an_audit_section_nothing_is_recorded_and_readiness_says_so(tmp_path: Path) -> None:
    with serving() as served:
        assert served.get("/readyz")[1]["audit"] == "none"
        assert served.get("/model")[1]["audit"] is None
    assert not (tmp_path / "log").exists()


def test_the_next_start_follows_the_log_of_the_last(tmp_path: Path) -> None:
    for _ in range(3):
        with serving(audited()) as served:
            assert isinstance(served, Served)
            served.post({"inputs": PATIENT})
    assert len(files(tmp_path)) == 3
    assert verdict(tmp_path).verdict is Verdict.INTACT

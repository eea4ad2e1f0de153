"""Traces as a collector receives them, collectors that are gone or slow, and what never stands in a span."""

import contextlib
import gzip
import http.server
import itertools
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("opentelemetry.sdk", reason="traces need the extra `tracing`")

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from served import PATIENT, QUICK, Served, Switchable, loaded, serving
from wire import said, statuses

from bedside_runtime.contract import Audit, Auth, encode
from bedside_runtime.errors import TracingUnsuitable
from bedside_runtime.loading import Loaded
from bedside_runtime.serve.tracing import starting
from contracts import Logistic, contract

TRACED = msgspec.structs.replace(QUICK, tracing=True)
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CANARIES = {
    "X-Request-Id": "Zebra-1",
    "User-Agent": "Zebra-2",
    "Cookie": "Zebra-3",
    "tracestate": "z=Zebra-4",
    "baggage": "p=Zebra-5",
}


class Collector:
    """Takes OTLP over HTTP, as a real one does; answers after ``pause``, with ``status``."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.paths: list[str] = []
        self.pause, self.status = 0.0, 200
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    data = gzip.decompress(data)
                time.sleep(collector.pause)
                collector.paths.append(self.path)
                collector.requests.append(ExportTraceServiceRequest.FromString(data))
                with contextlib.suppress(OSError):
                    self.send_response(collector.status)
                    self.send_header("content-length", "0")
                    self.end_headers()

            def log_message(self, *_: Any) -> None:
                return

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def spans(self) -> list[Span]:
        return [
            span
            for request in list(self.requests)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def wait(self, name: str, count: int = 1) -> list[Span]:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = [span for span in self.spans() if span.name == name]
            if len(found) >= count:
                return found
            time.sleep(0.02)
        raise AssertionError(f"no {name} among {[span.name for span in self.spans()]}")

    def trace(self, span: Span) -> dict[str, Span]:
        return {item.name: item for item in self.spans() if item.trace_id == span.trace_id}


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    started = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", started.endpoint)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    yield started
    started.stop()


def traced(predictor: Any = None, **changes: Any) -> Loaded:
    given = loaded(predictor, msgspec.structs.replace(TRACED, **changes.pop("serve", {})))
    return msgspec.structs.replace(given, contract=msgspec.structs.replace(given.contract, **changes))


def attributes(span: Span) -> dict[str, Any]:
    return {item.key: item.value.string_value or item.value.int_value for item in span.attributes}


def ask(server: Served, inputs: Any = PATIENT, **headers: str) -> tuple[int, dict[str, str], Any]:
    body = json.dumps({"inputs": inputs}).encode()
    status, fields, answer = server.request("POST", "/predict", body, {"content-type": "application/json", **headers})
    return status, fields, json.loads(answer)


# -- what a collector receives


def test_a_request_is_a_trace_of_validating_waiting_computing_and_recording(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POD_NAME", "pod")
    audit = Audit(path=str(tmp_path), payload="none", low_water_bytes=0)
    with serving(traced(audit=audit)) as server:
        assert ask(server)[0] == 200
        (root,) = collector.wait("POST /predict")
    parts = collector.trace(root)
    assert parts.keys() == {"POST /predict", "validate", "wait", "model", "audit"}
    assert root.kind == Span.SPAN_KIND_SERVER
    assert attributes(root) == {
        "http.request.method": "POST",
        "http.route": "/predict",
        "http.response.status_code": 200,
    }
    assert attributes(parts["model"]) == {"bedside.batch.rows": 1}
    order = [parts[name] for name in ("validate", "wait", "model", "audit")]
    assert all(part.parent_span_id == root.span_id for part in order)
    assert all(part.start_time_unix_nano <= part.end_time_unix_nano for part in order)
    assert all(one.end_time_unix_nano <= other.start_time_unix_nano for one, other in itertools.pairwise(order))
    assert root.start_time_unix_nano <= order[0].start_time_unix_nano
    assert order[-1].end_time_unix_nano <= root.end_time_unix_nano
    assert abs(root.end_time_unix_nano - time.time_ns()) < 60e9


def test_the_resource_says_what_runs_here_and_the_standard_variables_have_the_last_word(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=staging,bedside.release.digest=forged")
    with serving(traced()) as server:
        ask(server)
        collector.wait("POST /predict")
    resource = {
        item.key: item.value.string_value for item in collector.requests[0].resource_spans[0].resource.attributes
    }
    assert (resource["service.name"], resource["service.version"]) == ("icu-test", "1.2.3")
    assert resource["deployment.environment.name"] == "staging"
    assert resource["bedside.release.digest"] == f"sha256:{'d' * 64}"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "ward")
    with serving(traced()) as server:
        ask(server)
        collector.wait("POST /predict", 2)
    resource = {
        item.key: item.value.string_value for item in collector.requests[-1].resource_spans[0].resource.attributes
    }
    assert resource["service.name"] == "ward"
    assert set(collector.paths) == {"/v1/traces"}


def test_a_caller_s_trace_is_carried_on_and_the_answer_says_so(collector: Collector) -> None:
    with serving(traced()) as server:
        _, fields, _ = ask(server, traceparent=PARENT, tracestate="vendor=1")
        (root,) = collector.wait("POST /predict")
    assert root.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert root.parent_span_id.hex() == "b7ad6b7169203331"
    assert root.trace_state == "vendor=1"
    assert fields["traceresponse"] == f"00-{root.trace_id.hex()}-{root.span_id.hex()}-01"


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "\xff" * 55,
        "A" * 20_000,
    ],
)
def test_a_parent_that_is_none_begins_a_new_trace(collector: Collector, parent: str) -> None:
    with serving(traced()) as server:
        assert ask(server, traceparent=parent, tracestate="=,=,;" * 1_000)[0] == 200
        (root,) = collector.wait("POST /predict")
    assert root.parent_span_id == b""
    assert root.trace_id.hex() != "0af7651916cd43dd8448eb211c80319c"
    assert root.trace_state == ""


def test_a_caller_that_does_not_sample_is_not_sampled(collector: Collector) -> None:
    with serving(traced()) as server:
        _, fields, _ = ask(server, traceparent=PARENT[:-1] + "0")
        assert fields["traceresponse"].startswith("00-0af7651916cd43dd8448eb211c80319c-")
        ask(server)
        (root,) = collector.wait("POST /predict")
    assert root.trace_id.hex() != "0af7651916cd43dd8448eb211c80319c"


def test_the_sampler_is_that_of_the_standard_variable(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    with serving(traced()) as server:
        for _ in range(5):
            assert ask(server)[0] == 200
    assert collector.spans() == []


def test_rows_of_concurrent_requests_are_seen_to_share_one_call(collector: Collector) -> None:
    model = Switchable()
    with serving(traced(model)) as server:
        model.gate.clear()
        asking = [threading.Thread(target=ask, args=(server,)) for _ in range(6)]
        for thread in asking:
            thread.start()
        server.until(lambda: server.in_flight == 6)
        model.gate.set()
        for thread in asking:
            thread.join()
        found = collector.wait("model", 6)
    assert max(attributes(span)["bedside.batch.rows"] for span in found) > 1


def test_other_routes_and_errors_are_traced_by_their_template(collector: Collector) -> None:
    with serving(traced()) as server:
        server.request("GET", "/model")
        server.request("GET", "/Zebra-7")
        server.request("PATCH", "/predict")
        status, _, problem = server.request("POST", "/v2/models/other/infer", b"{}")
        (metadata,) = collector.wait("GET /model")
        (unknown,) = collector.wait("GET")
        collector.wait("_OTHER /predict")
        (missed,) = collector.wait("POST /v2/models/{model}/infer")
    assert status == attributes(missed)["http.response.status_code"] == 404
    assert json.loads(problem)["trace_id"] == missed.trace_id.hex()
    assert attributes(unknown) == {"http.request.method": "GET", "http.response.status_code": 404}
    assert metadata.status.code == missed.status.code == Status.STATUS_CODE_UNSET
    assert not any("Zebra" in str(request) for request in collector.requests)


def test_an_error_of_the_server_has_its_trace_in_log_and_document(collector: Collector) -> None:
    class Odd(Logistic):
        def predict(self, rows: Any) -> Any:
            return [
                "no number" if row[0] == 77 else value for row, value in zip(rows, super().predict(rows), strict=True)
            ]

    with serving(traced(Odd())) as server:
        status, fields, problem = ask(server, {**PATIENT, "age": 77})
        (root,) = collector.wait("POST /predict")
        event = server.wait_for("output-invalid")
    assert status == 500
    assert root.status.code == Status.STATUS_CODE_ERROR
    assert root.trace_id.hex() == problem["trace_id"] == event["trace_id"] == fields["traceresponse"][3:35]


def test_a_caller_who_is_turned_away_is_traced_and_not_named(collector: Collector, tmp_path: Path) -> None:
    (tmp_path / "api-keys.txt").write_text(f"Zebra sha256:{'0' * 64}\n")
    with serving(traced(serve={"auth": Auth(methods=("api-key",))}), keys=tmp_path) as server:
        status, _, problem = ask(server, authorization="Bearer Zebra-9")
        (root,) = collector.wait("POST /predict")
    assert (status, problem["trace_id"]) == (401, root.trace_id.hex())
    assert not any("Zebra" in str(request) for request in collector.requests)


def test_nothing_of_a_request_or_a_patient_stands_in_a_span(collector: Collector) -> None:
    with serving(traced()) as server:
        ask(server, **CANARIES)
        for inputs in ({**PATIENT, "admission": "Zebra-6"}, {"Zebra-7": "Zebra-8"}, {**PATIENT, "age": 997_713}):
            server.post({"inputs": inputs}, "/predict?Zebra-10=Zebra-11", **{"X-Zebra": "Zebra-12"})
        server.request("GET", "/v2/models/Zebra-13")
        collector.wait("POST /predict", 4)
        collector.wait("GET /v2/models/{model}")
    sent = "".join(map(str, collector.requests)).replace("Zebra-4", "", 1)  # tracestate belongs to the caller's tracer
    assert "Zebra" not in sent
    assert "997713" not in sent
    assert "37.2" not in sent


# -- collectors that are no good


def _answers_all(server: Served, count: int) -> float:
    begun = time.monotonic()
    body = json.dumps({"inputs": PATIENT}).encode()
    one = b"POST /predict HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(
        body
    )
    assert statuses(said(server, (one + body) * count)) == [200] * count
    return time.monotonic() - begun


def test_a_collector_that_is_gone_costs_nobody_an_answer_and_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Collector()
    gone.stop()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", gone.endpoint)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "64")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16")
    with serving(traced()) as server:
        _answers_all(server, 600)  # many more spans than the queue holds
        assert server.wait_for("traces-not-sent")["level"] == "error"
        assert server.get("/readyz")[0] == 200
        time.sleep(1)
        begun = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begun < 8, "the end waits for no collector"
        assert sum(event["event"] == "traces-not-sent" for event in server.events()) == 1
        assert {event["event"] for event in server.events()} <= {
            *("listening", "state", "ready", "draining", "stopped", "traces-not-sent"),
        }


def test_a_collector_that_hangs_costs_nobody_an_answer(collector: Collector) -> None:
    collector.pause = 30.0
    with serving(traced()) as server:
        _answers_all(server, 200)
        assert server.get("/readyz")[0] == 200


def test_a_collector_that_comes_back_is_said(collector: Collector) -> None:
    collector.status = 400
    with serving(traced()) as server:
        ask(server)
        server.wait_for("traces-not-sent")
        collector.status = 200
        ask(server)
        server.wait_for("traces-sent-again")


def test_what_the_sdk_says_is_no_text_in_our_log(
    collector: Collector, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    collector.status = 400
    with serving(traced()) as server:
        ask(server)
        server.wait_for("traces-not-sent")
        logging.getLogger("opentelemetry.sdk").error("Zebra")
        logging.getLogger("urllib3.connectionpool").warning("Zebra")
    assert capfd.readouterr() == ("", "")


# -- what is asked for and not there


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_TRACES_EXPORTER": "jaeger"},
        {"OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"},
    ],
)
def test_an_exporter_that_is_not_there_stops_the_start(variables: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(TracingUnsuitable):
        starting.require(TRACED, variables)
    starting.require(QUICK, variables)
    (tmp_path / "contract.json").write_bytes(encode(contract(serve=TRACED)))
    command = [sys.executable, "-m", "bedside_runtime", "serve", str(tmp_path), "--port", "0", "--admin-port", "0"]
    done = subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, "listening" in done.stderr) == (2, False)


def test_a_release_that_does_not_ask_for_traces_never_imports_the_library() -> None:
    code = (
        "import sys, bedside_runtime.__main__, bedside_runtime.serve.tracing.starting as s\n"
        "from bedside_runtime.contract import Serve\n"
        "s.require(Serve(), {})\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'jwt', 'requests', 'cryptography'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_a_trace_is_that_of_its_own_request_also_on_a_connection_that_carries_many(collector: Collector) -> None:
    body = json.dumps({"inputs": PATIENT}).encode()
    fields = b"Host: h\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
    predict, model = (
        b"POST /predict HTTP/1.1\r\n" + fields + b"\r\n" + body,
        b"GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n",
    )
    with serving(traced()) as server:
        received = said(server, (predict + model) * 3)
        after = said(server, predict, b"no HTTP\r\n\r\n", pause=0.5)
        collector.wait("POST /predict", 3)
        collector.wait("GET", 3)
    parts = received.split(b"HTTP/1.1 ")[1:]
    ids = [part.split(b"traceresponse: 00-")[1][:32] for part in parts]
    assert len(set(ids)) == 6
    assert [part.split(b'"trace_id":"')[1][:32] for part in parts[1::2]] == ids[1::2]
    assert statuses(after) == [200, 400]
    assert b"trace_id" not in after, "what is no request has no trace"

"""The exposition as a whole: Prometheus' own conventions, closed sets of labels, every metric that is promised."""

import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from served import PATIENT, Served, loaded, serving
from test_workers import all_ready, several
from wire import said

from bedside_runtime.contract import Band
from bedside_runtime.serve.auth.verdict import REASONS as REFUSALS
from bedside_runtime.serve.lifecycle import State
from bedside_runtime.serve.metrics import REASONS
from contracts import INPUTS, OUTPUT

CANARY = "Zebra-7781"
PROMISED = {
    *(
        "http_server_request_duration_seconds",
        "bedside_requests_in_flight",
        "bedside_rows_waiting",
        "bedside_batch_rows",
    ),
    *("bedside_predictions", "bedside_input_flags", "bedside_ready", "bedside_state", "bedside_load_seconds"),
    *("bedside_build_info", "bedside_audit_ok", "bedside_audit_unrecorded_answers", "bedside_connections_refused"),
    *("bedside_audit_unrecorded_refusals", "bedside_authentication_refusals", "bedside_authentication_keys_current"),
}
ROUTES = {
    *(
        "/predict",
        "/model",
        "/openapi.json",
        "/livez",
        "/readyz",
        "/startupz",
        "/health",
        "/ready",
        "/startup",
        "other",
    ),
    *("/v2", "/v2/health/live", "/v2/health/ready", "/metrics", "/v2/models/{model}", "/v2/models/{model}/ready"),
    *("/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}"),
    *("/v2/models/{model}/versions/{version}/ready", "/v2/models/{model}/versions/{version}/infer"),
}


def promtool(exposition: bytes) -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed")
    done = subprocess.run([tool, "check", "metrics"], input=exposition, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def busy(server: Served) -> bytes:
    """Ask what is good and what is hostile, and return the exposition."""
    server.post({"inputs": {**PATIENT, "age": 97, "lactate": None}})
    server.post({"inputs": {**PATIENT, "age": CANARY}})
    server.post({CANARY: CANARY}, f"/v2/models/{CANARY}/infer")
    for method in ("GET", "BREW", CANARY.upper(), "PATCH"):
        server.request(method, f"/{CANARY}?{CANARY}", headers={"x-request-id": CANARY, "authorization": CANARY})
    said(server, f"{CANARY}\r\n\r\n".encode(), b"")
    return server.request("GET", "/metrics", admin=True)[2]


def test_prometheus_finds_nothing_to_complain_of() -> None:
    with serving() as server:
        promtool(busy(server))


def test_nor_with_several_workers(tmp_path: Path) -> None:
    with several(tmp_path) as process:
        all_ready(process)
        url = f"http://127.0.0.1:{process.wait_for('listening')['admin_port']}/metrics"
        with urllib.request.urlopen(url, timeout=15) as answer:
            promtool(answer.read())


def test_everything_that_is_promised_is_there_from_the_start() -> None:
    with serving() as server:
        families = {family.name: family for family in _families(server.request("GET", "/metrics", admin=True)[2])}
    assert families.keys() >= PROMISED
    (build,) = families["bedside_build_info"].samples
    assert build.labels["digest"] == f"sha256:{'d' * 64}"
    flags = {(sample.labels["input"], sample.labels["code"]) for sample in families["bedside_input_flags"].samples}
    assert flags == {(item.name, code) for item in INPUTS for code in ("missing", "outside-expected")}
    assert {sample.labels["band"] for sample in families["bedside_predictions"].samples} == {
        band.name for band in OUTPUT.bands
    }


def test_no_label_takes_a_value_of_a_request() -> None:
    with serving(loaded()) as server:
        exposition = busy(server)
    assert CANARY.lower() not in exposition.decode().lower()
    closed: dict[str, set[str]] = {
        "http_route": ROUTES,
        "http_request_method": {"GET", "HEAD", "POST", "other"},
        "band": {band.name for band in OUTPUT.bands if isinstance(band, Band)},
        "input": {item.name for item in INPUTS},
        "code": {"missing", "outside-expected"},
        "reason": {*REASONS, *REFUSALS},
        "recorded": {"true", "false"},
        "bedside_state": {str(state) for state in State},
    }
    for family in _families(exposition):
        for sample in family.samples:
            for name, value in sample.labels.items():
                assert name not in closed or value in closed[name], (sample.name, name, value)
                assert name in closed or name in _SHORT, (sample.name, name)


_SHORT = {
    *("le", "http_response_status_code", "source", "name", "version", "digest", "runtime"),
    *("implementation", "major", "minor", "patchlevel"),
}
"""Labels whose values are those of the release or of Python, or numbers of a short list."""


def test_the_state_and_the_load_time_are_what_they_are() -> None:
    with serving() as server:
        families = {family.name: family for family in _families(server.request("GET", "/metrics", admin=True)[2])}
        seconds = server.wait_for("ready")["seconds"]
    assert {sample.labels["bedside_state"] for sample in families["bedside_state"].samples if sample.value} == {"ready"}
    assert families["bedside_load_seconds"].samples[0].value == pytest.approx(seconds, abs=1e-3)


def _families(exposition: bytes) -> list[Any]:
    return list(text_string_to_metric_families(exposition.decode()))

"""What a patient's values look like is looked for everywhere that they must not be, on every way through the server.

In every input, in headers, queries, paths and bodies; in answers and errors of every code that there is. A request id
that a caller chooses is given back and recorded by design; one that is no plain token is not taken. The id in the body
of an inference request is given back, as the protocol has it, and kept nowhere.
"""

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from served import ENGINES, PATIENT, QUICK, Served, Switchable, loaded, serving
from wire import dialled, rest, said

from bedside_runtime import apikeys
from bedside_runtime.audit.reading import paths
from bedside_runtime.contract import Audit, Auth, EngineName, Row, Scalar
from bedside_runtime.errors import GoldenMismatch
from bedside_runtime.loading import Loaded
from bedside_runtime.serve.auth.guard import API_KEYS
from bedside_runtime.serve.problems import STATUS
from contracts import Logistic

POD = "icu-7f9c-x1"
CANARY = "Zx9CANARY77"
NUMBERS = {"temperature": 36.8912345, "lactate": 1.7654321}
GOOD = PATIENT | NUMBERS
NEEDLES = (
    CANARY.encode(),
    CANARY.lower().encode(),
    *(str(number).encode() for number in NUMBERS.values()),
    b"87654321",
)
ELSEWHERE = {"forbidden", "authentication-unavailable"}
"""Codes that need tokens or certificates: test_tokens, test_tls and test_fetched are about their texts."""

JSON = {"content-type": "application/json"}


class Witness:
    """Everything that left the process, and the codes of all problems that it said."""

    def __init__(self, tmp_path: Path) -> None:
        self._tmp_path = tmp_path
        self._seen: list[bytes] = []
        self.codes = set[str]()
        self.answered = 0

    def saw(self, head: object, body: bytes) -> None:
        self._seen += [str(head).encode(), body]
        with contextlib.suppress(ValueError):
            found = json.loads(body)
            self.codes |= {found["code"]} if isinstance(found, dict) and "code" in found else set()

    def post(self, server: Served, path: str, body: bytes, headers: dict[str, str]) -> int:
        status, head, answer = server.request("POST", path, body, JSON | headers)
        self.saw(head, answer)
        self.answered += status == 200
        return status

    def heard(self, server: Served, received: bytes) -> None:
        head, _, body = received.partition(b"\r\n\r\n")
        self.saw(head, body)

    def ended(self, server: Served) -> None:
        with contextlib.suppress(OSError):
            self._seen.append(server.request("GET", "/metrics", admin=True)[2])
        server.stop()
        self._seen.append(server.stream.getvalue().encode())

    def found(self, capsys: pytest.CaptureFixture[str]) -> list[bytes]:
        said = capsys.readouterr()
        log = self._tmp_path / "log" / POD
        files = [path.read_bytes() for path in paths(log)] if log.is_dir() else []
        everywhere = b"".join([*self._seen, *files, said.out.encode(), said.err.encode()])
        return [needle for needle in NEEDLES if needle in everywhere]


_engine: EngineName | Literal["native"] = "native"
"""Each test is run with every one of them."""


@pytest.fixture(autouse=True, params=ENGINES)
def _mounted(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "_engine", request.param)
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "audit-hmac.key").write_text("ab" * 32)
    private = keys / "private.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "x25519", "-out", private], check=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", keys / "audit-recipient.pem"], check=True)
    monkeypatch.setenv("BEDSIDE_AUDIT_KEYS", str(keys))
    monkeypatch.setenv("BEDSIDE_AUDIT_DIRECTORY", str(tmp_path / "log"))
    monkeypatch.setenv("POD_NAME", POD)


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(tmp_path)


def audited(predictor: Any = None, *, payload: str = "hmac", **settings: Any) -> Loaded:
    made = loaded(predictor, msgspec.structs.replace(QUICK, self_check_seconds=60.0, **settings), _engine)
    audit = Audit(payload=payload)  # type: ignore[arg-type]
    return msgspec.structs.replace(made, contract=msgspec.structs.replace(made.contract, audit=audit))


def predict(inputs: object) -> bytes:
    return json.dumps({"inputs": inputs}).encode()


# -- what is sent


def bodies() -> Iterator[bytes]:
    """Every input in every way that is wrong, and bodies that are wrong around them."""
    for name in GOOD:
        for value in (
            CANARY,
            87654321,
            -36.8912345,
            [CANARY],
            {"value": CANARY},
            {"value": 36.8912345, "unit": CANARY},
        ):
            yield predict(GOOD | {name: value})
        yield predict({key: value for key, value in GOOD.items() if key != name})
    yield predict(GOOD | {CANARY: 1})
    yield from (json.dumps(value).encode() for value in ({"inputs": {}, CANARY: CANARY}, [CANARY], CANARY, 87654321))
    yield json.dumps({"instances": [GOOD, CANARY]}).encode()
    yield json.dumps({"inputs": GOOD, "instances": [GOOD]}).encode()
    yield json.dumps({"instances": [GOOD] * 9}).encode()
    yield b'{"inputs":{"age":87654321,"age":36.8912345}}'
    yield from (b"", b'{"' + CANARY.encode(), b'{"inputs":{"' + CANARY.encode(), b"\xff" + CANARY.encode())
    yield predict(GOOD | {"admission": CANARY * 1_000})


def headers() -> Iterator[dict[str, str]]:
    for name in ("x-patient", "cookie", "user-agent", "referer", "authorization", "forwarded", "accept", "origin"):
        yield {name: CANARY}
    yield {"x-request-id": f"{CANARY} {CANARY}"}
    yield {"traceparent": f"00-{CANARY}", "tracestate": f"x={CANARY}", "baggage": f"patient={CANARY}"}
    yield {"content-type": f"application/{CANARY}"}
    yield {"x-request-deadline-ms": CANARY}
    yield {"grpc-timeout": CANARY}
    yield {"content-encoding": CANARY}


PATHS = (
    f"/predict?patient={CANARY}",
    f"/predict/{CANARY}",
    f"/{CANARY}",
    f"/v2/models/{CANARY}/infer",
    f"/v2/models/icu-test/versions/{CANARY}/infer",
    f"/v2/models/icu-test/infer?{CANARY}",
    f"/%5a/{CANARY}/..%2f{CANARY}",
)


def tensors() -> Iterator[bytes]:
    kinds = {"age": "INT64", "temperature": "FP64", "lactate": "FP64", "admission": "BYTES", "ventilated": "BOOL"}
    good = [{"name": name, "shape": [1, 1], "datatype": kind, "data": [GOOD[name]]} for name, kind in kinds.items()]
    yield json.dumps({"inputs": good}).encode()
    yield json.dumps({"inputs": good, "parameters": {CANARY: CANARY}}).encode()
    for change in ({"name": CANARY}, {"datatype": CANARY}, {"shape": [CANARY]}, {"data": [CANARY]}, {CANARY: CANARY}):
        yield json.dumps({"inputs": [*good[1:], good[0] | change]}).encode()


def every_request(witness: Witness, server: Served) -> None:
    """What is wrong in itself, and what is right."""
    for body in (predict(GOOD), json.dumps({"instances": [GOOD, GOOD]}).encode(), *bodies()):
        witness.post(server, "/predict", body, {})
    for fields in headers():
        witness.post(server, "/predict", predict(GOOD), fields)
    for path in PATHS:
        witness.post(server, path, predict(GOOD), {})
        witness.saw(*server.request("GET", path)[1:])
    for body in tensors():
        witness.post(server, "/v2/models/icu-test/infer", body, {})
    raw = CANARY.encode()
    for line in (raw, b"POST /predict HTTP/1.1\r\nHost: " + raw + b"\r\n" + raw, b"GET /" + raw + b" HTTP/9.9\r\n"):
        witness.heard(server, said(server, line + b"\r\n\r\n"))
    witness.heard(server, said(server, b"GET / HTTP/1.1\r\nHost: x\r\nX: " + raw * 20_000 + b"\r\n\r\n"))


# -- where it is looked for


@pytest.mark.parametrize("payload", ["none", "hmac", "encrypted"])
def test_nothing_of_a_patient_is_anywhere_outside_a_sealed_payload(
    payload: str, witness: Witness, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if payload == "encrypted":
        pytest.importorskip("cryptography", reason="sealed payloads need the extra `audit`")
    with serving(audited(payload=payload, max_instances=8, max_body=8_192)) as server:
        every_request(witness, server)
        witness.ended(server)
    assert witness.found(capsys) == []
    assert witness.answered >= 15
    if payload == "encrypted":
        opened = b"".join(_opened(tmp_path))
        assert all(str(number).encode() in opened for number in NUMBERS.values())


def _opened(tmp_path: Path) -> Iterator[bytes]:
    from bedside_runtime.audit.record import Payload, Position
    from bedside_runtime.audit.sealing import read_private_key, unseal

    key = read_private_key((tmp_path / "keys" / "private.pem").read_bytes())
    for number, path in enumerate(paths(tmp_path / "log" / POD)):
        lines = [json.loads(line) for line in path.read_bytes().splitlines()]
        genesis = msgspec.convert(lines[0]["body"]["payload"], Payload)
        for line in lines:
            if line["body"]["kind"] == "prediction":
                yield unseal(genesis, Position(POD, number, line["seq"]), line["body"]["inputs"], key)


class Raises:
    """A model that puts the patient into its exception."""

    def predict(self, rows: Sequence[Row]) -> Sequence[Scalar]:
        if any(row[1] == NUMBERS["temperature"] for row in rows):
            raise ValueError(f"{CANARY}: cannot handle {rows}")
        return Logistic().predict(rows)


class Babbles:
    """A model that answers with the patient."""

    def predict(self, rows: Sequence[Row]) -> Sequence[Scalar]:
        right = Logistic().predict(rows)
        return [CANARY if row[1] == NUMBERS["temperature"] else value for row, value in zip(rows, right, strict=True)]


def wrong_in_itself(witness: Witness) -> None:
    with serving(audited(max_instances=8, max_body=8_192)) as server:
        every_request(witness, server)
        witness.ended(server)


def a_model_that_fails(witness: Witness) -> None:
    for model in (Raises(), Babbles()):
        with serving(audited(model)) as server:
            witness.post(server, "/predict", predict(GOOD), {})
            witness.ended(server)


def a_log_that_fails(witness: Witness) -> None:
    with serving(audited()) as server:
        for path in paths(witness._tmp_path / "log" / POD):
            path.unlink()
        for _ in range(2):
            witness.post(server, "/predict", predict(GOOD), {})
        server.wait_for("failed", reason="audit-unavailable")
        witness.post(server, "/predict", predict(GOOD), {})
        witness.ended(server)


def a_release_that_does_not_load(witness: Witness) -> None:
    def load(_stage: object, on_contract: Any) -> Loaded:
        on_contract(audited().contract)
        raise GoldenMismatch(f"{CANARY} {GOOD}")

    with serving(load) as server:
        server.wait_for("failed")
        witness.post(server, "/predict", predict(GOOD), {})
        witness.ended(server)


def too_late_and_too_many(witness: Witness) -> None:
    model = Switchable()
    with serving(audited(model, max_in_flight=1)) as server:
        model.gate.clear()
        witness.post(server, "/predict", predict(GOOD), {"x-request-deadline-ms": "1500"})
        witness.post(server, "/predict", predict(GOOD), {})
        model.gate.set()
        witness.ended(server)


def too_slow(witness: Witness) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\ncontent-type: application/json\r\nx-patient: " + CANARY.encode()
    with serving(audited(header_seconds=1.0, body_seconds=1.5)) as server:
        witness.heard(server, said(server, head, end=False))
        witness.heard(server, said(server, head + b"\r\ncontent-length: 99\r\n\r\n" + predict(GOOD)[:90], end=False))
        witness.ended(server)


def too_many_connections(witness: Witness) -> None:
    with serving(audited(max_connections=1)) as server, dialled(server) as one:
        one.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        one.recv(4_096)
        with dialled(server) as other:
            with contextlib.suppress(ConnectionError):
                other.sendall(f"POST /predict?{CANARY} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            witness.heard(server, rest(other))
        witness.ended(server)


def too_large_for_a_record(witness: Witness) -> None:
    with serving(audited(max_instances=60_000, max_body=1 << 24)) as server:
        witness.post(server, "/predict", json.dumps({"instances": [GOOD] * 30_000}).encode(), {})
        witness.ended(server)


def a_stranger(witness: Witness) -> None:
    keys = witness._tmp_path / "callers"
    keys.mkdir()
    (keys / API_KEYS).write_text(apikeys.line("ehr", apikeys.make()))
    with serving(audited(auth=Auth(methods=("api-key",))), keys=keys) as server:
        for fields in ({}, {"authorization": f"Bearer {CANARY}"}, {"authorization": f"Basic {CANARY}"}):
            witness.post(server, "/predict", predict(GOOD), fields)
        witness.ended(server)


WAYS: tuple[Callable[[Witness], None], ...] = (
    wrong_in_itself,
    a_model_that_fails,
    a_log_that_fails,
    a_release_that_does_not_load,
    too_late_and_too_many,
    too_slow,
    too_many_connections,
    too_large_for_a_record,
    a_stranger,
)


def test_nothing_of_a_patient_leaves_with_any_error_that_there_is(
    witness: Witness, capsys: pytest.CaptureFixture[str]
) -> None:
    for way in WAYS:
        way(witness)
        assert witness.found(capsys) == [], way.__name__
    assert witness.codes == STATUS.keys() - ELSEWHERE


def test_the_id_of_an_inference_request_is_given_back_and_kept_nowhere(
    witness: Witness, capsys: pytest.CaptureFixture[str]
) -> None:
    body = json.loads(next(tensors())) | {"id": CANARY}
    with serving(audited()) as server:
        assert server.post(body, "/v2/models/icu-test/infer")[1]["id"] == CANARY
        witness.ended(server)
    assert witness.found(capsys) == []


def test_canaries_that_are_somewhere_are_found(witness: Witness, capsys: pytest.CaptureFixture[str]) -> None:
    server = threading.Thread  # anything: what counts is what was seen
    for needle in NEEDLES:
        Witness.saw(witness, server, needle)
    assert witness.found(capsys) == list(NEEDLES)

"""Many clients at once, of every kind: each gets its own answer, and the log says of each what it was given."""

import asyncio
import json
import random
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from served import PATIENT, QUICK, Served, loaded, serving

from bedside_runtime import apikeys, canonical
from bedside_runtime.audit.privacy import mac
from bedside_runtime.audit.reading import judge, paths
from bedside_runtime.audit.verify import Verdict as Judged
from bedside_runtime.contract import Audit, Auth, Row, Scalar
from bedside_runtime.inputs import ValidRow, compile_inputs
from bedside_runtime.serve.auth.gate import Gate
from bedside_runtime.serve.auth.guard import API_KEYS
from bedside_runtime.serve.auth.verdict import Decision, Verdict
from contracts import INPUTS, OUTPUT, Logistic

POD = "icu-7f9c-x1"
HMAC_KEY: Final = bytes.fromhex("ab" * 32)
CALLERS: Final = {name: apikeys.make() for name in ("ehr", "ward")}
NOBODY: Final = apikeys.make()
DECODER: Final = compile_inputs(INPUTS)
NAMES: Final = [item.name for item in INPUTS]
AT_EDGE, FAILING = 64, 65
"""Ages at which the engine leaves the answer to the model, and at which there is none."""

KINDS: Final = ("usual",) * 10 + ("edge", "edge", "failing", "bad", "wrong", "late", "get", "infer", "wide")
"""What a request may be; most are usual."""


class Leaving(Logistic):
    """Answers in the loop, but for one age; and for another one not at all."""

    def predict(self, rows: Sequence[Row]) -> Sequence[Scalar]:
        if any(row[0] == FAILING for row in rows):
            raise ValueError("no answer")
        return super().predict(rows)

    def at_once(self, rows: Sequence[Row]) -> Sequence[Scalar | None]:
        return [None if row[0] == AT_EDGE else value for row, value in zip(rows, self.predict(rows), strict=True)]


class Hesitating:
    """A gate that decides some requests only later."""

    def __init__(self, gate: Gate, chance: random.Random) -> None:
        self._gate, self._chance = gate, chance

    def decide(self, method: bytes, target: bytes, fields: Any, shown: Any) -> Decision:
        decision = self._gate.decide(method, target, fields, shown)
        hesitates = isinstance(decision, Verdict) and self._chance.random() < 0.2
        return Later(decision, self._chance.random() * 0.003) if hesitates else decision


@dataclass
class Later:
    """A verdict that nobody knows before it is waited for."""

    verdict: Verdict
    seconds: float

    def __await__(self) -> Generator[Any, None, Verdict]:
        yield from asyncio.sleep(self.seconds).__await__()
        return self.verdict


@dataclass
class Sent:
    """One request, and what is to come of it."""

    id: str
    data: bytes
    caller: str | None
    status: int
    rows: Sequence[ValidRow] = ()
    is_prediction: bool = True

    @property
    def outputs(self) -> list[dict[str, Any]]:
        values = [float(value) for value in Logistic().predict([row.cells for row in self.rows])]  # type: ignore[arg-type]
        flags = [[msgspec.to_builtins(flag) for flag in row.flags] for row in self.rows]
        return [
            {"value": value, "band": OUTPUT.band(value), "flags": noticed}
            for value, noticed in zip(values, flags, strict=True)
        ]

    @property
    def macs(self) -> list[str]:
        return [mac(HMAC_KEY, canonical.encode(dict(zip(NAMES, row.cells, strict=True)))) for row in self.rows]


class Client:
    """Makes up requests, and sends them over connections of its own."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self._count = 0

    def request(self) -> Sent:
        chance = self.chance
        patients = [self._patient() for _ in range(chance.choice((1, 1, 1, 1, 1, 3)))]
        what = chance.choice(
            ("usual",) * 10 + ("edge", "edge", "failing", "bad", "wrong", "late", "get", "infer", "wide")
        )
        if what == "edge":
            patients[-1]["age"] = AT_EDGE
        elif what == "failing":
            patients[-1]["age"] = FAILING
        elif what == "wrong":
            patients[-1]["age"] = 1_000
        caller = chance.choice(("ehr", "ward", "ehr", "ward", None))
        status = {"failing": 500, "bad": 400, "wrong": 422, "late": 504}.get(what, 200) if caller else 401
        rows = DECODER.rows(patients) if status == 200 and what != "get" else ()
        return self._sent(what, patients, caller, status, rows)

    def _patient(self) -> dict[str, Any]:
        chance = self.chance
        return PATIENT | {
            "age": chance.choice([*range(AT_EDGE), *range(FAILING + 1, 130)]),
            "temperature": chance.choice((chance.uniform(25, 45), 37, 40.5)),
            "lactate": chance.choice((None, chance.uniform(0, 40))),
            "ventilated": chance.random() < 0.5,
        }

    def _sent(
        self, what: str, patients: list[dict[str, Any]], caller: str | None, status: int, rows: Sequence[ValidRow]
    ) -> Sent:
        self._count += 1
        name = f"r-{self.chance.getrandbits(64):x}-{self._count}"
        fields = {
            "host": "h",
            "x-request-id": name,
            "authorization": f"Bearer {CALLERS[caller] if caller else NOBODY}",
            "content-type": "application/json",
        }
        if what == "late":
            fields["x-request-deadline-ms"] = "0"
        body: Any = {"inputs": patients[0]} if len(patients) == 1 else {"instances": patients}
        data = b"{" if what == "bad" else json.dumps(body).encode()
        line = "POST /predict"
        if what == "get":
            line, data = self.chance.choice(("GET /model", "GET /v2")), b""
        elif what == "infer":
            line, data = "POST /v2/models/icu-test/infer", json.dumps({"inputs": _tensors(patients)}).encode()
        elif what == "wide":
            data += b" " * self.chance.choice((2_000, 20_000))
        head = "".join(f"{key}: {value}\r\n" for key, value in (fields | {"content-length": str(len(data))}).items())
        return Sent(name, f"{line} HTTP/1.1\r\n{head}\r\n".encode() + data, caller, status, rows, what != "get")

    async def connection(self, port: int, crowd: "Crowd", requests: int) -> None:
        """Send some requests in pieces, and read what is said to each; or go away in the middle of it."""
        chance = self.chance
        sent = [self.request() for _ in range(requests)]
        goes_away = chance.random() < 0.2
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        pipelines = chance.choice((1, 1, 2, requests))
        try:
            for first in range(0, requests, pipelines):
                some = sent[first : first + pipelines]
                await self._write(writer, b"".join([one.data for one in some]))
                if goes_away and chance.random() < 0.4:
                    crowd.left += sent
                    return
                for one in some:
                    crowd.answered.append((one, *await _answer(reader)))
        finally:
            writer.transport.abort()

    async def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        chance = self.chance
        while data:
            size = chance.choice((len(data), len(data), chance.randint(1, len(data))))
            writer.write(data[:size])
            data = data[size:]
            await asyncio.sleep(chance.choice((0, 0, chance.random() * 0.004)))


@dataclass
class Crowd:
    """What was said to whom, and who left before that."""

    answered: list[tuple[Sent, int, dict[str, str], bytes]] = field(default_factory=list)
    left: list[Sent] = field(default_factory=list)


def _tensors(patients: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    kinds = {"age": "INT64", "temperature": "FP64", "lactate": "FP64", "admission": "BYTES", "ventilated": "BOOL"}
    return [
        {"name": name, "shape": [len(patients)], "datatype": kind, "data": [patient[name] for patient in patients]}
        for name, kind in kinds.items()
    ]


async def _answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    line, *fields = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)).decode().strip().split("\r\n")
    head = dict(one.split(": ", 1) for one in fields)
    return int(line.split()[1]), head, await reader.readexactly(int(head["content-length"]))


async def gather(server: Served, seed: int, connections: int, requests: int) -> Crowd:
    crowd = Crowd()
    clients = [Client(seed * 1_000 + number) for number in range(connections)]
    await asyncio.gather(*[client.connection(server.port, crowd, requests) for client in clients])
    return crowd


# -- what has to be so


def said_rightly(one: Sent, status: int, head: dict[str, str], body: bytes) -> int:
    """Hold an answer to what the same request is answered alone, unless there are too many; return its status."""
    assert head["x-request-id"] == one.id
    document = json.loads(body)
    if status == 503:
        assert document["code"] == "overloaded"
        return status
    assert status == one.status, (one, status, body)
    if b" /predict" in one.data[:20] and status == 200:
        assert document["id"] == one.id
        assert document["predictions"] == one.outputs
    elif one.rows:
        values = {output["name"]: output["data"] for output in document["outputs"]}
        assert values["mortality"] == [made["value"] for made in one.outputs]
    elif status != 200:
        assert document["request_id"] == one.id
    return status


def recorded_rightly(one: Sent, status: int | None, found: list[dict[str, Any]]) -> None:
    """Hold the records with a request's id to what was said; ``None`` where nobody was there to hear it."""
    assert len(found) <= 1
    if status is None and not found:
        return
    if not one.is_prediction or one.caller is None:  # strangers are recorded as long as they are few
        assert all(record["kind"] == "refusal" and record["caller"] is None for record in found)
        return
    (record,) = found
    assert record["caller"] == f"api-key:{one.caller}"
    if record["kind"] == "prediction":
        assert status in (200, None)
        assert record["outputs"] == one.outputs
        assert record["inputs"] == one.macs
    else:
        assert record["status"] == (status or record["status"])
        assert status != 200


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "keys"
    folder.mkdir()
    (folder / "audit-hmac.key").write_text(HMAC_KEY.hex())
    (folder / API_KEYS).write_text("\n".join(apikeys.line(name, key) for name, key in CALLERS.items()))
    monkeypatch.setenv("BEDSIDE_AUDIT_KEYS", str(folder))
    monkeypatch.setenv("BEDSIDE_AUDIT_DIRECTORY", str(tmp_path / "log"))
    monkeypatch.setenv("POD_NAME", POD)
    return folder


def ask(keys: Path, log: Path, seed: int, connections: int, requests: int, **limits: Any) -> set[int]:
    """Let a crowd ask; return the statuses that were said."""
    settings = msgspec.structs.replace(QUICK, auth=Auth(methods=("api-key",)), **limits)
    made = loaded(Leaving(), settings, "folded")
    made = msgspec.structs.replace(made, contract=msgspec.structs.replace(made.contract, audit=Audit()))
    with serving(made, keys=keys) as server:
        wall = server.process._walls[0]
        wall.gate = Hesitating(wall.gate, random.Random(seed))
        crowd = asyncio.run(gather(server, seed, connections, requests))
        assert server.process._predictions.loaded is not None
        service = server.process._predictions.loaded.service
        assert server.get("/readyz")[0] == 200
        assert server.stop() == 0
        assert service.in_flight == 0
    statuses = {said_rightly(*answer) for answer in crowd.answered}
    assert judge(log / POD).verdict is Judged.INTACT
    found: dict[str, list[dict[str, Any]]] = {}
    for path in paths(log / POD):
        for line in path.read_bytes().splitlines():
            body = json.loads(line)["body"]
            found.setdefault(body.get("request", ""), []).append(body)
    for one, status, _, _ in crowd.answered:
        recorded_rightly(one, status, found.get(one.id, []))
    for one in crowd.left:
        if one.id not in {answered.id for answered, *_ in crowd.answered}:
            recorded_rightly(one, None, found.get(one.id, []))
    return statuses


@pytest.mark.parametrize(("most", "overloaded"), [(500, set()), (12, {503})], ids=["free", "crowded"])
def test_everybody_gets_their_own_answer_and_their_own_record(
    keys: Path, tmp_path: Path, most: int, overloaded: set[int]
) -> None:
    statuses = ask(keys, tmp_path / "log", 1, 40, 24, max_in_flight=most)
    assert statuses == {200, 400, 401, 422, 500, 504} | overloaded

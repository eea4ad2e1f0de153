"""A real server process in a thread, or in a child process, around a model in plain Python."""

import asyncio
import contextlib
import http.client
import io
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from bedside_runtime import golden
from bedside_runtime.contract import Contract, Engine, EngineName, Row, Scalar, Serve
from bedside_runtime.loading import Loaded
from bedside_runtime.serve import event_loop, server
from bedside_runtime.serve.auth.guard import Guard
from bedside_runtime.serve.entrance import Address, Listening
from bedside_runtime.serve.logs import EventLog
from contracts import INPUTS, OUTPUT, Logistic, contract

PATIENT: dict[str, Any] = {
    "age": 63,
    "temperature": 37.2,
    "lactate": 1.1,
    "admission": "Emergency",
    "ventilated": False,
}
EXPECTED = float(Logistic().predict([(63, 37.2, 1.1, "Emergency", False)])[0])
QUICK = Serve(drain_seconds=0.0, shutdown_seconds=2.0, self_check_seconds=60.0, failed_exit_seconds=30.0, openapi=True)
"""Self-checks are so rare that no process counts as stalled because the machine is busy with something else."""

GOLDEN = json.dumps({"id": "one", "inputs": PATIENT, "expected": EXPECTED}).encode()

ENGINES: Final[tuple[EngineName | Literal["native"], ...]] = ("native", "folded")
"""One that is asked on a thread, and one that is asked in the loop, for all that arrives together."""


class Switchable:
    """A logistic model whose answers can be changed while it serves."""

    def __init__(self) -> None:
        self.change: Callable[[float], Scalar] = lambda value: value
        self.gate = threading.Event()
        self.gate.set()

    def predict(self, rows: Sequence[Row]) -> Sequence[Scalar]:
        self.gate.wait(60)
        return [self.change(float(value)) for value in Logistic().predict(rows)]

    def at_once(self, rows: Sequence[Row]) -> Sequence[Scalar | None]:
        return self.predict(rows) if self.gate.is_set() else [None] * len(rows)


def loaded(predictor: Any = None, settings: Serve = QUICK, engine: EngineName | Literal["native"] = "native") -> Loaded:
    made: Contract = contract(serve=settings, engine=Engine(name=engine))
    report = golden.Report(1, 0.0, 0.0)
    cases = golden.parse(GOLDEN, INPUTS, OUTPUT)
    return Loaded(made, "d" * 64, predictor or Logistic(), cases, {"name": "card"}, report, {}, ())


class Lagging(Listening):
    """Its lag lasts as long as ever, or as a test wants to look at it."""

    over: asyncio.Event | None = None

    async def lag(self, seconds: float) -> None:
        await (super().lag(seconds) if self.over is None else self.over.wait())


class Served:
    """A server and how to talk to it."""

    def __init__(self, load: server.Load, settings: Serve = QUICK, keys: Path | None = None) -> None:
        self.stream = io.StringIO()
        guard = Guard(settings, "127.0.0.1", {"BEDSIDE_AUTH_KEYS": str(keys), "BEDSIDE_TLS_KEYS": str(keys)})
        self._entrance = Lagging(Address("127.0.0.1", 0, 0), tls=guard.context is not None)
        self.process = server.Process(load, self._entrance, guard, EventLog(self.stream))
        self.exit_code: int | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        listening = self.wait_for("listening")
        self.port, self.admin_port = listening["port"], listening["admin_port"]

    def _run(self) -> None:
        self.exit_code = event_loop.run(self._serve())

    async def _serve(self) -> int:
        self._loop = asyncio.get_running_loop()
        return await self.process.run()

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Keep the loop from going on: what is sent while the block runs arrives in one turn of it."""
        stands, go_on = threading.Event(), threading.Event()

        def stand_still() -> None:
            stands.set()
            go_on.wait(60)

        self._loop.call_soon_threadsafe(stand_still)
        assert stands.wait(60)
        try:
            yield
        finally:
            go_on.set()

    @contextlib.contextmanager
    def draining(self) -> Iterator[None]:
        """Let the process drain, and go on with that when the block ends."""
        over = self._entrance.over = asyncio.Event()
        self.process.stop()
        self.wait_for("draining")
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(over.set)

    @property
    def in_flight(self) -> int:
        """Requests that wait for the model or for the log."""
        loaded = self.process._predictions.loaded
        return 0 if loaded is None else loaded.service.in_flight

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def wait_for(self, event: str, **details: Any) -> dict[str, Any]:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for found in self.events():
                if found["event"] == event and details.items() <= found.items():
                    return found
            time.sleep(0.01)
        raise AssertionError(f"no event {event} {details} in {self.events()}")

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, self.events()
            time.sleep(0.01)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        *,
        admin: bool = False,
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port if admin else self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, {key.lower(): value for key, value in response.getheaders()}, response.read()

    def get(self, path: str, *, admin: bool = False) -> tuple[int, Any]:
        status, _, body = self.request("GET", path, admin=admin)
        return status, json.loads(body)

    def post(self, value: Any, path: str = "/predict", **headers: str) -> tuple[int, Any]:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        status, _, body = self.request("POST", path, data, {"content-type": "application/json"} | headers)
        return status, json.loads(body)

    def ready(self) -> "Served":
        self.wait_for("ready")
        return self

    def stop(self) -> int | None:
        self.process.stop()
        self._thread.join(60)
        return self.exit_code


@contextlib.contextmanager
def serving(result: Loaded | Callable[..., Loaded] | None = None, *, keys: Path | None = None) -> Iterator[Served]:
    """Serve ``result``, or what it returns when called as a loader; ready unless it is a loader.

    ``keys`` is the folder of the files that authentication believes.
    """
    given = result if result is not None else loaded()

    def load(_stage: server.OnStage, on_contract: server.OnContract) -> Loaded:
        assert isinstance(given, Loaded)
        on_contract(given.contract)
        return given

    served = Served(given) if callable(given) else Served(load, given.contract.serve, keys)
    try:
        yield served if callable(given) else served.ready()
    finally:
        served.stop()

"""A serving process around the small test model, for tests with real signals: ``child.py SETTINGS-JSON``.

Settings: ``serve`` (changes to the contract's settings), ``audit`` (settings of the log), ``load_seconds``,
``predict_seconds``, ``fail``, ``port``; and files: while ``loads_where`` is there, loading takes; while ``holds_where``
is there, so does a slow prediction; while ``fail_where`` is there, loading fails. With ``serve.workers`` above 1 it
starts itself as each of them.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import msgspec
from served import QUICK, loaded

from bedside_runtime.contract import Audit, Row, Scalar
from bedside_runtime.errors import BedsideRuntimeError, GoldenMismatch
from bedside_runtime.loading import Loaded
from bedside_runtime.serve import server, workers
from bedside_runtime.serve.auth.guard import Guard
from bedside_runtime.serve.entrance import Address, Listening
from bedside_runtime.serve.handover import Handed
from bedside_runtime.serve.logs import EventLog
from contracts import Logistic

ASKED = json.loads(sys.argv[1])
SETTINGS = msgspec.convert({"drain_seconds": 0.0, "openapi": True, **ASKED.get("serve", {})}, type(QUICK))


def while_there(name: str) -> None:
    while Path(ASKED.get(name, "/nowhere")).exists():
        time.sleep(0.01)


class Slow(Logistic):
    """Takes its time with a patient of 99 years, as no golden case is."""

    def predict(self, rows: Sequence[Row]) -> Sequence[Scalar]:
        if any(row[0] == 99 for row in rows):
            time.sleep(ASKED.get("predict_seconds", 0.0))
            while_there("holds_where")
        return super().predict(rows)


def load(on_stage: server.OnStage, on_contract: server.OnContract) -> Loaded:
    given = loaded(Slow(), SETTINGS)
    if "audit" in ASKED:
        given = msgspec.structs.replace(
            given, contract=msgspec.structs.replace(given.contract, audit=Audit(**ASKED["audit"]))
        )
    on_contract(given.contract)
    time.sleep(ASKED.get("load_seconds", 0.0))
    while_there("loads_where")
    on_stage("verifying")
    if ASKED.get("fail") or Path(ASKED.get("fail_where", "/nowhere")).exists():
        raise GoldenMismatch("Jane Canary")
    server.settle()
    return given


try:
    guard = Guard(SETTINGS, "127.0.0.1", os.environ)
    if "--worker" in sys.argv:
        index, connections, reports = map(int, sys.argv[-1].split(","))
        server.end(server.serve(load, Handed(connections, reports), guard, EventLog(worker=index)))
    ports = Listening(Address("127.0.0.1", ASKED.get("port", 0), 0), tls=guard.context is not None)
    if SETTINGS.workers > 1:
        server.end(workers.serve((sys.executable, *sys.argv), SETTINGS, ports, EventLog()))
    server.end(server.serve(load, ports, guard, EventLog()))
except BedsideRuntimeError as error:
    print(error, error.remedy, file=sys.stderr)
    server.end(error.exit_code)

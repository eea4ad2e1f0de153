"""The application's outermost wall, without a server around it."""

import asyncio
import io
from typing import Any

import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from bedside_runtime.serve.auth.verdict import ANYBODY, DECISION
from bedside_runtime.serve.boundary import Boundary
from bedside_runtime.serve.lifecycle import Lifecycle
from bedside_runtime.serve.logs import EventLog
from bedside_runtime.serve.metrics import Metrics
from bedside_runtime.serve.predicting import Predictions


class Unaudited:
    detail = "none"
    unrecorded = 0


def scope(path: str) -> Scope:
    known: dict[str, Any] = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "headers": []}
    return {**known, "query_string": b"", DECISION: ANYBODY}


async def receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(_message: Any) -> None:
    """Throw it away."""


@pytest.mark.parametrize(("path", "turns"), [("/openapi.json", 20), ("/livez", 1)])
def test_documents_are_answered_one_a_turn_of_the_loop_and_probes_at_once(path: str, turns: int) -> None:
    async def main() -> None:
        loop, turn, seen = asyncio.get_running_loop(), 0, []

        def count() -> None:
            nonlocal turn
            turn += 1
            loop.call_soon(count)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(turn)
            await Response(b"")(scope, receive, send)

        metrics = Metrics(lambda: True, Unaudited())
        boundary = Boundary(app, metrics, Predictions(Lifecycle(), metrics, EventLog(io.StringIO())))
        count()
        await asyncio.gather(*(boundary(scope(path), receive, send) for _ in range(20)))
        assert len(seen) == 20
        assert len(set(seen)) == turns

    asyncio.run(main())

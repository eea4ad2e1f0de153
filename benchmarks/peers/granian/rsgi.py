"""The same floor on Granian's own interface."""

from typing import Any

import orjson


async def app(_scope: Any, protocol: Any) -> None:
    answer = orjson.dumps(orjson.loads(await protocol()))
    protocol.response_bytes(200, [("content-type", "application/json")], answer)

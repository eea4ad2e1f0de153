"""A server whose model notices when somebody got past its gate, for attempts to do that."""

import json
from collections.abc import Sequence
from typing import Any

from served import PATIENT, Served
from wire import said, statuses

from bedside_runtime.contract import Row, Scalar
from contracts import Logistic

ASKED = {**PATIENT, "age": 77}
"""A patient whom no self-check asks about."""

BODY = json.dumps({"inputs": ASKED}).encode()
FORBIDDEN = (b"predictions", b"mortality", b'"card"', b"bedside_", b"datatype")
"""What no refusal ever holds."""


class Noticing(Logistic):
    """Counts how often it is asked about that patient."""

    def __init__(self) -> None:
        self.asked = 0

    def predict(self, rows: Sequence[Row]) -> Sequence[Scalar]:
        self.asked += sum(row[0] == ASKED["age"] for row in rows)
        return super().predict(rows)


def request(
    *fields: bytes, line: bytes = b"POST /predict HTTP/1.1", body: bytes = BODY, host: bytes = b"Host: h"
) -> bytes:
    """Return a request for a prediction with further header fields."""
    own = (host, b"Content-Type: application/json", b"Content-Length: %d" % len(body))
    return b"\r\n".join([line, *filter(None, own), *fields]) + b"\r\n\r\n" + body


def accepted(server: Served, model: Noticing, attempt: bytes, *, let_in: int = 0) -> str:
    """Return what of ``attempt`` got through; empty if no more than ``let_in`` requests, which are no attempts."""
    before = model.asked
    received = said(server, attempt)
    found: list[Any] = [status for status in statuses(received) if status < 400]
    if len(found) > let_in or model.asked - before > let_in:
        return f"statuses {statuses(received)}, the model was asked {model.asked - before} times"
    if any(status >= 500 for status in statuses(received)):
        return f"the server was at fault: {statuses(received)}"
    leaked = [word for word in FORBIDDEN if word in received] if not let_in else []
    return f"leaked {leaked}" if leaked else ""

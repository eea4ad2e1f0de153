"""What all connections of one port share."""

from typing import TYPE_CHECKING

from bedside_runtime.contract import Serve
from bedside_runtime.serve.auth.gate import Gate
from bedside_runtime.serve.metrics import Metrics
from bedside_runtime.serve.predicting import Predictions

if TYPE_CHECKING:
    from uvicorn.server import ServerState


class Wall:
    """One port, seen from its connections.

    Attributes:
        predictions: Answers patients; ``None`` on a port that does not.
        metrics: Counts requests, and connections that were refused.
        gate: Decides which requests may go on.
        limits: The release's settings, once they are known.
        closing: Whether every answer says that the connection ends with it.
    """

    def __init__(self, predictions: Predictions | None, metrics: Metrics, gate: Gate) -> None:
        self.predictions = predictions
        self.metrics = metrics
        self.gate = gate
        self.limits = Serve()
        self.closing = False
        self._default: list[tuple[bytes, bytes]] = []
        self._fields = b""

    def fields(self, state: "ServerState") -> bytes:
        """Return the header fields that the server itself adds to every answer; the date changes every second."""
        if state.default_headers is not self._default:
            self._default = state.default_headers
            self._fields = b"".join([b"%b: %b\r\n" % field for field in self._default])
        return self._fields

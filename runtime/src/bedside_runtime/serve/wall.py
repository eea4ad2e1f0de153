"""What all connections of one port share."""

from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from bedside_runtime.contract import Serve
from bedside_runtime.serve.auth.gate import Gate
from bedside_runtime.serve.line import Line
from bedside_runtime.serve.metrics import Metrics
from bedside_runtime.serve.predicting import Predictions
from bedside_runtime.serve.repeats import Repeats
from bedside_runtime.serve.turn import Turn

if TYPE_CHECKING:
    from uvicorn.server import ServerState


class Wall:
    """One port, seen from its connections.

    Attributes:
        predictions: Answers patients; ``None`` on a port that does not.
        metrics: Counts requests, and connections that were refused.
        gate: Decides which requests may go on.
        limits: The release's settings, once they are known.
        line: Where those wait who ask for documents.
        turn: Reads and answers what arrives at the same time.
        repeats: Heads that came before.
        closing: Whether every answer says that the connection ends with it.
    """

    def __init__(self, predictions: Predictions | None, metrics: Metrics, gate: Gate) -> None:
        self.predictions = predictions
        self.metrics = metrics
        self.gate = gate
        self.limits = Serve()
        self.line = Line()
        self.turn = Turn(predictions, metrics)
        self.repeats = Repeats()
        self.closing = False
        self._fields: list[tuple[bytes, bytes]] = []
        self._heads: dict[tuple[int, str], bytes] = {}

    def head(self, state: "ServerState", status: int, media_type: str) -> bytes:
        """Return how an answer begins; the header fields that the server adds change every second, with the date."""
        if state.default_headers is not self._fields:
            self._fields = state.default_headers
            self._heads.clear()
        made = self._heads.get((status, media_type))
        if made is None:
            fields = b"".join([b"%b: %b\r\n" % field for field in self._fields])
            made = b"%b%bcontent-type: %b\r\n" % (STATUS_LINE[status], fields, media_type.encode())
            self._heads[status, media_type] = made
        return made

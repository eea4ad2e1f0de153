"""What the process says: one JSON object a line on stderr, from a closed set of keys, never a patient's value."""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TextIO

KEYS: Final = frozenset(
    {"release", "digest", "state", "reason", "cases", "seconds", "exit_code", "worker", "source"}
    | {"host", "port", "admin_port"}
    | {"request_id", "trace_id", "route", "status", "error", "at"}
)
"""Every key that an event may have beside time, level and event."""

_SERVER_MESSAGES: Final = frozenset({"Invalid HTTP request received.", "Unsupported upgrade request."})
"""Fixed sentences of the HTTP server that are passed on; anything else might quote a request."""


_OURS: Final = str(Path(__file__).parents[1])


def place(error: Exception) -> str:
    """Return file and line of the innermost frame of this package."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(_OURS)]
    last = frames[-1] if frames else None
    return f"{Path(last.filename).name}:{last.lineno}" if last is not None else ""


class EventLog:
    """Writes events. The set of keys is closed, so that nobody logs an input by accident."""

    def __init__(self, stream: TextIO = sys.stderr, worker: int | None = None) -> None:
        """``worker`` is said with every event, where there are several."""
        self._stream = stream
        self._always: dict[str, str | float | None] = {} if worker is None else {"worker": worker}

    def info(self, event: str, **details: str | float | None) -> None:
        """Write an event of ordinary life."""
        self._write("info", event, details)

    def error(self, event: str, **details: str | float | None) -> None:
        """Write an event that somebody should look at."""
        self._write("error", event, details)

    def _write(self, level: str, event: str, details: dict[str, str | float | None]) -> None:
        if unknown := details.keys() - KEYS:
            raise ValueError(f"no event has the keys {sorted(unknown)}")
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"time": time, "level": level, "event": event, **self._always, **details}
        self._stream.write(json.dumps(line, separators=(",", ":")) + "\n")
        self._stream.flush()


class _ServerHandler(logging.Handler):
    """Takes what the HTTP server logs: fixed sentences are passed on, texts that were made up are not."""

    def __init__(self, log: EventLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        said = str(record.msg)
        reason = said if said in _SERVER_MESSAGES else "http-server"
        self._log.info("http-server", reason=reason)


def silence_server(log: EventLog) -> None:
    """Route uvicorn's loggers to ``log`` without any text of a request or an exception."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = False
        logger.setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").addHandler(_ServerHandler(log))
    logging.getLogger("asyncio").addHandler(_ServerHandler(log))
    logging.getLogger("asyncio").propagate = False

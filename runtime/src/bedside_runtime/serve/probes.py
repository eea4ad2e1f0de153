"""The probes, the same on both ports, of one process and of several: a report, asked for and answered at once."""

from collections.abc import Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


class Report(msgspec.Struct, frozen=True):
    """How a process is.

    Attributes:
        started: Whether loading and the golden replay finished.
        ready: Whether to send patients here.
        status: The state.
        reason: A fixed reason code.
        audit: A fixed word about the audit log.
        keys: A fixed word about what authentication believes: ``none``, ``current``, ``stale``,
            ``unavailable``.
    """

    started: bool
    ready: bool
    status: str
    reason: str
    audit: str
    keys: str


class Probes:
    """Answers from ``report``; never waits."""

    def __init__(self, report: Callable[[], Report]) -> None:
        self._report = report

    def routes(self) -> list[Route]:
        """Return the routes, each under its two names."""
        return [
            *(Route(path, self.live) for path in ("/health", "/livez")),
            *(Route(path, self.startup) for path in ("/startup", "/startupz")),
            *(Route(path, self.ready) for path in ("/ready", "/readyz")),
        ]

    async def live(self, _request: Request) -> Response:
        """200 while the process can make progress."""
        return json({"status": "live", "reason": "live", "live": True})

    async def startup(self, _request: Request) -> Response:
        """503 until loading and the golden replay finished."""
        report = self._report()
        reason = "started" if report.started else report.reason
        return json({"status": report.status, "reason": reason}, 200 if report.started else 503)

    async def ready(self, _request: Request) -> Response:
        """503 with the reason unless patients may be sent here."""
        report = self._report()
        body = {"status": report.status, "reason": report.reason, "ready": report.ready}
        return json({**body, "audit": report.audit, "keys": report.keys}, 200 if report.ready else 503)


def json(value: object, status: int = 200) -> Response:
    """Return ``value`` as an answer."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")

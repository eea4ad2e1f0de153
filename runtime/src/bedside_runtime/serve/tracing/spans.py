"""Traces through OpenTelemetry's SDK, the runtime's extra ``tracing``; configured by its standard variables.

A request notes times only; spans are made of them when it has been answered, and only if the trace is sampled. They are
sent on a thread of the SDK's, from a queue that drops what it cannot hold: a collector that is slow or gone costs no
answer. No span holds anything of a request but its method, its route's template and its status.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Final

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from bedside_runtime import __version__
from bedside_runtime.contract import Contract
from bedside_runtime.errors import TracingUnsuitable
from bedside_runtime.serve.beside import beside
from bedside_runtime.serve.logs import EventLog
from bedside_runtime.serve.tracing.current import CURRENT, Trace

_METHODS: Final = frozenset({"GET", "HEAD", "POST"})
_SERVER_ERROR: Final = 500
_LONGEST_STATE: Final = 512
"""Characters of ``tracestate`` that are carried on (W3C Trace Context, section 3.3.1.5)."""

_FLUSH_SECONDS: Final = 2.0
"""How long the end of the process waits for what has not been sent."""

_PROPAGATOR: Final = TraceContextTextMapPropagator()


class RequestTrace:
    """See `current.Trace`."""

    def __init__(self, tracer: trace.Tracer, span: Span, began: int, method: str) -> None:
        context = span.get_span_context()
        self.id = f"{context.trace_id:032x}"
        self.response = f"00-{self.id}-{context.span_id:016x}-{context.trace_flags:02x}" if context.is_valid else ""
        self._tracer, self._span, self._began, self._method = tracer, span, began, method
        self._laps: list[tuple[str, int, int, int | None]] = []

    def lap(self, name: str, since: int, until: int, rows: int | None = None) -> None:
        """See `current.Trace`."""
        self._laps.append((name, since, until, rows))

    def validated(self) -> None:
        """See `current.Trace`."""
        self.lap("validate", self._began, time.time_ns())

    def end(self, route: str, status: int) -> None:
        """See `current.Trace`."""
        span = self._span
        if not span.is_recording():
            return
        within = trace.set_span_in_context(span)
        for name, since, until, rows in self._laps:
            attributes = {"bedside.batch.rows": rows} if rows is not None else None
            self._tracer.start_span(name, within, start_time=since, attributes=attributes).end(until)
        known = route != "other"
        span.update_name(f"{self._method} {route}" if known else self._method)
        span.set_attribute("http.response.status_code", status)
        if known:
            span.set_attribute("http.route", route)
        if status >= _SERVER_ERROR:
            span.set_attribute("error.type", str(status))
            span.set_status(StatusCode.ERROR)
        span.end()


class OpenTelemetryTracing:
    """See `current.Tracing`."""

    def __init__(self, contract: Contract, digest: str, log: EventLog) -> None:
        """Begin to send.

        Args:
            contract: The release.
            digest: Its digest, 64 hexadecimal characters.
            log: Told when spans cannot be sent, and when they can again.
        """
        _silence()
        named = Resource({"service.name": contract.name, "service.version": contract.version})
        named = named.merge(OTELResourceDetector().detect())  # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win
        resource = Resource.create({**named.attributes, "bedside.release.digest": f"sha256:{digest}"})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(_Watched(OTLPSpanExporter(), log)))
        self._tracer = self._provider.get_tracer("bedside", __version__)

    def begin(self, method: str, head: Mapping[bytes, bytes], received: float) -> Trace:
        """See `current.Tracing`."""
        now = time.time_ns()
        since = now - round((time.monotonic() - received) * 1e9)
        method = method if method in _METHODS else "_OTHER"
        span = self._tracer.start_span(
            method,
            _PROPAGATOR.extract(_carried(head)),
            SpanKind.SERVER,
            attributes={"http.request.method": method},
            start_time=since,
        )
        begun = RequestTrace(self._tracer, span, now, method)
        CURRENT.set(begun)
        return begun

    async def close(self) -> None:
        """Send what waits, for a moment."""
        try:
            await beside(self._provider.shutdown, _FLUSH_SECONDS)
        except TimeoutError:
            return


class _Watched(SpanExporter):
    """Says once that spans cannot be sent, and once that they can again."""

    def __init__(self, exporter: SpanExporter, log: EventLog) -> None:
        self._exporter, self._log, self._failing = exporter, log, False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send ``spans``."""
        result = self._exporter.export(spans)
        failing = result is not SpanExportResult.SUCCESS
        if failing != self._failing:
            self._failing = failing
            if failing:
                self._log.error("traces-not-sent")
            else:
                self._log.info("traces-sent-again")
        return result

    def shutdown(self) -> None:
        """Send nothing any more."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait for nothing: nothing is kept here."""
        return self._exporter.force_flush(timeout_millis)


def _carried(head: Mapping[bytes, bytes]) -> dict[str, str]:
    """Return what a caller says about its trace; ``tracestate`` only as far as everybody must carry it."""
    parent = head.get(b"traceparent")
    if parent is None:
        return {}
    state = head.get(b"tracestate", b"")
    carried = {"traceparent": parent.decode("latin-1")}
    return carried | {"tracestate": state.decode("latin-1")} if len(state) <= _LONGEST_STATE else carried


def check(environ: Mapping[str, str]) -> None:
    """Refuse what the variables ask for and is not there.

    Raises:
        TracingUnsuitable: Another exporter, or another protocol.
    """
    exporter = environ.get("OTEL_TRACES_EXPORTER", "otlp")
    protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if exporter != "otlp":
        raise TracingUnsuitable(f"OTEL_TRACES_EXPORTER is {exporter[:40]!r}, and spans are sent by otlp alone")
    if protocol not in (None, "", "http/protobuf"):
        raise TracingUnsuitable(f"the protocol of OTLP is {protocol[:40]!r}, and http/protobuf alone is spoken")


def _silence() -> None:
    """Keep what the SDK and its HTTP client say out of the log: it may quote addresses, and comes once a span."""
    for name in ("opentelemetry", "urllib3", "requests"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [logging.NullHandler()]
        logger.propagate = False
        logger.setLevel(logging.CRITICAL)

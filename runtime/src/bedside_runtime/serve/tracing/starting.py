"""What tracing needs is looked at before anything listens."""

from collections.abc import Mapping

from bedside_runtime.contract import Contract, Serve
from bedside_runtime.errors import LibraryMissing
from bedside_runtime.serve.logs import EventLog
from bedside_runtime.serve.tracing.current import Tracing


def require(settings: Serve | None, environ: Mapping[str, str]) -> None:
    """Refuse what could not be traced as it is asked for.

    Raises:
        LibraryMissing: The extra ``tracing`` is not installed.
        TracingUnsuitable: The variables of OpenTelemetry ask for something that is not there.
    """
    if settings is None or not settings.tracing:
        return
    try:
        from bedside_runtime.serve.tracing import spans  # needs the extra `tracing`, which other releases do not
    except ImportError as error:
        raise LibraryMissing(
            "spans need the OpenTelemetry SDK and its exporter",
            remedy="Install bedside-runtime[tracing], or leave [serve] tracing out.",
        ) from error
    spans.check(environ)


def tracing(contract: Contract, digest: str, log: EventLog) -> Tracing | None:
    """Return what traces the requests of a release; ``None`` where it asks for nothing."""
    if not contract.serve.tracing:
        return None
    from bedside_runtime.serve.tracing import spans

    return spans.OpenTelemetryTracing(contract, digest, log)

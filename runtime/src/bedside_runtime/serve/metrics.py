"""Prometheus metrics with closed label sets: routes, bands and input names of the contract, never a value."""

from collections.abc import Callable, Iterable
from typing import Final, Protocol

from prometheus_client import (
    CollectorRegistry,
    Enum,
    Gauge,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from bedside_runtime import __version__
from bedside_runtime.contract import Contract
from bedside_runtime.serve.auth.verdict import REASONS as REFUSALS
from bedside_runtime.serve.lifecycle import State
from bedside_runtime.serve.tallies import Distribution, Reading, Series, Tally
from bedside_runtime.service import Prediction

CONTENT_TYPE = CONTENT_TYPE_LATEST
_METHODS: Final = frozenset({"GET", "HEAD", "POST"})
_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds."""

_BATCHES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024)
"""Rows."""

REASONS: Final = frozenset(
    {"bad-request", "body-timeout", "body-too-large", "head-timeout", "head-too-large", "slow-reader"}
    | {"tls-handshake", "too-many-connections"}
)
"""Why a connection is ended before its client ends it."""


class Working(Protocol):
    """What metrics ask of the prediction service."""

    in_flight: int

    @property
    def waiting(self) -> int:
        """Rows that wait for the model."""
        ...


class Believed(Protocol):
    """What metrics ask of a source of what authentication believes."""

    name: str
    stale: bool


class Audited(Protocol):
    """What metrics ask of the audit log."""

    @property
    def detail(self) -> str:
        """A fixed word about the log."""
        ...

    @property
    def unrecorded(self) -> int:
        """How many answers left without a record."""
        ...

    @property
    def unrecorded_refusals(self) -> int:
        """How many refusals did."""
        ...


class Metrics:
    """All metrics of one process, in a registry of their own.

    Attributes:
        registry: What they are registered in.
    """

    def __init__(self, ready: Callable[[], bool], audit: Audited) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._duration = Distribution(
            "http_server_request_duration_seconds",
            "Time from the request's head to the end of its answer.",
            ["http_route", "http_request_method", "http_response_status_code"],
            _BUCKETS,
        )
        self.registry.register(self._duration)
        self._durations: dict[tuple[str, str, int], Series] = {}
        self._ready = Gauge("bedside_ready", "1 while /readyz answers 200.", registry=self.registry)
        self._ready.set_function(lambda: float(ready()))
        self._audit = Gauge("bedside_audit_ok", "1 while the audit log takes records.", registry=self.registry)
        self._audit.set_function(lambda: float(audit.detail in ("open", "space-low")))
        unrecorded = Reading(
            "bedside_audit_unrecorded_answers",
            "Answers that left without a record, because the author chose answer-and-alarm.",
            lambda: float(audit.unrecorded),
        )
        self.registry.register(unrecorded)
        refusals = Reading(
            "bedside_audit_unrecorded_refusals",
            "Refusals that left without a record: the disk of the audit log hung, and thousands waited for it already.",
            lambda: float(audit.unrecorded_refusals),
        )
        self.registry.register(refusals)
        self._audit_info = Gauge(
            "bedside_audit_info",
            "1; how answers are recorded, and whether anybody is answered while they cannot be.",
            ["payload", "signed", "on_failure"],
            registry=self.registry,
        )
        states = [str(state) for state in State]
        self._state = Enum("bedside_state", "Where the process is.", states=states, registry=self.registry)
        self._load = Gauge("bedside_load_seconds", "From start to ready.", registry=self.registry)
        self._build = Gauge(
            "bedside_build_info",
            "1; the labels say what runs here.",
            ["name", "version", "digest", "runtime"],
            registry=self.registry,
        )
        self._in_flight = Gauge(
            "bedside_requests_in_flight", "Requests between their arrival and their answer.", registry=self.registry
        )
        self._waiting = Gauge("bedside_rows_waiting", "Rows that wait for the model.", registry=self.registry)
        self._batch = Distribution("bedside_batch_rows", "Rows of one call of the model.", (), _BATCHES)
        self.registry.register(self._batch)
        self._refused = Tally("bedside_connections_refused", "Connections that were ended early.", ["reason"])
        self.registry.register(self._refused)
        for reason in sorted(REASONS):
            self._refused.show(reason)
        self._turned_away = Tally(
            "bedside_authentication_refusals",
            "Requests whose caller is not known or may not ask, by reason; not all of a flood are in the audit log.",
            ["reason", "recorded"],
        )
        self.registry.register(self._turned_away)
        self._keys = Gauge(
            "bedside_authentication_keys_current",
            "1 while what is believed is what is mounted, 0 while older keys stand in for files that cannot be used.",
            ["source"],
            registry=self.registry,
        )
        self._predictions = Tally("bedside_predictions", "Answered rows by band.", ["band"])
        self.registry.register(self._predictions)
        self._flags = Tally(
            "bedside_input_flags",
            "Answered rows with a missing input, or one outside of what is expected.",
            ["input", "code"],
        )
        self.registry.register(self._flags)

    def loaded(self, contract: Contract, digest: str, seconds: float, working: Working) -> None:
        """Name what runs here, and show every label of it from the start."""
        self._in_flight.set_function(lambda: float(working.in_flight))
        self._waiting.set_function(lambda: float(working.waiting))
        self._build.labels(contract.name, contract.version, f"sha256:{digest}", __version__).set(1)
        self._load.set(seconds)
        if contract.audit is not None:
            audit = contract.audit
            self._audit_info.labels(audit.payload, str(audit.signed).lower(), audit.on_failure).set(1)
        for band in contract.output.bands:
            self._predictions.show(band.name)
        for item in contract.inputs:
            self._flags.show(item.name, "missing")
            self._flags.show(item.name, "outside-expected")

    def workers(self, ready: Callable[[], int]) -> Tally:
        """Show how many workers are ``ready``, and return a counter of those that were replaced."""
        gauge = Gauge("bedside_workers_ready", "Workers that patients may be sent to.", registry=self.registry)
        gauge.set_function(lambda: float(ready()))
        restarts = Tally("bedside_worker_restarts", "Workers that ended and were replaced.", ())
        restarts.show()
        self.registry.register(restarts)
        return restarts

    def guarded(self, sources: Iterable[Believed], expires: Callable[[], float] | None) -> None:
        """Show, from the start, whether each source of what is believed is current, and every reason to refuse.

        Args:
            sources: Of keys, key sets, names and certificates.
            expires: When the server's certificate ends, seconds since the epoch; ``None`` where it has none.
        """
        if expires is not None:
            gauge = Gauge(
                "bedside_tls_certificate_expiry_timestamp_seconds",
                "When the certificate of the public port ends.",
                registry=self.registry,
            )
            gauge.set_function(expires)
        for source in sources:
            self._keys.labels(source.name).set_function(_current(source))
            for reason in REFUSALS:
                self._turned_away.show(reason, "true")

    def turned_away(self, reason: str, *, recorded: bool) -> None:
        """Count a request of somebody who may not ask."""
        self._turned_away.add(reason, "true" if recorded else "false")

    def entered(self, state: State) -> None:
        """Count a change of state."""
        self._state.state(str(state))

    def answered(self, predictions: Iterable[Prediction]) -> None:
        """Count answered rows."""
        for prediction in predictions:
            self._predictions.add(prediction.band or "")
            for flag in prediction.flags:
                self._flags.add(flag.input, flag.code)

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request. ``route`` is a route's template, or ``other``."""
        series = self._durations.get((route, method, status))
        if series is None:
            named = method if method in _METHODS else "other"
            series = self._duration.series(route, named, str(status))
            if named == method:  # what a client may call its methods has no end
                self._durations[route, method, status] = series
        series.observe(seconds)

    def batch(self, rows: int) -> None:
        """Count one call of the model."""
        self._batch.series().observe(rows)

    def refused(self, reason: str) -> None:
        """Count a connection that was ended early; ``reason`` is one of ``REASONS``."""
        self._refused.add(reason if reason in REASONS else "bad-request")

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)


def _current(source: Believed) -> Callable[[], float]:
    return lambda: float(not source.stale)

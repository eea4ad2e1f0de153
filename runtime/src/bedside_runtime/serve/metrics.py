"""Prometheus metrics with closed label sets: routes, bands and input names of the contract, never a value."""

from collections.abc import Callable, Iterable
from typing import Final, Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Enum,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from bedside_runtime import __version__
from bedside_runtime.contract import Contract
from bedside_runtime.serve.lifecycle import State
from bedside_runtime.service import Prediction

CONTENT_TYPE = CONTENT_TYPE_LATEST
_METHODS: Final = frozenset({"GET", "HEAD", "POST"})
_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds."""


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


class Metrics:
    """All metrics of one process, in a registry of their own."""

    def __init__(self, ready: Callable[[], bool], audit: Audited) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._duration = Histogram(
            "http_server_request_duration_seconds",
            "Time from the request's head to the end of its answer.",
            ["http_route", "http_request_method", "http_response_status_code"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._ready = Gauge("bedside_ready", "1 while /readyz answers 200.", registry=self._registry)
        self._ready.set_function(lambda: float(ready()))
        self._audit = Gauge("bedside_audit_ok", "1 while the audit log takes records.", registry=self._registry)
        self._audit.set_function(lambda: float(audit.detail in ("open", "space-low")))
        self._unrecorded = Gauge(
            "bedside_audit_unrecorded_answers",
            "Answers that left without a record, because the author chose answer-and-alarm.",
            registry=self._registry,
        )
        self._unrecorded.set_function(lambda: float(audit.unrecorded))
        states = [str(state) for state in State]
        self._state = Enum("bedside_state", "Where the process is.", states=states, registry=self._registry)
        self._load = Gauge("bedside_load_seconds", "From start to ready.", registry=self._registry)
        self._build = Gauge(
            "bedside_build_info",
            "1; the labels say what runs here.",
            ["name", "version", "digest", "runtime"],
            registry=self._registry,
        )
        self._predictions = Counter("bedside_predictions", "Answered rows by band.", ["band"], registry=self._registry)
        self._flags = Counter(
            "bedside_input_flags",
            "Answered rows with a missing input, or one outside of what is expected.",
            ["input", "code"],
            registry=self._registry,
        )

    def loaded(self, contract: Contract, digest: str, seconds: float) -> None:
        """Name what runs here, and show every label of it from the start."""
        self._build.labels(contract.name, contract.version, f"sha256:{digest}", __version__).set(1)
        self._load.set(seconds)
        for band in contract.output.bands:
            self._predictions.labels(band.name)
        for item in contract.inputs:
            self._flags.labels(item.name, "missing")
            self._flags.labels(item.name, "outside-expected")

    def entered(self, state: State) -> None:
        """Count a change of state."""
        self._state.state(str(state))

    def answered(self, predictions: Iterable[Prediction]) -> None:
        """Count answered rows."""
        for prediction in predictions:
            self._predictions.labels(prediction.band or "").inc()
            for flag in prediction.flags:
                self._flags.labels(flag.input, flag.code).inc()

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request. ``route`` is a route's template, or ``other``."""
        self._duration.labels(route, method if method in _METHODS else "other", str(status)).observe(seconds)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)

"""Several processes' metrics as one view, so that a scrape sees one service whatever answers on its port."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

_Key: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]
"""A sample's name and its labels."""

_ADDED: Final = frozenset({"counter", "histogram"})
"""Types whose samples add up, also those of a process that has ended."""

GAUGES: Final[Mapping[str, Callable[[float, float], float]]] = MappingProxyType(
    {
        "bedside_audit_info": max,
        "bedside_authentication_keys_current": min,
        "bedside_build_info": max,
        "bedside_load_seconds": max,
        "bedside_tls_certificate_expiry_timestamp_seconds": min,
        "bedside_requests_in_flight": float.__add__,
        "bedside_rows_waiting": float.__add__,
        "process_max_fds": min,
        "process_open_fds": float.__add__,
        "process_resident_memory_bytes": float.__add__,
        "process_start_time_seconds": min,
        "process_virtual_memory_bytes": float.__add__,
        "python_info": max,
    }
)
"""What the gauges of several processes come to together."""

OWN: Final = frozenset({"bedside_ready", "bedside_state", "bedside_audit_ok", "bedside_workers_ready"})
"""What only the process that listens can say for all of them."""


class Merged(Collector):
    """The families of several expositions."""

    def __init__(self) -> None:
        self._families: dict[str, Metric] = {}
        self._values: dict[str, dict[_Key, float]] = {}

    def add(self, exposition: str, *, own: bool = False, ended: bool = False) -> None:
        """Add what a process says.

        Args:
            exposition: Its metrics in Prometheus' text format.
            own: It is the process that listens.
            ended: It is no more; only what it counted still counts.
        """
        for family in text_string_to_metric_families(exposition):
            if (ended and family.type not in _ADDED) or (family.name in OWN and not own):
                continue
            together = float.__add__ if family.type in _ADDED else _gauge(family.name)
            self._families.setdefault(family.name, family)
            values = self._values.setdefault(family.name, {})
            for sample in family.samples:
                key = sample.name, tuple(sample.labels.items())
                value = float(sample.value)
                values[key] = together(values[key], value) if key in values else value

    def collect(self) -> Iterable[Metric]:
        """Return the families."""
        for name, values in self._values.items():
            family = self._families[name]
            made = Metric(name, family.documentation, family.type)
            for (sample, labels), value in values.items():
                made.add_sample(sample, dict(labels), value)
            yield made

    def exposition(self) -> str:
        """Return them in Prometheus' text format."""
        return generate_latest(self).decode()


def _gauge(name: str) -> Callable[[float, float], float]:
    """Return how ``name`` is taken together; when something was created, the first time counts."""
    return min if name.endswith("_created") else GAUGES.get(name, max)

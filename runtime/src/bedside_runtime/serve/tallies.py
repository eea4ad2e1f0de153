"""Counting on the path of every answer: plain numbers on the event loop, made into metric families when scraped.

prometheus-client takes a lock for every number; on one thread nothing needs it.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Tally(Collector):
    """A counter with labels."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str]) -> None:
        self._name, self._documentation, self._labels = name, documentation, tuple(labels)
        self._counts: dict[tuple[str, ...], int] = {}

    def show(self, *labels: str) -> None:
        """Show this series from the start, at zero."""
        self._counts.setdefault(labels, 0)

    def add(self, *labels: str) -> None:
        """Count one."""
        self._counts[labels] = self._counts.get(labels, 0) + 1

    def collect(self) -> Iterable[Metric]:
        """Return the family; called at a scrape."""
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for labels, count in self._counts.items():
            family.add_metric(labels, count)
        return [family]


class Reading(Collector):
    """A counter that is kept elsewhere, and read at a scrape."""

    def __init__(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        self._name, self._documentation, self._read = name, documentation, read

    def collect(self) -> Iterable[Metric]:
        """Return the family; called at a scrape."""
        return [CounterMetricFamily(self._name, self._documentation, value=self._read())]


class Distribution(Collector):
    """A histogram with labels."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str], bounds: Sequence[float]) -> None:
        """``bounds`` are upper bounds of the buckets, ascending, without infinity."""
        self._name, self._documentation, self._labels = name, documentation, tuple(labels)
        self._bounds = tuple(float(bound) for bound in bounds)
        self._series: dict[tuple[str, ...], Series] = {}

    def series(self, *labels: str) -> "Series":
        """Return the series with these labels."""
        found = self._series.get(labels)
        if found is None:
            found = self._series[labels] = Series(self._bounds)
        return found

    def collect(self) -> Iterable[Metric]:
        """Return the family; called at a scrape."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        names = [*map(floatToGoString, self._bounds), "+Inf"]
        for labels, series in self._series.items():
            buckets = list(zip(names, accumulate(series.counts), strict=True))
            family.add_metric(labels, buckets, series.sum)
        return [family]


class Series:
    """One histogram.

    Attributes:
        counts: Values in each bucket, and beyond the last.
        sum: Of all values.
    """

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

"""Several expositions as one."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bedside_runtime.serve.auditing import Auditing
from bedside_runtime.serve.logs import EventLog
from bedside_runtime.serve.merging import GAUGES, OWN, Merged
from bedside_runtime.serve.metrics import Metrics

COUNTER = '# TYPE asked_total counter\nasked_total{{route="/predict"}} {}\n'
GAUGE = "# TYPE {0} gauge\n{0} {1}\n"
HISTOGRAM = """# TYPE took histogram
took_bucket{{le="0.1"}} {0}
took_bucket{{le="+Inf"}} {1}
took_count {1}
took_sum {2}
"""


def values(merged: Merged) -> dict[str, float]:
    return {
        sample.name + "".join(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(merged.exposition())
        for sample in family.samples
    }


def test_what_was_counted_adds_up() -> None:
    merged = Merged()
    merged.add(COUNTER.format(3) + HISTOGRAM.format(1, 2, 0.5))
    merged.add(COUNTER.format(4) + HISTOGRAM.format(2, 5, 1.5))
    assert values(merged) == {
        "asked_total/predict": 7,
        "took_bucket0.1": 3,
        "took_bucket+Inf": 7,
        "took_count": 7,
        "took_sum": 2.0,
    }


def test_a_process_that_has_ended_still_counts_but_holds_no_memory() -> None:
    merged = Merged()
    memory = "process_resident_memory_bytes"
    merged.add(COUNTER.format(3) + GAUGE.format(memory, 1000), ended=True)
    merged.add(COUNTER.format(4) + GAUGE.format(memory, 10))
    assert values(merged) == {"asked_total/predict": 7, memory: 10}


def test_a_series_that_only_one_has_is_kept() -> None:
    merged = Merged()
    merged.add(COUNTER.format(3))
    merged.add(COUNTER.format(4).replace("/predict", "/model"))
    assert values(merged) == {"asked_total/predict": 3, "asked_total/model": 4}


@pytest.mark.parametrize(
    ("name", "together"),
    [
        ("bedside_rows_waiting", 5.0),
        ("bedside_load_seconds", 3.0),
        ("process_start_time_seconds", 2.0),
        ("asked_created", 2.0),
    ],
)
def test_gauges_come_together_each_in_its_way(name: str, together: float) -> None:
    merged = Merged()
    merged.add(GAUGE.format(name, 2))
    merged.add(GAUGE.format(name, 3))
    assert values(merged) == {name: together}


def test_readiness_is_said_by_the_process_that_listens_alone() -> None:
    merged = Merged()
    merged.add(GAUGE.format("bedside_ready", 0), own=True)
    merged.add(GAUGE.format("bedside_ready", 1))
    assert values(merged) == {"bedside_ready": 0}


def test_every_gauge_of_a_process_has_its_way() -> None:
    metrics = Metrics(lambda: True, Auditing(EventLog(), lambda _: None))
    metrics.workers(lambda: 2)
    metrics.guarded([], lambda: 1.0)
    gauges = {
        family.name
        for family in text_string_to_metric_families(metrics.exposition().decode())
        if family.type not in ("counter", "histogram") and not family.name.endswith("_created")
    }
    assert gauges == GAUGES.keys() | OWN

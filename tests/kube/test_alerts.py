"""Alerts and dashboard: PromQL that Prometheus takes, rules that fire when they must, metrics that the runtime has."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from tests.kube import projects

from bedside.kube.plan import Plan
from bedside.kube.resources import dashboard
from bedside.kube.resources.alerts import prometheus_rule
from bedside.kube.resources.autoscaler import IN_FLIGHT_METRIC, P99_METRIC, autoscaler
from bedside.kube.writing import document
from bedside.stages.manifests import plans
from bedside_runtime.contract import Contract, Tls
from bedside_runtime.serve.lifecycle import State
from bedside_runtime.serve.metrics import Metrics
from bedside_runtime.service import Prediction

_NOT_METRICS = frozenset({"sum", "rate", "increase", "max", "count", "vector", "histogram_quantile", "time"})


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """One that speaks TLS, so that all of the rules are there."""
    deploy = projects.GATEWAY.replace('namespace = "gateway"', 'namespace = "gateway"\nbackend_ca = "internal"')
    return plans(projects.make(tmp_path, deploy, tls=Tls()), projects.IMAGE)[0]


def _promtool(*arguments: str, cwd: Path) -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed")
    done = subprocess.run([tool, *arguments], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_fires_when_it_must_and_not_before(plan: Plan, tmp_path: Path) -> None:
    rules = prometheus_rule(plan).spec
    (tmp_path / "rules.yaml").write_text(document(rules.plain()))
    tests = Path(__file__).parent / "rules" / "alerts.test.yaml"
    shutil.copy(tests, tmp_path)
    _promtool("check", "rules", "rules.yaml", cwd=tmp_path)
    _promtool("test", "rules", tests.name, cwd=tmp_path)


def test_every_alert_is_shown_to_fire(plan: Plan) -> None:
    tested = yaml.safe_load((Path(__file__).parent / "rules" / "alerts.test.yaml").read_text())
    fired = {
        item["alertname"] for test in tested["tests"] for item in test.get("alert_rule_test", ()) if item["exp_alerts"]
    }
    assert fired == {rule.alert for rule in prometheus_rule(plan).spec.groups[0].rules} - {None}


def test_grafana_s_queries_are_promql(plan: Plan, tmp_path: Path) -> None:
    queries = [target["expr"] for panel in dashboard.document(plan)["panels"] for target in panel["targets"]]
    records = [{"record": f"dashboard:query:n{number}", "expr": query} for number, query in enumerate(queries)]
    (tmp_path / "rules.yaml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": records}]}))
    _promtool("check", "rules", "rules.yaml", cwd=tmp_path)


def _exposed(contract: Contract) -> set[str]:
    """Names of every series that a serving process of the runtime shows."""

    class Audited:
        detail = "open"
        unrecorded = unrecorded_refusals = 0

    class Working:
        in_flight = 0
        waiting = 0

    class Believed:
        name = "api-keys"
        stale = False

    metrics = Metrics(lambda: True, Audited())
    metrics.guarded([Believed()], lambda: 1.0)
    metrics.turned_away("missing", recorded=True)
    metrics.loaded(contract, "0" * 64, 1.0, Working())
    metrics.entered(State.READY)
    metrics.request("/predict", "POST", 200, 0.01)
    metrics.batch(1)
    metrics.answered([Prediction(0.5, "low", ())])
    text = metrics.exposition().decode()
    return {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}


def _named(query: str) -> set[str]:
    """Metrics in a query: words that are no label, no function and no keyword."""
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\b(?:by|on|group_left|without)\s*\([^)]*\)", " ", query)
    words = set(re.findall(r"[a-zA-Z_][\w:]*", bare))
    return words - _NOT_METRICS - {"and", "or", "unless", "by", "on"}


def test_every_metric_in_a_rule_or_panel_or_autoscaler_is_one_of_the_runtime(plan: Plan) -> None:
    rules = prometheus_rule(plan).spec.groups[0].rules
    recorded = {rule.record for rule in rules} - {None}
    queries = [rule.expr for rule in rules]
    queries += [target["expr"] for panel in dashboard.document(plan)["panels"] for target in panel["targets"]]
    named = set().union(*(_named(query) for query in queries))
    assert len(named) > 10
    assert named - recorded - _exposed(plan.contract) == set()


def test_the_autoscaler_s_own_metrics_are_recorded_or_exposed(tmp_path: Path) -> None:
    plan = plans(projects.make(tmp_path, projects.INGRESS), projects.IMAGE)[0]
    asked = [item.pods.metric.name for item in autoscaler(plan).spec.metrics if item.pods is not None]
    assert asked == [IN_FLIGHT_METRIC, P99_METRIC]
    assert IN_FLIGHT_METRIC in _exposed(plan.contract)
    assert P99_METRIC in {rule.record for rule in prometheus_rule(plan).spec.groups[0].rules}


def test_panels_do_not_overlap(plan: Plan) -> None:
    places = [panel["gridPos"] for panel in dashboard.document(plan)["panels"]]
    cells = [
        (x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24

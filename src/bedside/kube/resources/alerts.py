"""PrometheusRule: whom to wake, and what they should look at. The rules are data (`data/alerts.toml`)."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from bedside.kube.objects import Part, Resource
from bedside.kube.plan import Plan
from bedside.kube.resources.queries import filled


class PrometheusRuleEntry(Part, frozen=True, kw_only=True):
    """A recorded series, or an alert."""

    record: str | None = None
    alert: str | None = None
    expr: str
    lasting: str | None = msgspec.field(name="for", default=None)
    labels: Mapping[str, str] | None = None
    annotations: Mapping[str, str] | None = None


class RuleGroup(Part, frozen=True, kw_only=True):
    """Rules that are evaluated one after the other."""

    name: str
    rules: tuple[PrometheusRuleEntry, ...]


class PrometheusRuleSpec(Part, frozen=True, kw_only=True):
    """All groups."""

    groups: tuple[RuleGroup, ...]


class PrometheusRule(Resource, frozen=True, kw_only=True):
    """Prometheus Operator, monitoring.coreos.com/v1."""

    api_version: str = "monitoring.coreos.com/v1"
    kind: str = "PrometheusRule"
    spec: PrometheusRuleSpec


def prometheus_rule(plan: Plan) -> PrometheusRule:
    """Every rule of the data file that this release can fire."""
    data = _data()
    records = tuple(
        PrometheusRuleEntry(record=item["record"], expr=filled(item["expr"], plan)) for item in data["record"]
    )
    has = {"audit": plan.contract.audit is not None, "tls": plan.contract.serve.tls is not None}
    alerts = tuple(
        _alert(item, plan) for item in data["alert"] if all(there or not item.get(part) for part, there in has.items())
    )
    return PrometheusRule(
        metadata=plan.metadata(labels=plan.settings.monitoring.labels),
        spec=PrometheusRuleSpec(groups=(RuleGroup(name=f"{plan.name}.rules", rules=(*records, *alerts)),)),
    )


def _alert(item: Mapping[str, Any], plan: Plan) -> PrometheusRuleEntry:
    return PrometheusRuleEntry(
        alert=item["alert"],
        expr=filled(item["expr"], plan),
        lasting=item["for"],
        labels={"severity": item["severity"], "model": plan.name},
        annotations={"summary": filled(item["summary"], plan), "description": filled(item["remedy"], plan)},
    )


@cache
def _data() -> dict[str, list[dict[str, Any]]]:
    return tomllib.loads(files("bedside.kube").joinpath("data", "alerts.toml").read_text(encoding="utf-8"))

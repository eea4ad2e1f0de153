"""Grafana dashboard in a ConfigMap that Grafana's sidecar finds. The panels are data (`data/dashboard.toml`)."""

import json
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from bedside.kube.plan import Plan
from bedside.kube.resources.config_map import ConfigMap
from bedside.kube.resources.queries import filled

_ACROSS: Final = 4
_WIDTH, _HEIGHT = 24 // _ACROSS, 6
"""Grid units of Grafana; a row has 24."""


def dashboard(plan: Plan) -> ConfigMap:
    """The state of a model at a glance."""
    text = json.dumps(document(plan), indent=1, ensure_ascii=False) + "\n"
    return ConfigMap(
        metadata=plan.metadata("-dashboard", labels={"grafana_dashboard": "1"}),
        data={f"{plan.name}-{plan.place.environment}.json": text},
    )


def document(plan: Plan) -> dict[str, Any]:
    """Return the dashboard as Grafana reads it."""
    panels = [_panel(number, item, plan) for number, item in enumerate(_data()["panel"])]
    return {
        "uid": f"{plan.name[:32]}-{plan.place.environment[:4]}",
        "title": f"{plan.name} ({plan.place.environment})",
        "tags": ["bedside"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [{"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}]
        },
        "panels": panels,
    }


def _panel(number: int, item: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    row, column = divmod(number, _ACROSS)
    source = {"type": "prometheus", "uid": "${datasource}"}
    return {
        "id": number + 1,
        "title": item["title"],
        "type": item["kind"],
        "datasource": source,
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": item["unit"]}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": source, "expr": filled(query, plan), "legendFormat": legend}
            for index, (legend, query) in enumerate(item["queries"].items())
        ],
    }


@cache
def _data() -> dict[str, list[dict[str, Any]]]:
    return tomllib.loads(files("bedside.kube").joinpath("data", "dashboard.toml").read_text(encoding="utf-8"))

"""What alerts and dashboard have in common: which series are this model's, in this namespace."""

from bedside.kube.plan import Plan

_ROUTES = "/predict|/v2/models/.*/infer"


def filled(text: str, plan: Plan) -> str:
    """Return ``text`` with every ``<...>`` of `data/alerts.toml` replaced."""
    monitoring = plan.settings.monitoring
    scope = f'namespace="{plan.namespace}",app_kubernetes_io_name="{plan.name}"'
    words = {
        "<answers>": f'{scope},http_route=~"{_ROUTES}"',
        "<scope>": scope,
        "<p99>": f"{monitoring.p99_seconds:g}",
        "<errors>": f"{monitoring.error_ratio:g}",
        "<outside>": f"{monitoring.outside_ratio:g}",
        "<fewest>": str(min(2, plan.place.replicas.min)),
        "<model>": plan.name,
    }
    for word, meaning in words.items():
        text = text.replace(word, meaning)
    return text

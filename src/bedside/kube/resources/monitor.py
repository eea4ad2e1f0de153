"""PodMonitor: Prometheus reads every pod's admin port; a Service would hide the one that is not ready."""

from bedside.kube.objects import LabelSelector, Part, Resource
from bedside.kube.plan import Plan


class PodMetricsEndpoint(Part, frozen=True, kw_only=True):
    """What is read, how often."""

    port: str
    path: str
    interval: str
    scrape_timeout: str
    filter_running: bool
    """Whether finished pods are left out."""


class PodMonitorSpec(Part, frozen=True, kw_only=True):
    """Which pods."""

    selector: LabelSelector
    pod_target_labels: tuple[str, ...]
    pod_metrics_endpoints: tuple[PodMetricsEndpoint, ...]


class PodMonitor(Resource, frozen=True, kw_only=True):
    """Prometheus Operator, monitoring.coreos.com/v1."""

    api_version: str = "monitoring.coreos.com/v1"
    kind: str = "PodMonitor"
    spec: PodMonitorSpec


def pod_monitor(plan: Plan) -> PodMonitor:
    """Every 15 seconds; the model's name and version stand on each series."""
    endpoint = PodMetricsEndpoint(
        port="admin", path="/metrics", interval="15s", scrape_timeout="10s", filter_running=True
    )
    return PodMonitor(
        metadata=plan.metadata(labels=plan.settings.monitoring.labels),
        spec=PodMonitorSpec(
            selector=LabelSelector(match_labels=plan.selector),
            pod_target_labels=("app.kubernetes.io/name", "model-version"),
            pod_metrics_endpoints=(endpoint,),
        ),
    )

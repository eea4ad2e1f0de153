"""HorizontalPodAutoscaler: owns the number of pods, which is why no Deployment here has `replicas`."""

from typing import Final

from bedside.kube.objects import Part, Resource
from bedside.kube.plan import Plan
from bedside.kube.reasons import Number, Text

P99_METRIC: Final = "bedside:request_duration_seconds:p99"
IN_FLIGHT_METRIC: Final = "bedside_requests_in_flight"

_CPU_TARGET: Final = 70
"""Percent of the request."""


class CrossVersionObjectReference(Part, frozen=True, kw_only=True):
    """What is scaled."""

    api_version: str
    kind: str
    name: str


class MetricTarget(Part, frozen=True, kw_only=True):
    """The value to hold."""

    type: str
    average_utilization: int | None = None
    average_value: str | None = None


class MetricIdentifier(Part, frozen=True, kw_only=True):
    """A metric of the pods by name."""

    name: str


class ResourceMetricSource(Part, frozen=True, kw_only=True):
    """A metric that the kubelet knows."""

    name: str
    target: MetricTarget


class PodsMetricSource(Part, frozen=True, kw_only=True):
    """A metric that an adapter for custom metrics knows."""

    metric: MetricIdentifier
    target: MetricTarget


class MetricSpec(Part, frozen=True, kw_only=True):
    """One metric; the one that asks for most pods decides."""

    type: str
    resource: ResourceMetricSource | None = None
    pods: PodsMetricSource | None = None


class HPAScalingPolicy(Part, frozen=True, kw_only=True):
    """At most ``value`` pods in ``period_seconds``."""

    type: str
    value: int
    period_seconds: int


class HPAScalingRules(Part, frozen=True, kw_only=True):
    """How fast in one direction."""

    stabilization_window_seconds: int
    policies: tuple[HPAScalingPolicy, ...]


class HorizontalPodAutoscalerBehavior(Part, frozen=True, kw_only=True):
    """How fast in both directions."""

    scale_up: HPAScalingRules
    scale_down: HPAScalingRules


class HorizontalPodAutoscalerSpec(Part, frozen=True, kw_only=True):
    """Bounds, metrics, speed."""

    scale_target_ref: CrossVersionObjectReference
    min_replicas: int
    max_replicas: int
    metrics: tuple[MetricSpec, ...]
    behavior: HorizontalPodAutoscalerBehavior


class HorizontalPodAutoscaler(Resource, frozen=True, kw_only=True):
    """How many pods there are."""

    api_version: str = "autoscaling/v2"
    kind: str = "HorizontalPodAutoscaler"
    spec: HorizontalPodAutoscalerSpec


def autoscaler(plan: Plan) -> HorizontalPodAutoscaler:
    """CPU at 70%; up by two pods a minute, down by one every two minutes."""
    replicas = plan.place.replicas
    because = replicas.below_two_because.strip()
    return HorizontalPodAutoscaler(
        metadata=plan.metadata(),
        spec=HorizontalPodAutoscalerSpec(
            scale_target_ref=CrossVersionObjectReference(api_version="apps/v1", kind="Deployment", name=plan.name),
            min_replicas=Number(replicas.min, " ".join(because.split())) if because else replicas.min,
            max_replicas=replicas.max,
            metrics=_metrics(plan),
            behavior=HorizontalPodAutoscalerBehavior(
                scale_up=_rules(window=60, pods=2, period=60), scale_down=_rules(window=300, pods=1, period=120)
            ),
        ),
    )


def _rules(*, window: int, pods: int, period: int) -> HPAScalingRules:
    policy = HPAScalingPolicy(type="Pods", value=pods, period_seconds=period)
    return HPAScalingRules(stabilization_window_seconds=window, policies=(policy,))


def _metrics(plan: Plan) -> tuple[MetricSpec, ...]:
    target = MetricTarget(type="Utilization", average_utilization=_CPU_TARGET)
    cpu = MetricSpec(type="Resource", resource=ResourceMetricSource(name="cpu", target=target))
    if not plan.place.replicas.custom_metrics:
        return (cpu,)
    most = plan.contract.serve.max_in_flight
    half = Text(str(max(1, most // 2)), f"half of max_in_flight, {most}, beyond which a pod answers 503")
    latency = Text(f"{round(plan.settings.monitoring.p99_seconds * 1000)}m", "the objective p99_seconds")
    return cpu, _pods(IN_FLIGHT_METRIC, half), _pods(P99_METRIC, latency)


def _pods(name: str, value: str) -> MetricSpec:
    target = MetricTarget(type="AverageValue", average_value=value)
    return MetricSpec(type="Pods", pods=PodsMetricSource(metric=MetricIdentifier(name=name), target=target))

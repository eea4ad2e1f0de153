"""NetworkPolicies: nothing in, nothing out, then the openings by name."""

import msgspec

from bedside.kube.objects import LabelSelector, Part, Resource
from bedside.kube.plan import Plan

_NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""The label that the API server itself puts on each namespace."""


class NetworkPolicyPort(Part, frozen=True, kw_only=True):
    """A port of the pods, by name."""

    port: str
    protocol: str = "TCP"


class NetworkPolicyPeer(Part, frozen=True, kw_only=True):
    """Who."""

    namespace_selector: LabelSelector | None = None
    pod_selector: LabelSelector | None = None


class NetworkPolicyIngressRule(Part, frozen=True, kw_only=True):
    """Who may reach which port."""

    peers: tuple[NetworkPolicyPeer, ...] = msgspec.field(name="from")
    ports: tuple[NetworkPolicyPort, ...]


class NetworkPolicySpec(Part, frozen=True, kw_only=True):
    """For which pods; a direction that is named and has no rule is closed."""

    pod_selector: LabelSelector
    policy_types: tuple[str, ...]
    ingress: tuple[NetworkPolicyIngressRule, ...] | None = None


class NetworkPolicy(Resource, frozen=True, kw_only=True):
    """What may pass."""

    api_version: str = "networking.k8s.io/v1"
    kind: str = "NetworkPolicy"
    spec: NetworkPolicySpec


def network_policies(plan: Plan) -> tuple[NetworkPolicy, ...]:
    """Default deny, then predictions from the entry and named callers, then metrics for Prometheus.

    The pods themselves reach nothing: not even DNS is open, as a model asks nobody.
    """
    found = [_policy(plan, "-default-deny", ("Ingress", "Egress"), None)]
    settings = plan.settings
    entry = {"gateway": settings.gateway, "ingress": settings.ingress, "none": None}[settings.exposure]
    callers = [*([entry.namespace] if entry else []), *settings.callers]
    if callers:
        found.append(_policy(plan, "-allow-predictions", ("Ingress",), (_from(callers, "http"),)))
    if settings.monitoring.enabled:
        rule = _from([settings.monitoring.namespace], "admin")
        found.append(_policy(plan, "-allow-metrics", ("Ingress",), (rule,)))
    return tuple(found)


def _policy(
    plan: Plan, suffix: str, types: tuple[str, ...], ingress: tuple[NetworkPolicyIngressRule, ...] | None
) -> NetworkPolicy:
    selector = LabelSelector(match_labels=plan.selector)
    spec = NetworkPolicySpec(pod_selector=selector, policy_types=types, ingress=ingress)
    return NetworkPolicy(metadata=plan.metadata(suffix), spec=spec)


def _from(namespaces: list[str], port: str) -> NetworkPolicyIngressRule:
    return NetworkPolicyIngressRule(
        peers=tuple(_namespace(name) for name in dict.fromkeys(namespaces)), ports=(NetworkPolicyPort(port=port),)
    )


def _namespace(name: str) -> NetworkPolicyPeer:
    return NetworkPolicyPeer(namespace_selector=LabelSelector(match_labels={_NAMESPACE_NAME: name}))

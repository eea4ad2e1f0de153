"""NetworkPolicies: nothing in, nothing out, then the openings by name."""

from collections.abc import Iterator
from typing import Final

import msgspec

from bedside.kube.objects import LabelSelector, Part, Resource
from bedside.kube.plan import Plan
from bedside.spec.deploy import PlaceSection

_NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""The label that the API server itself puts on each namespace."""

_DNS = "kube-system"
_DNS_PORT = 53


_IDENTITIES: Final = {
    "s3": (("169.254.170.23/32", 80),),
    "gs": (("169.254.169.254/32", 80), ("169.254.169.252/32", 988)),
}
"""Where a node itself gives out identities: the EKS Pod Identity agent, GKE's metadata server (its documentation)."""


class NetworkPolicyPort(Part, frozen=True, kw_only=True):
    """A port: of the pods by name, of others by number."""

    port: str | int
    protocol: str = "TCP"


class IPBlock(Part, frozen=True, kw_only=True):
    """A range of addresses."""

    cidr: str


class NetworkPolicyPeer(Part, frozen=True, kw_only=True):
    """Who."""

    namespace_selector: LabelSelector | None = None
    pod_selector: LabelSelector | None = None
    ip_block: IPBlock | None = None


class NetworkPolicyIngressRule(Part, frozen=True, kw_only=True):
    """Who may reach which port."""

    peers: tuple[NetworkPolicyPeer, ...] = msgspec.field(name="from")
    ports: tuple[NetworkPolicyPort, ...]


class NetworkPolicyEgressRule(Part, frozen=True, kw_only=True):
    """What may be reached."""

    to: tuple[NetworkPolicyPeer, ...]
    ports: tuple[NetworkPolicyPort, ...]


class NetworkPolicySpec(Part, frozen=True, kw_only=True):
    """For which pods; a direction that is named and has no rule is closed."""

    pod_selector: LabelSelector
    policy_types: tuple[str, ...]
    ingress: tuple[NetworkPolicyIngressRule, ...] | None = None
    egress: tuple[NetworkPolicyEgressRule, ...] | None = None


class NetworkPolicy(Resource, frozen=True, kw_only=True):
    """What may pass."""

    api_version: str = "networking.k8s.io/v1"
    kind: str = "NetworkPolicy"
    spec: NetworkPolicySpec


def network_policies(plan: Plan) -> tuple[NetworkPolicy, ...]:
    """Default deny, then predictions from the entry and named callers, then metrics for Prometheus.

    The pods themselves reach nothing, as a model asks nobody: not even DNS is open, unless keys or a model are
    fetched, or spans are sent.
    """
    found = [_policy(plan, "-default-deny", ("Ingress", "Egress"))]
    settings = plan.settings
    entry = {"gateway": settings.gateway, "ingress": settings.ingress, "none": None}[settings.exposure]
    callers = [*([entry.namespace] if entry else []), *settings.callers]
    if callers:
        found.append(_policy(plan, "-allow-predictions", ("Ingress",), (_from(callers, plan.port_name),)))
    if settings.monitoring.enabled:
        rule = _from([settings.monitoring.namespace], "admin")
        found.append(_policy(plan, "-allow-metrics", ("Ingress",), (rule,)))
    if outside := tuple(_outside(plan)):
        found.append(_policy(plan, "-allow-outside", ("Egress",), egress=(*outside, _names())))
    return tuple(found)


def _outside(plan: Plan) -> Iterator[NetworkPolicyEgressRule]:
    """The issuer of tokens, the collector of traces and object storage, where the release asks for them."""
    settings, serve = plan.settings, plan.contract.serve
    if plan.fetches_keys and settings.issuer is not None:
        yield _to(settings.issuer, settings.issuer.port)
    if serve.tracing and settings.tracing is not None:
        yield _to(settings.tracing, settings.tracing.port)
    if plan.model_scheme is not None and settings.model_store is not None:
        yield _to(settings.model_store, settings.model_store.port)
        for address, port in _IDENTITIES.get(plan.model_scheme, ()):
            yield _to(PlaceSection(cidrs=(address,)), port)


def _to(place: PlaceSection, port: int) -> NetworkPolicyEgressRule:
    there = [_namespace(place.namespace)] if place.namespace is not None else []
    there += [NetworkPolicyPeer(ip_block=IPBlock(cidr=cidr)) for cidr in place.cidrs]
    return NetworkPolicyEgressRule(to=tuple(there), ports=(NetworkPolicyPort(port=port),))


def _names() -> NetworkPolicyEgressRule:
    """The DNS that finds them."""
    ports = tuple(NetworkPolicyPort(port=_DNS_PORT, protocol=protocol) for protocol in ("UDP", "TCP"))
    return NetworkPolicyEgressRule(to=(_namespace(_DNS),), ports=ports)


def _policy(
    plan: Plan,
    suffix: str,
    types: tuple[str, ...],
    ingress: tuple[NetworkPolicyIngressRule, ...] | None = None,
    egress: tuple[NetworkPolicyEgressRule, ...] | None = None,
) -> NetworkPolicy:
    selector = LabelSelector(match_labels=plan.selector)
    spec = NetworkPolicySpec(pod_selector=selector, policy_types=types, ingress=ingress, egress=egress)
    return NetworkPolicy(metadata=plan.metadata(suffix), spec=spec)


def _from(namespaces: list[str], port: str) -> NetworkPolicyIngressRule:
    return NetworkPolicyIngressRule(
        peers=tuple(_namespace(name) for name in dict.fromkeys(namespaces)), ports=(NetworkPolicyPort(port=port),)
    )


def _namespace(name: str) -> NetworkPolicyPeer:
    return NetworkPolicyPeer(namespace_selector=LabelSelector(match_labels={_NAMESPACE_NAME: name}))

"""Istio: mutual TLS between pods, strict, and who may call which path."""

import msgspec

from bedside.kube.objects import LabelSelector, Part, Resource
from bedside.kube.plan import ADMIN_PORT, PORT, Plan
from bedside.kube.resources.route import public_paths


class MutualTLS(Part, frozen=True, kw_only=True):
    """Whether clear text is taken."""

    mode: str


class PeerAuthenticationSpec(Part, frozen=True, kw_only=True):
    """For which pods."""

    selector: LabelSelector
    mtls: MutualTLS


class PeerAuthentication(Resource, frozen=True, kw_only=True):
    """security.istio.io/v1."""

    api_version: str = "security.istio.io/v1"
    kind: str = "PeerAuthentication"
    spec: PeerAuthenticationSpec


class Source(Part, frozen=True, kw_only=True):
    """Who calls, as its certificate says."""

    namespaces: tuple[str, ...]


class From(Part, frozen=True, kw_only=True):
    """Who calls."""

    source: Source


class Operation(Part, frozen=True, kw_only=True):
    """What is called."""

    ports: tuple[str, ...]
    methods: tuple[str, ...]
    paths: tuple[str, ...]


class To(Part, frozen=True, kw_only=True):
    """What is called."""

    operation: Operation


class Rule(Part, frozen=True, kw_only=True):
    """Who may call what."""

    callers: tuple[From, ...] = msgspec.field(name="from")
    to: tuple[To, ...]


class AuthorizationPolicySpec(Part, frozen=True, kw_only=True):
    """For which pods; what no rule names is refused."""

    selector: LabelSelector
    action: str
    rules: tuple[Rule, ...]


class AuthorizationPolicy(Resource, frozen=True, kw_only=True):
    """security.istio.io/v1."""

    api_version: str = "security.istio.io/v1"
    kind: str = "AuthorizationPolicy"
    spec: AuthorizationPolicySpec


def mesh_policies(plan: Plan) -> tuple[Resource, ...]:
    """Strict mutual TLS; predictions for the entry and the named callers, metrics for Prometheus, nothing else."""
    settings = plan.settings
    entry = {"gateway": settings.gateway, "ingress": settings.ingress, "none": None}[settings.exposure]
    callers = tuple(dict.fromkeys([*([entry.namespace] if entry else []), *settings.callers]))
    rules = []
    if callers:
        rules.append(
            _rule(callers, Operation(ports=(str(PORT),), methods=("POST",), paths=public_paths(plan.contract)))
        )
    if settings.monitoring.enabled:
        metrics = Operation(ports=(str(ADMIN_PORT),), methods=("GET",), paths=("/metrics",))
        rules.append(_rule((settings.monitoring.namespace,), metrics))
    selector = LabelSelector(match_labels=plan.selector)
    return (
        PeerAuthentication(
            metadata=plan.metadata(), spec=PeerAuthenticationSpec(selector=selector, mtls=MutualTLS(mode="STRICT"))
        ),
        AuthorizationPolicy(
            metadata=plan.metadata(),
            spec=AuthorizationPolicySpec(selector=selector, action="ALLOW", rules=tuple(rules)),
        ),
    )


def _rule(namespaces: tuple[str, ...], operation: Operation) -> Rule:
    return Rule(callers=(From(source=Source(namespaces=namespaces)),), to=(To(operation=operation),))

"""All objects of a release in one place, and the kustomize tree that holds them. Pure: texts by path."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from bedside.kube import contradictions
from bedside.kube.objects import Plain, Resource
from bedside.kube.plan import Plan
from bedside.kube.resources.account import service_account
from bedside.kube.resources.alerts import prometheus_rule
from bedside.kube.resources.autoscaler import autoscaler
from bedside.kube.resources.backend_tls import backend_tls_policy
from bedside.kube.resources.claim import audit_claim
from bedside.kube.resources.config_map import release_key
from bedside.kube.resources.dashboard import dashboard
from bedside.kube.resources.deployment import deployment
from bedside.kube.resources.disruption import disruption_budget
from bedside.kube.resources.ingress import ingress
from bedside.kube.resources.mesh import mesh_policies
from bedside.kube.resources.monitor import pod_monitor
from bedside.kube.resources.namespace import namespace
from bedside.kube.resources.network import network_policies
from bedside.kube.resources.route import http_route
from bedside.kube.resources.secrets import external_secrets
from bedside.kube.resources.service import service
from bedside.kube.writing import document

MARK: Final = "# Written by `bedside manifests`"
"""How every file begins its second line: what starts otherwise is somebody's own, and is never overwritten."""

_OVERLAY: Final = frozenset(
    {"Namespace", "HorizontalPodAutoscaler", "HTTPRoute", "BackendTLSPolicy", "Ingress", "PrometheusRule", "ConfigMap"}
)
"""Kinds that say something about the environment: host, bounds, namespace."""


def objects(plan: Plan) -> tuple[Resource, ...]:
    """Return every object, in the order in which they are applied and read.

    Raises:
        UsageError: The cluster could not hold them.
    """
    contradictions.refuse(plan)
    return tuple(_objects(plan))


def _objects(plan: Plan) -> Iterator[Resource]:
    settings, audit = plan.settings, plan.contract.audit
    yield namespace(plan)
    yield service_account(plan)
    yield from network_policies(plan)
    yield from external_secrets(plan)
    if plan.release_key is not None:
        yield release_key(plan, plan.release_key)
    if audit is not None and settings.audit_volume.kind == "claim":
        yield audit_claim(plan)
    if settings.mesh == "istio":
        yield from mesh_policies(plan)
    yield deployment(plan)
    yield service(plan)
    yield disruption_budget(plan)
    yield autoscaler(plan)
    yield from _entry(plan)
    if settings.monitoring.enabled:
        yield from _monitoring(plan)


def _monitoring(plan: Plan) -> Iterator[Resource]:
    chosen = plan.settings.monitoring
    if chosen.pod_monitor:
        yield pod_monitor(plan)
    if chosen.alerts:
        yield prometheus_rule(plan)
    if chosen.dashboard:
        yield dashboard(plan)


def _entry(plan: Plan) -> Iterator[Resource]:
    settings, host = plan.settings, plan.place.host
    if host is None:
        return
    if settings.gateway is not None and settings.exposure == "gateway":
        yield http_route(plan, host, settings.gateway)
        if settings.gateway.backend_ca is not None and plan.contract.serve.tls is not None:
            yield backend_tls_policy(plan, settings.gateway.backend_ca)
    if settings.ingress is not None and settings.exposure == "ingress":
        yield ingress(plan, host, settings.ingress)


@dataclass(frozen=True, slots=True)
class Header:
    """What stands above every file: the release, and the command that wrote it."""

    release: str
    command: str

    def above(self, text: str) -> str:
        """Return ``text`` under the header."""
        return f"# {self.release}\n{MARK}; change bedside.toml and run it again.\n# {self.command}\n{text}"


def kustomization(plans: Sequence[Plan], header: Header) -> dict[str, str]:
    """Return every file of the tree by its path: a base, and an overlay for each plan's environment.

    What is the same everywhere stands in the base, without a namespace; what says something about an environment
    stands in its overlay as a whole object. There are no patches, so a review shows objects as they are applied.
    """
    base = [item for item in objects(plans[0]) if item.kind not in _OVERLAY]
    files = dict(_directory("base", [_anywhere(item) for item in base], {}))
    for plan in plans:
        own = [_anywhere(item) for item in objects(plan) if item.kind in _OVERLAY]
        more: dict[str, Plain] = {"namespace": plan.namespace}
        files.update(_directory(f"overlays/{plan.place.environment}", own, more, ["../../base"]))
    return {path: header.above(text) for path, text in files.items()}


def _directory(
    path: str, held: Sequence[Resource], more: Mapping[str, Plain], below: Sequence[str] = ()
) -> Iterator[tuple[str, str]]:
    grouped: dict[str, list[Resource]] = {}
    for item in held:
        grouped.setdefault(f"{item.kind.lower()}.yaml", []).append(item)
    resources: list[Plain] = [*below, *grouped]
    head: dict[str, Plain] = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    yield f"{path}/kustomization.yaml", document({**head, **more, "resources": resources})
    for name, items in grouped.items():
        yield f"{path}/{name}", "---\n".join(document(item.plain()) for item in items)


def _anywhere(item: Resource) -> Resource:
    """``item`` without a namespace: the overlay sets it."""
    metadata = msgspec.structs.replace(item.metadata, namespace=None)
    return msgspec.structs.replace(item, metadata=metadata)

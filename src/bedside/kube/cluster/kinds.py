"""The kinds of objects that bedside writes and reads, and where the API server has them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object.

    Attributes:
        api_version: Group and version, ``apps/v1``; ``v1`` is the core group.
        name: ``Deployment``.
        resource: As in paths, ``deployments``.
        namespaced: Whether its objects stand in a namespace.
        made_by: What has to be installed for the cluster to know it; empty for what every cluster knows.
    """

    api_version: str
    name: str
    resource: str
    namespaced: bool = True
    made_by: str = ""

    @property
    def group(self) -> str:
        """``apps``; empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def root(self) -> str:
        """Where the API server tells what this group and version holds."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"

    def path(self, namespace: str | None, name: str | None = None, part: str | None = None) -> str:
        """Return the path of all objects in ``namespace``, of one, or of a part of it."""
        within = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{self.root}{within}/{self.resource}" + "".join(f"/{item}" for item in (name, part) if item)


_OPERATOR: Final = "the Prometheus Operator"
_ISTIO: Final = "Istio"
_GATEWAY: Final = "the Gateway API"

DEPLOYMENT: Final = Kind("apps/v1", "Deployment", "deployments")
REPLICA_SET: Final = Kind("apps/v1", "ReplicaSet", "replicasets")
POD: Final = Kind("v1", "Pod", "pods")
EVENT: Final = Kind("v1", "Event", "events")
SECRET: Final = Kind("v1", "Secret", "secrets")
LEASE: Final = Kind("coordination.k8s.io/v1", "Lease", "leases")
NAMESPACE: Final = Kind("v1", "Namespace", "namespaces", namespaced=False)
AUTOSCALER: Final = Kind("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
CLAIM: Final = Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
REVIEW: Final = Kind("authorization.k8s.io/v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", namespaced=False)

KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            DEPLOYMENT,
            REPLICA_SET,
            POD,
            EVENT,
            SECRET,
            LEASE,
            NAMESPACE,
            AUTOSCALER,
            CLAIM,
            Kind("v1", "ServiceAccount", "serviceaccounts"),
            Kind("v1", "Service", "services"),
            Kind("v1", "ConfigMap", "configmaps"),
            Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
            Kind("networking.k8s.io/v1", "Ingress", "ingresses"),
            Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
            Kind("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes", made_by=_GATEWAY),
            Kind("gateway.networking.k8s.io/v1", "BackendTLSPolicy", "backendtlspolicies", made_by=f"{_GATEWAY} 1.4"),
            Kind(
                "external-secrets.io/v1", "ExternalSecret", "externalsecrets", made_by="the External Secrets Operator"
            ),
            Kind("monitoring.coreos.com/v1", "PodMonitor", "podmonitors", made_by=_OPERATOR),
            Kind("monitoring.coreos.com/v1", "PrometheusRule", "prometheusrules", made_by=_OPERATOR),
            Kind("security.istio.io/v1", "PeerAuthentication", "peerauthentications", made_by=_ISTIO),
            Kind("security.istio.io/v1", "AuthorizationPolicy", "authorizationpolicies", made_by=_ISTIO),
        )
    }
)
"""By name; bedside writes one version of each."""

KEPT: Final = frozenset({"Namespace", "PersistentVolumeClaim"})
"""Kinds that are never deleted: the audit log in a claim is a person's decision; a namespace holds other things too."""


@dataclass(frozen=True, slots=True)
class Named:
    """One object by its kind, namespace and name."""

    kind: Kind
    namespace: str | None
    name: str

    @property
    def title(self) -> str:
        """Kind and name, as people say them."""
        return f"{self.kind.name} {self.name}"

    @property
    def path(self) -> str:
        """Its path at the API server."""
        return self.kind.path(self.namespace, self.name)


def named(item: Mapping[str, Any]) -> Named:
    """Return what an object, as it is written, is called."""
    kind = KINDS[str(item["kind"])]
    metadata = item["metadata"]
    return Named(kind, metadata.get("namespace") if kind.namespaced else None, str(metadata["name"]))

"""BackendTLSPolicy (Gateway API): the Gateway speaks TLS with the pods, and believes one authority under one name."""

from bedside.kube.objects import Part, Resource
from bedside.kube.plan import Plan
from bedside.kube.resources import service


class PolicyTargetReference(Part, frozen=True, kw_only=True):
    """The Service that is spoken to."""

    group: str = ""
    kind: str = "Service"
    name: str


class AuthorityReference(Part, frozen=True, kw_only=True):
    """A ConfigMap with `ca.crt`."""

    group: str = ""
    kind: str = "ConfigMap"
    name: str


class BackendTLSPolicyValidation(Part, frozen=True, kw_only=True):
    """What the certificate of a pod must be."""

    ca_certificate_refs: tuple[AuthorityReference, ...]
    hostname: str


class BackendTLSPolicySpec(Part, frozen=True, kw_only=True):
    """With whom, and how."""

    target_refs: tuple[PolicyTargetReference, ...]
    validation: BackendTLSPolicyValidation


class BackendTLSPolicy(Resource, frozen=True, kw_only=True):
    """Gateway API, gateway.networking.k8s.io/v1."""

    api_version: str = "gateway.networking.k8s.io/v1"
    kind: str = "BackendTLSPolicy"
    spec: BackendTLSPolicySpec


def backend_tls_policy(plan: Plan, authority: str) -> BackendTLSPolicy:
    """The pods' certificate is of ``authority``, for the name of their Service."""
    return BackendTLSPolicy(
        metadata=plan.metadata(),
        spec=BackendTLSPolicySpec(
            target_refs=(PolicyTargetReference(name=plan.name),),
            validation=BackendTLSPolicyValidation(
                ca_certificate_refs=(AuthorityReference(name=authority),),
                hostname=service.host_name(plan.name, plan.namespace),
            ),
        ),
    )

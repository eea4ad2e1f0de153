"""Namespace, with Pod Security."""

from bedside.kube.objects import Metadata, Resource
from bedside.kube.plan import Plan


class Namespace(Resource, frozen=True, kw_only=True):
    """A namespace."""

    api_version: str = "v1"
    kind: str = "Namespace"


def namespace(plan: Plan) -> Namespace:
    """Pod Security `restricted`, enforced, warned about and written to the API server's own audit log."""
    levels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    versions = {f"pod-security.kubernetes.io/{mode}-version": "latest" for mode in ("enforce", "audit", "warn")}
    mesh = {"istio-injection": "enabled"} if plan.settings.mesh == "istio" else {}
    labels = {"app.kubernetes.io/managed-by": "bedside", **mesh, **levels, **versions}
    return Namespace(metadata=Metadata(name=plan.namespace, labels=labels))

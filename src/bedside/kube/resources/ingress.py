"""Ingress, where there is no Gateway: the same paths, over TLS."""

from bedside.kube.objects import Part, Resource
from bedside.kube.plan import Plan
from bedside.kube.resources.route import public_paths
from bedside.spec.deploy import IngressSection


class ServiceBackendPort(Part, frozen=True, kw_only=True):
    """A port of a Service by name."""

    name: str


class IngressServiceBackend(Part, frozen=True, kw_only=True):
    """A Service and a port of it."""

    name: str
    port: ServiceBackendPort


class IngressBackend(Part, frozen=True, kw_only=True):
    """Where it goes."""

    service: IngressServiceBackend


class HTTPIngressPath(Part, frozen=True, kw_only=True):
    """A path, whole."""

    path: str
    path_type: str
    backend: IngressBackend


class HTTPIngressRuleValue(Part, frozen=True, kw_only=True):
    """Paths of a host."""

    paths: tuple[HTTPIngressPath, ...]


class IngressRule(Part, frozen=True, kw_only=True):
    """A host."""

    host: str
    http: HTTPIngressRuleValue


class IngressTLS(Part, frozen=True, kw_only=True):
    """Its certificate."""

    hosts: tuple[str, ...]
    secret_name: str


class IngressSpec(Part, frozen=True, kw_only=True):
    """Class, certificate, rules."""

    ingress_class_name: str
    tls: tuple[IngressTLS, ...]
    rules: tuple[IngressRule, ...]


class Ingress(Resource, frozen=True, kw_only=True):
    """The entry."""

    api_version: str = "networking.k8s.io/v1"
    kind: str = "Ingress"
    spec: IngressSpec


def ingress(plan: Plan, host: str, settings: IngressSection) -> Ingress:
    """The prediction paths of ``host``; no annotation, as each controller knows other ones."""
    port = ServiceBackendPort(name=plan.port_name)
    backend = IngressBackend(service=IngressServiceBackend(name=plan.name, port=port))
    paths = tuple(
        HTTPIngressPath(path=path, path_type="Exact", backend=backend) for path in public_paths(plan.contract)
    )
    return Ingress(
        metadata=plan.metadata(),
        spec=IngressSpec(
            ingress_class_name=settings.class_name,
            tls=(IngressTLS(hosts=(host,), secret_name=settings.tls_secret),),
            rules=(IngressRule(host=host, http=HTTPIngressRuleValue(paths=paths)),),
        ),
    )

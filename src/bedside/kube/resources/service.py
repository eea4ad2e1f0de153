"""Service: predictions alone. Metrics and probes are reached pod by pod, on the admin port."""

from collections.abc import Mapping

from bedside.kube.objects import Part, Resource
from bedside.kube.plan import Plan

_PORTS = {"http": 80, "https": 443}


class ServicePort(Part, frozen=True, kw_only=True):
    """A port by name."""

    name: str
    port: int
    target_port: str
    protocol: str = "TCP"
    app_protocol: str


class ServiceSpec(Part, frozen=True, kw_only=True):
    """Which pods, which port."""

    type: str = "ClusterIP"
    selector: Mapping[str, str]
    ports: tuple[ServicePort, ...]


class Service(Resource, frozen=True, kw_only=True):
    """The stable name of the pods."""

    api_version: str = "v1"
    kind: str = "Service"
    spec: ServiceSpec


def port_number(plan: Plan) -> int:
    """The port of the Service."""
    return _PORTS[plan.port_name]


def service(plan: Plan) -> Service:
    """The public port, under the name of what is spoken on it."""
    name = plan.port_name
    port = ServicePort(name=name, port=port_number(plan), target_port=name, app_protocol=name)
    return Service(metadata=plan.metadata(), spec=ServiceSpec(selector=plan.selector, ports=(port,)))


def host_name(name: str, namespace: str) -> str:
    """Return what the Service is called inside of the cluster; the pods' certificates hold it."""
    return f"{name}.{namespace}.svc"

"""Service: predictions alone. Metrics and probes are reached pod by pod, on the admin port."""

from collections.abc import Mapping

from bedside.kube.objects import Part, Resource
from bedside.kube.plan import Plan

PORT = 80
PORT_NAME = "http"


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


def service(plan: Plan) -> Service:
    """The public port under the name `http`."""
    port = ServicePort(name=PORT_NAME, port=PORT, target_port=PORT_NAME, app_protocol="http")
    return Service(metadata=plan.metadata(), spec=ServiceSpec(selector=plan.selector, ports=(port,)))

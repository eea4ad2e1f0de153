"""HTTPRoute (Gateway API): the prediction routes alone, on the Gateway's HTTPS listener."""

import math

from bedside.kube.objects import Part, Resource
from bedside.kube.plan import Plan
from bedside.kube.reasons import Text
from bedside.kube.resources import service
from bedside.spec.deploy import GatewaySection
from bedside_runtime.contract import Contract


class ParentReference(Part, frozen=True, kw_only=True):
    """A listener of a Gateway."""

    group: str = "gateway.networking.k8s.io"
    kind: str = "Gateway"
    name: str
    namespace: str
    section_name: str


class HTTPPathMatch(Part, frozen=True, kw_only=True):
    """A path, whole."""

    type: str
    value: str


class HTTPRouteMatch(Part, frozen=True, kw_only=True):
    """A request that is taken."""

    path: HTTPPathMatch
    method: str


class HTTPBackendRef(Part, frozen=True, kw_only=True):
    """Where it goes."""

    name: str
    port: int


class HTTPRouteTimeouts(Part, frozen=True, kw_only=True):
    """How long the proxy waits."""

    request: str


class HTTPRouteRule(Part, frozen=True, kw_only=True):
    """Requests, and where they go."""

    matches: tuple[HTTPRouteMatch, ...]
    backend_refs: tuple[HTTPBackendRef, ...]
    timeouts: HTTPRouteTimeouts


class HTTPRouteSpec(Part, frozen=True, kw_only=True):
    """Listener, host, rules."""

    parent_refs: tuple[ParentReference, ...]
    hostnames: tuple[str, ...]
    rules: tuple[HTTPRouteRule, ...]


class HTTPRoute(Resource, frozen=True, kw_only=True):
    """Gateway API, gateway.networking.k8s.io/v1."""

    api_version: str = "gateway.networking.k8s.io/v1"
    kind: str = "HTTPRoute"
    spec: HTTPRouteSpec


def public_paths(contract: Contract) -> tuple[str, ...]:
    """The paths that callers outside of the cluster may post to: predictions, in both protocols."""
    model = f"/v2/models/{contract.name}"
    return "/predict", f"{model}/infer", f"{model}/versions/{contract.version}/infer"


def http_route(plan: Plan, host: str, gateway: GatewaySection) -> HTTPRoute:
    """POST of the prediction paths; probes, model card and metrics stay inside."""
    serve = plan.contract.serve
    longest = math.ceil(serve.deadline_seconds + serve.body_seconds)
    why = (
        f"the runtime answers within {serve.deadline_seconds:g} s of a body that takes at most {serve.body_seconds:g} s"
    )
    parent = ParentReference(name=gateway.name, namespace=gateway.namespace, section_name=gateway.listener)
    return HTTPRoute(
        metadata=plan.metadata(),
        spec=HTTPRouteSpec(
            parent_refs=(parent,),
            hostnames=(host,),
            rules=(
                HTTPRouteRule(
                    matches=tuple(
                        HTTPRouteMatch(path=HTTPPathMatch(type="Exact", value=path), method="POST")
                        for path in public_paths(plan.contract)
                    ),
                    backend_refs=(HTTPBackendRef(name=plan.name, port=service.port_number(plan)),),
                    timeouts=HTTPRouteTimeouts(request=Text(f"{longest}s", why)),
                ),
            ),
        ),
    )

"""Namespaces, networks, entry points and autoscalers around the pods."""

import difflib
import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from bedside.policy.kubernetes import KubeObject, Pod, place, selects
from bedside.policy.picture import Picture, applied_together, together
from bedside.policy.place import Hit
from bedside.policy.yamltree import Node


@cache
def _data(name: str) -> Any:  # noqa: ANN401 - a JSON file of our own
    return json.loads((files("bedside.policy") / "data" / f"{name}.json").read_text())


def namespace_level(picture: Picture) -> Iterator[Hit]:
    """A namespace that does not enforce Pod Security takes any pod."""
    for item in picture.of("Namespace"):
        node = item.node.at("metadata", "labels", "pod-security.kubernetes.io/enforce")
        if node.text != "restricted" and _holds_serving(picture, item) and not _holds_agents(picture, item):
            where = place(node) if node else item.place
            yield Hit(where, f"{item.title} does not enforce Pod Security restricted")


def _holds_serving(picture: Picture, namespace: KubeObject) -> bool:
    return any(_in(namespace, pod) for pod in picture.serving)


def _in(namespace: KubeObject, pod: Pod) -> bool:
    return pod.owner.namespace in ("", namespace.name) and applied_together(pod.owner, namespace)


def _holds_agents(picture: Picture, namespace: KubeObject) -> bool:
    """Whether a pod there needs the node itself, as agents do: restricted would keep it out, rightly or not."""
    mine = [pod for pod in picture.pods if _in(namespace, pod)]
    host = any(pod.spec.at(name).true for pod in mine for name in ("hostNetwork", "hostPID", "hostIPC"))
    mounted = any(volume.at("hostPath") for pod in mine for volume in pod.spec.at("volumes").items())
    return host or mounted


def network_ingress(picture: Picture) -> Iterator[Hit]:
    """Without a policy every pod of the cluster may send to the model."""
    yield from _unguarded(picture, "Ingress", "any pod of the cluster can reach it")


def network_egress(picture: Picture) -> Iterator[Hit]:
    """Without a policy a taken-over pod may send what it sees anywhere."""
    yield from _unguarded(picture, "Egress", "it can send anywhere")


def _unguarded(picture: Picture, direction: str, meaning: str) -> Iterator[Hit]:
    for pod in picture.serving:
        if not picture.shows(pod.owner):
            continue
        policies = [item for item in picture.of("NetworkPolicy") if _governs(item, pod, direction)]
        if not policies:
            yield Hit(
                pod.owner.place, f"no NetworkPolicy limits the {direction.lower()} of {pod.owner.title}: {meaning}"
            )
        for item in policies:
            for rule in item.spec.at(direction.lower()).items():
                peers = rule.at("from" if direction == "Ingress" else "to").items()
                if all(_everybody(peer) for peer in peers):
                    yield from _opened(picture, item, rule, pod, direction)


def _opened(picture: Picture, policy: KubeObject, rule: Node, pod: Pod, direction: str) -> Iterator[Hit]:
    """What a rule for everybody opens; ports that are only scraped are meant to be, and egress by port is a limit."""
    ports = {port.at("port").text for port in rule.at("ports").items()} - {""}
    if not ports:
        yield Hit(place(rule), f"{policy.title} allows all {direction.lower()} of {pod.owner.title}")
    elif direction == "Ingress" and ports - _meant_for_all(picture, pod):
        opened = ", ".join(sorted(ports - _meant_for_all(picture, pod)))
        yield Hit(place(rule), f"{policy.title} lets every pod of the cluster reach port {opened} of {pod.owner.title}")


def _meant_for_all(picture: Picture, pod: Pod) -> set[str]:
    """Ports that are scraped, or that the API server calls: it has no labels by which a policy could name it."""
    return _scraped(picture, pod) | _called_by_api_server(picture, pod)


def _called_by_api_server(picture: Picture, pod: Pod) -> set[str]:
    """Names and numbers of the ports behind webhooks and aggregated APIs."""
    clients = [
        hook.at("clientConfig", "service")
        for item in picture.of("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
        for hook in item.node.at("webhooks").items()
    ]
    clients += [item.spec.at("service") for item in picture.of("APIService")]
    clients += [
        item.spec.at("conversion", "webhook", "clientConfig", "service")
        for item in picture.of("CustomResourceDefinition")
    ]
    called = {client.at("name").text for client in clients} - {""}
    found: set[str] = set()
    for service in picture.of("Service"):
        if service.name in called and together(service, pod.owner) and pod in picture.selected(service):
            for port in service.spec.at("ports").items():
                target = (port.at("targetPort") or port.at("port")).text
                numbers = {str(c.ports[target]) for c in pod.containers if target in c.ports}
                names = {name for c in pod.containers for name, number in c.ports.items() if str(number) == target}
                found |= {target, *numbers, *names}
    return found


def _scraped(picture: Picture, pod: Pod) -> set[str]:
    """Names and numbers of the ports that are called after metrics, by the pod or by a Service before it."""
    entries = [
        (port.at("name").text, port.at("containerPort").text)
        for c in pod.containers
        for port in c.node.at("ports").items()
    ]
    for service in picture.of("Service"):
        if together(service, pod.owner) and pod in picture.selected(service):
            for port in service.spec.at("ports").items():
                target = port.at("targetPort") or port.at("port")
                entries.append((port.at("name").text, target.text))
    return {text for name, target in entries if "metric" in name or "monitor" in name for text in (name, target)}


def _everybody(peer: Node) -> bool:
    """Whether a peer is every pod there is: any namespace, and no pod selector that leaves one out."""
    spaces, pods, block = (peer.at(name) for name in ("namespaceSelector", "podSelector", "ipBlock"))
    asked = [child for selector in (spaces, pods) for _, group in selector.pairs() for _, child in group.entries]
    anywhere = block.at("cidr").text in ("0.0.0.0/0", "::/0") and not block.at("except").items()
    return (spaces.kind == "map" and not asked) or anywhere


def _governs(policy: KubeObject, pod: Pod, direction: str) -> bool:
    kinds = {item.text for item in policy.spec.at("policyTypes").items()}
    kinds = kinds or {"Ingress", *(["Egress"] if policy.spec.at("egress") else [])}
    return direction in kinds and together(policy, pod.owner) and selects(policy.spec.at("podSelector"), pod.labels)


def unknown_annotations(picture: Picture) -> Iterator[Hit]:
    """A controller ignores an annotation that it does not know: the limit that it seems to set does not exist."""
    for item in picture.objects:
        marks = [item.annotations, item.node.at("metadata", "labels")]
        if item.pod is not None and item.kind != "Pod":
            marks += [item.pod.annotations, item.pod.node.at("metadata", "labels")]
        for key, node in [pair for group in marks for pair in group.pairs()]:
            complaint = _unknown(key)
            if complaint:
                yield Hit(place(node), f"{item.title} sets {key}, {complaint}")
    for ingress in picture.of("Ingress"):
        ours = _CONTROLLERS.get(ingress.spec.at("ingressClassName").text)
        for key, node in ingress.annotations.pairs() if ours else ():
            prefix = key.partition("/")[0]
            if any(prefix in others for others in _CONTROLLERS.values()) and prefix not in (ours or ()):
                named = ingress.spec.at("ingressClassName").text
                yield Hit(place(node), f"{ingress.title} sets {key}, but its class is {named}, which reads other keys")


_CONTROLLERS = {
    "nginx": ("nginx.ingress.kubernetes.io", "nginx.org", "nginx.com"),
    "haproxy": ("haproxy.org", "haproxy-ingress.github.io", "ingress.kubernetes.io"),
    "traefik": ("traefik.ingress.kubernetes.io",),
    "alb": ("alb.ingress.kubernetes.io",),
}
"""Controllers by the class that they are installed as, with the prefixes of the annotations that they read."""


def _unknown(key: str) -> str:
    """What is wrong with a key; empty where its prefix is not in the table.

    Where the table holds every key of a prefix, one that is not there is unknown. Elsewhere only what is almost a
    key of the table is taken for a misspelling.
    """
    prefix, _, name = key.partition("/")
    table = _data("annotations").get(prefix)
    if table is None or name in table["keys"]:
        return ""
    meant = table.get("meant", {}).get(name)
    nearest = [meant] if meant else difflib.get_close_matches(name, table["keys"], 1, 0.5 if table["closed"] else 0.9)
    hint = f"; the nearest real one is {prefix}/{nearest[0]}" if nearest else ""
    return f"which its controller does not know{hint}" if table["closed"] or nearest else ""


def retired(picture: Picture) -> Iterator[Hit]:
    """API versions that no supported API server serves any more."""
    for item in picture.objects:
        api = item.node.at("apiVersion")
        if item.kind in _data("retired_apis").get(api.text, []):
            yield Hit(place(api), f"{item.title} uses {api.text}, which Kubernetes no longer serves")


def retired_controllers(picture: Picture) -> Iterator[Hit]:
    """Controllers that get no more security fixes: ingress-nginx ended in March 2026."""
    for item in picture.of("Ingress", "IngressClass"):
        node = (
            item.spec.at("ingressClassName")
            or item.annotations.at("kubernetes.io/ingress.class")
            or item.spec.at("controller")
        )
        if node.text in ("nginx", "k8s.io/ingress-nginx"):
            yield Hit(place(node), f"{item.title} is served by ingress-nginx, which is retired and gets no fixes")


def legacy_class(picture: Picture) -> Iterator[Hit]:
    """The annotation for the class has been replaced by a field; where both are set, creation is refused."""
    for item in picture.of("Ingress"):
        node = item.annotations.at("kubernetes.io/ingress.class")
        if node and item.group == "networking.k8s.io":
            yield Hit(place(node), f"{item.title} names its class by an annotation that controllers stop reading")


def entry_tls(picture: Picture) -> Iterator[Hit]:
    """Without TLS at the entry, patient data crosses the hospital's network in clear."""
    for item in picture.of("Ingress"):
        hosts = [rule.at("host").text for rule in item.spec.at("rules").items()]
        covered = {host.text for entry in item.spec.at("tls").items() for host in entry.at("hosts").items()}
        if not item.spec.at("tls").items():
            yield Hit(place(item.spec), f"{item.title} answers in clear: it has no TLS")
        for entry in item.spec.at("tls").items():
            elsewhere = any("cert" in key for key, _ in item.annotations.pairs())
            if not entry.at("secretName") and not elsewhere:
                yield Hit(place(entry), f"{item.title} names no certificate: callers get the controller's own")
        for host in hosts:
            if (
                covered
                and host
                and host not in covered
                and not any(c.startswith("*.") and host.endswith(c[1:]) for c in covered)
            ):
                yield Hit(place(item.spec.at("tls")), f"{item.title} has no TLS for the host {host}")
    for gateway in picture.of("Gateway"):
        for listener in gateway.spec.at("listeners").items():
            if listener.at("protocol").text == "HTTP" and not _redirects(picture, gateway, listener):
                yield Hit(place(listener), f"{gateway.title} listens in clear on port {listener.at('port').text}")


def _redirects(picture: Picture, gateway: KubeObject, listener: Node) -> bool:
    """Whether a route on this listener does nothing but send callers to HTTPS."""
    for route in picture.of("HTTPRoute"):
        parents = route.spec.at("parentRefs").items()
        mine = any(
            p.at("name").text == gateway.name and p.at("sectionName").text in ("", listener.at("name").text)
            for p in parents
        )
        filters = [item for rule in route.spec.at("rules").items() for item in rule.at("filters").items()]
        if mine and any(item.at("requestRedirect", "scheme").text == "https" for item in filters):
            return True
    return False


def clear_inside(picture: Picture) -> Iterator[Hit]:
    """TLS that ends at the entry leaves patient data in clear between the nodes."""
    for item in picture.of("Ingress"):
        for service in _behind(picture, item):
            pods = picture.selected(service)
            if (
                item.spec.at("tls").items()
                and pods
                and not any(_protected(picture, item, service, pod) for pod in pods)
            ):
                yield Hit(
                    place(item.spec.at("tls")),
                    f"TLS of {item.title} ends before {pods[0].owner.title}: the way between is in clear",
                )
                return


def _behind(picture: Picture, item: KubeObject) -> list[KubeObject]:
    names = {
        path.at("backend", "service", "name").text
        for rule in item.spec.at("rules").items()
        for path in rule.at("http", "paths").items()
    }
    return [service for service in picture.of("Service") if service.name in names and together(service, item)]


def _protected(picture: Picture, ingress: KubeObject, service: KubeObject, pod: Pod) -> bool:
    noted = [*ingress.annotations.pairs(), *service.annotations.pairs()]
    if any(node.text.lower() in ("https", "grpcs") and ("protocol" in key or "scheme" in key) for key, node in noted):
        return True
    namespace = picture.find("Namespace", pod.owner.namespace, pod.owner)
    marks = [*pod.annotations.pairs(), *pod.node.at("metadata", "labels").pairs()]
    if namespace is not None:
        marks += [*namespace.annotations.pairs(), *namespace.node.at("metadata", "labels").pairs()]
    mesh = (
        "linkerd.io/inject",
        "istio-injection",
        "sidecar.istio.io/inject",
        "istio.io/rev",
        "istio.io/dataplane-mode",
    )
    return any(key in mesh and node.text not in ("disabled", "false", "none") for key, node in marks)


def open_everything(picture: Picture) -> Iterator[Hit]:
    """A prefix of / opens every route of the application: metrics, documentation, model details."""
    inner = ("/metrics", "/docs", "/model", "/openapi.json", "/admin", "/debug")
    for ingress in picture.of("Ingress"):
        for rule in ingress.spec.at("rules").items():
            for path in rule.at("http", "paths").items():
                if path.at("path").text == "/" and path.at("pathType").text != "Exact":
                    opened = sorted(
                        {r.path for r in picture.routes or () if r.path in inner or r.path.startswith("/admin")}
                    )
                    if opened and any(
                        s.name == path.at("backend", "service", "name").text for s in _behind(picture, ingress)
                    ):
                        yield Hit(place(path), f"{ingress.title} opens every route, {', '.join(opened)} among them")


def node_port(picture: Picture) -> Iterator[Hit]:
    """A NodePort or unlimited LoadBalancer goes around the entry, its TLS and its authentication."""
    behind = {id(service) for item in picture.of("Ingress") for service in _behind(picture, item)}
    for service in picture.of("Service"):
        kind = service.spec.at("type")
        limited = service.spec.at("loadBalancerSourceRanges").items()
        internal = any("internal" in key or node.text == "internal" for key, node in service.annotations.pairs())
        around = id(service) in behind and kind.text in ("NodePort", "LoadBalancer")
        if around and not (limited or internal):
            yield Hit(place(kind), f"{service.title} can be reached around the entry point, as {kind.text}")


def autoscaler_metric(picture: Picture) -> Iterator[Hit]:
    """A utilisation is a share of the request: without a request there is nothing to compute it from."""
    for item in picture.of("HorizontalPodAutoscaler"):
        target = item.spec.at("scaleTargetRef")
        for metric in item.spec.at("metrics").items():
            name = metric.at("resource", "name").text
            if metric.at("resource", "target", "type").text != "Utilization":
                continue
            for pod in picture.pods:
                if (pod.owner.kind, pod.owner.name) != (target.at("kind").text, target.at("name").text):
                    continue
                for container in pod.containers:
                    resources = container.node.at("resources")
                    if (
                        container.node.at("resources")
                        and not resources.at("requests", name)
                        and not resources.at("limits", name)
                    ):
                        yield Hit(
                            place(metric), f"{item.title} scales on {name}, which {container.title} does not request"
                        )


def autoscaler_bounds(picture: Picture) -> Iterator[Hit]:
    """An autoscaler with nowhere to go."""
    for item in picture.of("HorizontalPodAutoscaler"):
        low, high = item.spec.at("minReplicas").number, item.spec.at("maxReplicas").number
        if high is not None and high <= (1 if low is None else low):
            yield Hit(place(item.spec.at("maxReplicas")), f"{item.title} cannot add a pod: its maximum is its minimum")

"""What the API server refuses although its schema lets it through: fields that need one another."""

from collections.abc import Iterator

from bedside.policy.kubernetes import Container, KubeObject, Pod, place
from bedside.policy.picture import Picture
from bedside.policy.place import Hit
from bedside.policy.rules.schema import has_schema
from bedside.policy.yamltree import Node

_KNOWN_GROUPS = ("cert-manager.io", "external-secrets.io", "gateway.networking.k8s.io", "monitoring.coreos.com")
_HANDLERS = ("httpGet", "tcpSocket", "exec", "grpc")
_HOOKS = ("httpGet", "tcpSocket", "exec", "sleep")
_SOURCES = ("configMapKeyRef", "secretKeyRef", "fieldRef", "resourceFieldRef", "fileKeyRef")
_METRICS = {
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
}
_TARGETS = {"Utilization": "averageUtilization", "AverageValue": "averageValue", "Value": "value"}


def refused(picture: Picture) -> Iterator[Hit]:
    """The schema takes it and the API server does not: the whole apply stops there, half done."""
    for item in picture.objects:
        if not item.name and not item.node.at("metadata", "generateName") and _stored(item):
            yield Hit(item.place, f"{item.kind} has no name")
        match item.kind:
            case "HorizontalPodAutoscaler":
                yield from _autoscaler(item)
            case "Ingress":
                yield from _ingress(item)
            case "PersistentVolumeClaim":
                yield from _claim(item)
            case "NetworkPolicy":
                yield from _network(item)
            case _:
                pass
    for pod in picture.pods:
        yield from _volumes(pod)
        for container in pod.all_containers:
            yield from _container(container)


def _stored(item: KubeObject) -> bool:
    """Whether the API server keeps it: settings of tools have a kind too, and no name."""
    return has_schema(item) or item.group in _KNOWN_GROUPS


def _container(container: Container) -> Iterator[Hit]:
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        probe = container.node.at(name)
        if probe.kind == "map" and not any(probe.at(handler).kind == "map" for handler in _HANDLERS):
            yield Hit(place(probe), f"the {name} of {container.title} asks nothing")
    for name in ("preStop", "postStart"):
        hook = container.node.at("lifecycle", name)
        if hook.kind == "map" and not any(hook.at(handler).kind == "map" for handler in _HOOKS):
            yield Hit(place(hook), f"the {name} hook of {container.title} does nothing")
    for entry in container.node.at("env").items():
        source = entry.at("valueFrom")
        named = [source.at(name) for name in _SOURCES if source.at(name).kind == "map"]
        if source.kind == "map" and not named:
            yield Hit(place(source), f"{entry.at('name').text} of {container.title} comes from nowhere")
        for reference in named:
            if any(source.at(name) == reference for name in _SOURCES[:2]) and not reference.at("name"):
                yield Hit(place(reference), f"{entry.at('name').text} of {container.title} names no object to read")


def _volumes(pod: Pod) -> Iterator[Hit]:
    for volume in pod.spec.at("volumes").items():
        for kind, field in (("secret", "secretName"), ("configMap", "name")):
            if volume.at(kind).kind == "map" and not volume.at(kind, field):
                yield Hit(place(volume), f"the volume {volume.at('name').text} of {pod.owner.title} names no {kind}")


def _autoscaler(item: KubeObject) -> Iterator[Hit]:
    for metric in item.spec.at("metrics").items():
        kind = metric.at("type").text
        field = _METRICS.get(kind, "")
        if field and metric.at(field).kind != "map":
            yield Hit(place(metric), f"{item.title} has a metric of type {kind} without {field}")
        target = metric.at(field, "target")
        wanted = _TARGETS.get(target.at("type").text, "")
        if wanted and not target.at(wanted):
            yield Hit(place(target), f"{item.title} has a target without {wanted}")


def _ingress(item: KubeObject) -> Iterator[Hit]:
    rules = item.spec.at("rules").items()
    fallback = item.spec.at("defaultBackend")
    if not rules and not fallback:
        yield Hit(place(item.spec), f"{item.title} sends nothing anywhere: it has neither rules nor a default")
    for rule in rules:
        paths = rule.at("http", "paths")
        if not paths.items() and not fallback:
            yield Hit(place(rule), f"{item.title} has a rule without paths")
        for path in paths.items():
            yield from _path(item, path)


def _path(item: KubeObject, path: Node) -> Iterator[Hit]:
    if item.group != "networking.k8s.io":
        return  # the fields of older groups are called otherwise, and no server takes them
    service = path.at("backend", "service")
    if path.at("pathType").text in ("Exact", "Prefix") and not path.at("path"):
        yield Hit(place(path), f"{item.title} has a path of type {path.at('pathType').text} that says none")
    if service.kind != "map" and not path.at("backend", "resource"):
        yield Hit(place(path), f"{item.title} has a path without a Service behind it")
    elif service.kind == "map" and not service.at("port", "name") and not service.at("port", "number"):
        yield Hit(place(service), f"{item.title} sends to no port of the Service {service.at('name').text}")


def _claim(item: KubeObject) -> Iterator[Hit]:
    if not item.spec.at("accessModes").items():
        yield Hit(place(item.spec), f"{item.title} has no accessModes")
    if not item.spec.at("resources", "requests", "storage"):
        yield Hit(place(item.spec), f"{item.title} asks for no storage")


def _network(item: KubeObject) -> Iterator[Hit]:
    for direction, field in (("ingress", "from"), ("egress", "to")):
        for rule in item.spec.at(direction).items():
            for peer in rule.at(field).items():
                if not any(peer.at(name).kind == "map" for name in ("podSelector", "namespaceSelector", "ipBlock")):
                    yield Hit(place(peer), f"{item.title} has a peer that is nobody")

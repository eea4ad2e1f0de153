"""References that lead nowhere: names in one file that no other file defines.

They are only looked for where a whole tree was given: in a single file, what is missing may stand elsewhere.
"""

import difflib
from collections.abc import Iterator

from bedside.policy.kubernetes import SERVING_KINDS, KubeObject, Pod, place, selects
from bedside.policy.picture import Picture, only_metrics, together
from bedside.policy.place import Hit, Place
from bedside.policy.yamltree import Node


def service_accounts(picture: Picture) -> Iterator[Hit]:
    """A pod whose service account does not exist is never created."""
    for pod in picture.pods:
        node = pod.spec.at("serviceAccountName")
        if (
            picture.shows(pod.owner)
            and node.text not in ("", "default")
            and not _has(picture, "ServiceAccount", pod, node)
        ):
            yield Hit(place(node), f"{pod.owner.title} runs as the ServiceAccount {node.text}, which no file defines")


def claims(picture: Picture) -> Iterator[Hit]:
    """A pod whose claim does not exist stays Pending."""
    for pod in picture.pods:
        for volume in pod.spec.at("volumes").items():
            node = volume.at("persistentVolumeClaim", "claimName")
            templates = pod.owner.spec.at("volumeClaimTemplates").items()
            if any(item.at("metadata", "name").text == volume.at("name").text for item in templates):
                continue
            if picture.shows(pod.owner) and node and not _has(picture, "PersistentVolumeClaim", pod, node):
                yield Hit(place(node), f"{pod.owner.title} mounts the claim {node.text}, which no file defines")


def config_maps(picture: Picture) -> Iterator[Hit]:
    """A pod whose ConfigMap does not exist never starts."""
    for pod in picture.pods:
        for node in config_references(pod, "configMap", "configMapKeyRef", "configMapRef"):
            made = node.text in _MADE_IN_EVERY_NAMESPACE
            if picture.shows(pod.owner) and not made and not _has(picture, "ConfigMap", pod, node):
                yield Hit(place(node), f"{pod.owner.title} reads the ConfigMap {node.text}, which no file defines")
        yield from _missing_keys(picture, pod)


_MADE_IN_EVERY_NAMESPACE = (
    "kube-root-ca.crt",
    "istio-ca-root-cert",
    "linkerd-identity-trust-roots",
    "openshift-service-ca.crt",
)
"""ConfigMaps that the cluster, or a mesh in it, puts into every namespace."""


def _missing_keys(picture: Picture, pod: Pod) -> Iterator[Hit]:
    for container in pod.all_containers:
        for entry in container.node.at("env").items():
            asked = entry.at("valueFrom", "configMapKeyRef")
            name, key = asked.at("name").text, asked.at("key")
            held = picture.find("ConfigMap", name, pod.owner) if key and not asked.at("optional").true else None
            keys = (
                {one for field in ("data", "binaryData") for one, _ in held.node.at(field).pairs()} if held else set()
            )
            if held is not None and not held.partial and key.text not in keys:
                yield Hit(place(key), f"{container.title} reads the key {key.text}, which the ConfigMap {name} lacks")


def secrets(picture: Picture) -> Iterator[Hit]:
    """A Secret that nothing here makes has to be there first, and nobody is told."""
    made = _made_secrets(picture)
    for pod in picture.pods:
        named = config_references(pod, "secret", "secretKeyRef", "secretRef")
        for node in [*named, *(item.at("name") for item in pod.spec.at("imagePullSecrets").items())]:
            if picture.shows(pod.owner) and node and node.text not in made and not _has(picture, "Secret", pod, node):
                yield Hit(place(node), f"{pod.owner.title} reads the Secret {node.text}, which no file here defines")


def config_references(pod: Pod, volume_kind: str, key_reference: str, whole_reference: str) -> list[Node]:
    """Names of the ConfigMaps or Secrets that a pod cannot start without."""
    found: list[Node] = []
    field = "secretName" if volume_kind == "secret" else "name"
    for volume in pod.spec.at("volumes").items():
        source = volume.at(volume_kind)
        found += [source.at(field)] if not source.at("optional").true else []
        projected = [item.at(volume_kind) for item in volume.at("projected", "sources").items()]
        found += [item.at("name") for item in projected if not item.at("optional").true]
    for container in pod.all_containers:
        references = [entry.at("valueFrom", key_reference) for entry in container.node.at("env").items()]
        references += [entry.at(whole_reference) for entry in container.node.at("envFrom").items()]
        found += [item.at("name") for item in references if not item.at("optional").true]
    return [node for node in found if node]


def _made_secrets(picture: Picture) -> set[str]:
    made = {item.spec.at("target", "name").text or item.name for item in picture.of("ExternalSecret") if _filled(item)}
    made |= {item.spec.at("template", "metadata", "name").text or item.name for item in picture.of("SealedSecret")}
    made |= {item.spec.at("secretName").text for item in picture.of("Certificate")}
    for item in picture.of("SecretProviderClass"):
        made |= {entry.at("secretName").text for entry in item.spec.at("secretObjects").items()}
    for item in picture.of("Service"):
        made |= {item.annotations.at(key).text for key in _SERVING_CERTIFICATES}
    return made


_SERVING_CERTIFICATES = tuple(f"service.{stage}.openshift.io/serving-cert-secret-name" for stage in ("alpha", "beta"))
"""Annotations by which OpenShift makes a Service's certificate into a Secret."""


def _filled(item: KubeObject) -> bool:
    """Whether an ExternalSecret says what to fetch, and from where."""
    entries = [*item.spec.at("data").items(), *item.spec.at("dataFrom").items()]
    fetched = all(entry.at("remoteRef", "key") or entry.at("sourceRef") for entry in item.spec.at("data").items())
    return (
        bool(entries)
        and fetched
        and (bool(item.spec.at("secretStoreRef", "name")) or all(entry.at("sourceRef") for entry in entries))
    )


def _has(picture: Picture, kind: str, pod: Pod, node: Node) -> bool:
    if "$(" in node.text:
        return True  # a name that something else fills in
    return picture.defines(kind, node.text, pod.owner)


def namespaces(picture: Picture) -> Iterator[Hit]:
    """Objects in a namespace that no file makes, in a tree that makes its own."""
    made = {item.name for item in picture.of("Namespace")} | {"default", "kube-system", "kube-public"}
    makers = {item.tree for item in picture.of("Namespace")} | ({""} if picture.of("Namespace") else set())
    tended = {one.directory for one in picture.kustomizations}  # where an unlisted file is not applied
    reported: set[str] = set()
    for item in picture.objects:
        node = item.node.at("metadata", "namespace")
        idle = not item.tree and node.file.rpartition("/")[0] in tended
        if item.tree in makers and not idle and picture.shows(item) and node.text and node.text not in made | reported:
            reported.add(node.text)
            yield Hit(place(node), f"{item.title} is in the namespace {node.text}, which no file makes")


def route_backends(picture: Picture) -> Iterator[Hit]:
    """An Ingress or route to a Service, or a port of it, that is not there answers 503."""
    if not picture.whole or picture.grows:  # an operator makes Services, too
        return
    for owner, name, port in _backends(picture):
        if not picture.shows(owner):
            continue
        service = picture.find("Service", name.text, owner)
        if service is None:
            yield Hit(place(name), f"{owner.title} sends to the Service {name.text}, which no file defines")
            continue
        if not service.spec.at("selector") and not _endpoints(picture, service):
            yield Hit(place(name), f"{owner.title} sends to the Service {name.text}, which selects no pods")
            continue
        ports = service.spec.at("ports").items()
        offered = {value.text for item in ports for value in (item.at("port"), item.at("name")) if value}
        if port and port.text not in offered:
            yield Hit(
                place(port), f"{owner.title} sends to port {port.text}, which the Service {name.text} does not have"
            )


def _endpoints(picture: Picture, service: KubeObject) -> bool:
    """Whether something else than a selector says where a Service sends to."""
    sliced = any(item.labels.get("kubernetes.io/service-name") == service.name for item in picture.of("EndpointSlice"))
    return sliced or bool(service.spec.at("externalName")) or picture.defines("Endpoints", service.name, service)


def _backends(picture: Picture) -> Iterator[tuple[KubeObject, Node, Node]]:
    for ingress in picture.of("Ingress"):
        rules = [path for rule in ingress.spec.at("rules").items() for path in rule.at("http", "paths").items()]
        for backend in [*(path.at("backend") for path in rules), ingress.spec.at("defaultBackend")]:
            port = backend.at("service", "port")
            if backend.at("service", "name"):
                yield ingress, backend.at("service", "name"), port.at("number") or port.at("name")
    for route in picture.of("HTTPRoute", "GRPCRoute"):
        for rule in route.spec.at("rules").items():
            for backend in rule.at("backendRefs").items():
                if backend.at("kind").text in ("", "Service") and not backend.at("namespace"):
                    yield route, backend.at("name"), backend.at("port")


def priority_classes(picture: Picture) -> Iterator[Hit]:
    """A priority class has to exist in the cluster."""
    for pod in picture.pods:
        node = pod.spec.at("priorityClassName")
        if (
            picture.shows(pod.owner)
            and node.text
            and not node.text.startswith("system-")
            and not picture.defines("PriorityClass", node.text, pod.owner)
        ):
            yield Hit(place(node), f"{pod.owner.title} needs the PriorityClass {node.text}, which nothing here makes")


_CLASSES = (
    ("IngressClass", "Ingress", ("spec", "ingressClassName")),
    ("StorageClass", "PersistentVolumeClaim", ("spec", "storageClassName")),
    ("GatewayClass", "Gateway", ("spec", "gatewayClassName")),
)
_STORES = (
    ("ExternalSecret", ("spec", "secretStoreRef"), "SecretStore"),
    ("Certificate", ("spec", "issuerRef"), "Issuer"),
)


def classes(picture: Picture) -> Iterator[Hit]:
    """A class, store or issuer of another name than the tree makes: nothing serves, stores or fetches it."""
    named = [(kind, item, item.node.at(*path)) for kind, user, path in _CLASSES for item in picture.of(user)]
    named += [("RuntimeClass", pod.owner, pod.spec.at("runtimeClassName")) for pod in picture.pods]
    for kind, owner, node in named:
        made = {item.name for item in picture.of(kind)}
        if node.text and node.text not in made and difflib.get_close_matches(node.text, made, 1, 0.6):
            yield Hit(
                place(node), f"{owner.title} names the {kind} {node.text}; the tree makes {', '.join(sorted(made))}"
            )
    for user, path, usual in _STORES:
        for item in picture.of(user):
            reference = item.node.at(*path)
            kind, node = reference.at("kind").text or usual, reference.at("name")
            made = {one.name for one in picture.of(kind)}
            if node.text and made and not picture.defines(kind, node.text, item) and picture.shows(item):
                yield Hit(
                    place(node), f"{item.title} names the {kind} {node.text}; the tree makes {', '.join(sorted(made))}"
                )


def bindings(picture: Picture) -> Iterator[Hit]:
    """A binding to a role or an account that is not there gives nobody anything, and says nothing."""
    spaces = {item.namespace for item in picture.objects}
    for item in picture.of("RoleBinding", "ClusterRoleBinding"):
        if not picture.shows(item) or picture.grows or item.namespace == "kube-system":  # which has roles of its own
            continue
        role = item.node.at("roleRef")
        if role.at("kind").text == "Role" and not picture.defines("Role", role.at("name").text, item):
            yield Hit(place(role), f"{item.title} gives the Role {role.at('name').text}, which no file defines")
        for subject in item.node.at("subjects").items():
            name, space = subject.at("name").text, subject.at("namespace").text
            ours = space in spaces and any(pod.owner.namespace == space for pod in picture.pods)
            account = subject.at("kind").text == "ServiceAccount" and name not in ("", "default") and ours
            if account and not any(
                one.name == name and one.namespace in ("", space) for one in picture.of("ServiceAccount")
            ):
                yield Hit(place(subject), f"{item.title} is for the ServiceAccount {name}, which no file defines")


def scale_targets(picture: Picture) -> Iterator[Hit]:
    """An autoscaler without its workload scales nothing, and says so only in its events."""
    for item in picture.of("HorizontalPodAutoscaler", "ScaledObject"):
        target = item.spec.at("scaleTargetRef")
        kind = target.at("kind").text or "Deployment"
        if kind not in ("Deployment", "StatefulSet", "ReplicaSet") or not picture.shows(item):
            continue
        if not picture.defines(kind, target.at("name").text, item):
            yield Hit(
                place(target.at("name")),
                f"{item.title} scales the {kind} {target.at('name').text}, which no file defines",
            )
        elif item.kind == "HorizontalPodAutoscaler" and not target.at("apiVersion"):
            yield Hit(place(target), f"{item.title} names no apiVersion of its {kind}, and so finds none")


def service_selectors(picture: Picture) -> Iterator[Hit]:
    """A Service that selects no pod has no endpoints."""
    for service in picture.of("Service"):
        selector = service.spec.at("selector")
        if selector and _shows_all(picture, service) and not picture.selected(service):
            if only_metrics(service) and not _resembles(picture, selector):
                continue  # an exporter that the cluster, or another tree, runs on its nodes
            yield Hit(place(selector), f"{service.title} selects no pod that any file defines")


def _resembles(picture: Picture, selector: Node) -> bool:
    """Whether a selector says almost what some pod of the tree is labelled with, or what makes it is called."""
    known = {value for pod in picture.pods for value in (pod.owner.name, *pod.labels.values())}
    return any(difflib.get_close_matches(value, known, 1, 0.7) for value in selector.strings().values())


def workload_selectors(picture: Picture) -> Iterator[Hit]:
    """A workload whose selector does not take its own template is refused."""
    for pod in picture.pods:
        selector = pod.owner.spec.at("selector")
        made = pod.owner.kind in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet") and not pod.owner.partial
        asked = [*selector.at("matchLabels").pairs(), *selector.at("matchExpressions").items()]
        if made and selector.kind != "absent" and not (asked and selects(selector, pod.labels)):
            yield Hit(place(selector), f"{pod.owner.title} has a selector that does not take its own pods")


def budget_selectors(picture: Picture) -> Iterator[Hit]:
    """A disruption budget that selects no pod protects nothing."""
    for item in picture.of("PodDisruptionBudget"):
        selector = item.spec.at("selector")
        if _shows_all(picture, item) and not picture.taken(item, selector):
            yield Hit(place(selector), f"{item.title} selects no pod that any file defines")


def policy_selectors(picture: Picture) -> Iterator[Hit]:
    """A NetworkPolicy that selects no pod guards nothing."""
    for item in picture.of("NetworkPolicy"):
        selector = item.spec.at("podSelector")
        judged = selector and item.group == "networking.k8s.io" and _shows_all(picture, item)
        if judged and not picture.taken(item, selector):
            yield Hit(place(selector), f"{item.title} selects no pod that any file defines")


def _shows_all(picture: Picture, item: KubeObject) -> bool:
    """Whether the tree shows every pod there is to select, with all of its labels."""
    near = picture.podded.get(item.namespace, frozenset()) - item.rivals
    return picture.shows(item) and bool(near) and not picture.grows and not (item.partial or picture.partial)


def monitor_selectors(picture: Picture) -> Iterator[Hit]:
    """A monitor that selects nothing, or a port that is not there, scrapes nothing and alerts on nothing."""
    if not picture.whole:
        return
    for item in picture.of("PodMonitor", "ServiceMonitor"):
        selector = item.spec.at("selector")
        field = "podMetricsEndpoints" if item.kind == "PodMonitor" else "endpoints"
        if selector.kind == "absent" or not item.spec.at(field).items():
            yield Hit(place(item.spec), f"{item.title} does not say what to scrape")
            continue
        near = any(
            together(item, one) and item.namespace == one.namespace for one in picture.of("Service", *SERVING_KINDS)
        )
        if item.spec.at("namespaceSelector") or not picture.shows(item) or not near:
            continue
        ports = _monitored_ports(picture, item, selector)
        if ports is None:
            yield Hit(place(selector), f"{item.title} selects nothing that any file defines")
            continue
        for endpoint in item.spec.at(field).items():
            port = endpoint.at("port")
            if port and port.text not in ports:
                yield Hit(place(port), f"{item.title} scrapes the port {port.text}, which nothing that it selects has")


def _monitored_ports(picture: Picture, item: KubeObject, selector: Node) -> set[str] | None:
    """Port names of what a monitor selects; ``None`` where it selects nothing."""
    if item.kind == "PodMonitor":
        pods = picture.taken(item, selector)
        return {name for pod in pods for container in pod.containers for name in container.ports} if pods else None
    services = [one for one in picture.of("Service") if together(one, item) and selects(selector, one.labels)]
    named = {port.at("name").text for one in services for port in one.spec.at("ports").items()}
    return named if services else None


def volume_mounts(picture: Picture) -> Iterator[Hit]:
    """A mount of a volume that the pod does not have is refused."""
    for pod in picture.pods:
        names = {volume.at("name").text for volume in pod.spec.at("volumes").items()}
        names |= {item.at("metadata", "name").text for item in pod.owner.spec.at("volumeClaimTemplates").items()}
        for container in pod.all_containers:
            for mount in container.node.at("volumeMounts").items():
                if mount.at("name").text not in names:
                    yield Hit(
                        place(mount),
                        f"{container.title} mounts the volume {mount.at('name').text}, which its pod lacks",
                    )


def unlisted(picture: Picture) -> Iterator[Hit]:
    """A manifest beside a kustomization that does not list it is never applied."""
    for one in picture.kustomizations:
        named = {node.text.rpartition("/")[2] for node in one.node.walk() if node.kind == "scalar"}
        for item in picture.objects if one.resources or one.lists_nothing else ():
            if item.tree:
                continue
            directory, _, name = item.place.file.rpartition("/")
            if directory == one.directory and name not in named:
                yield Hit(
                    Place(item.place.file), f"{item.place.file} is not in the resources of the kustomization beside it"
                )


def duplicates(picture: Picture) -> Iterator[Hit]:
    """Two objects of one name that are applied together: the last one wins, silently."""
    seen: dict[tuple[str, ...], KubeObject] = {}
    for item in picture.objects:
        where = f"{item.tree}/" if item.tree else item.place.file  # files that lie side by side may be alternatives
        first = seen.setdefault((where, item.group, item.kind, item.namespace, item.name), item)
        if item.name and first is not item:
            yield Hit(item.place, f"{item.title} is defined twice, first in {first.place.file} line {first.place.line}")

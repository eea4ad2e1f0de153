"""Places in the API's objects that kustomize knows: labels, selectors, annotations and the names of other objects.

A path is a tuple of keys; ``*`` stands for every item of a list. Source: kustomize's built-in transformer
configuration (api/internal/konfig/builtinpluginconsts), version 5.8.
"""

from collections.abc import Callable

from bedside.policy.yamltree import Node

Path = tuple[str, ...]

WORKLOADS = ("Deployment", "ReplicaSet", "DaemonSet", "StatefulSet", "Job", "ReplicationController")
_TEMPLATE = ("spec", "template")
_JOB = ("spec", "jobTemplate")

CLUSTER_WIDE = frozenset(
    (
        *("Namespace", "Node", "PersistentVolume", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"),
        *("StorageClass", "VolumeAttachment", "CSIDriver", "CSINode", "PriorityClass", "IngressClass", "RuntimeClass"),
        *("APIService", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "FlowSchema"),
        *("PriorityLevelConfiguration", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"),
        *("CertificateSigningRequest", "DeviceClass", "ResourceSlice", "PodSecurityPolicy", "ComponentStatus"),
    )
)
"""Kinds of the API server that stand in no namespace."""

NEVER_RENAMED = ("CustomResourceDefinition", "APIService", "Namespace")


def templates(kind: str) -> tuple[Path, ...]:
    """Where an object of this kind keeps the metadata of what it makes."""
    if kind == "CronJob":
        return ((*_JOB, "metadata"), (*_JOB, *_TEMPLATE, "metadata"))
    return ((*_TEMPLATE, "metadata"),) if kind in WORKLOADS else ()


def selectors(kind: str) -> tuple[tuple[Path, bool], ...]:
    """Where an object of this kind selects by label, and whether kustomize makes the selector where there is none."""
    spec = {"Pod": ("spec",), "CronJob": (*_JOB, *_TEMPLATE, "spec")}.get(kind, (*_TEMPLATE, "spec"))
    found: list[tuple[Path, bool]] = []
    match kind:
        case "Service" | "ReplicationController":
            found.append((("spec", "selector"), True))
        case "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet":
            found.append((("spec", "selector", "matchLabels"), True))
        case "Job" | "PodDisruptionBudget":
            found.append((("spec", "selector", "matchLabels"), False))
        case "CronJob":
            found.append(((*_JOB, "spec", "selector", "matchLabels"), False))
        case "NetworkPolicy":
            ways = (("ingress", "*", "from", "*"), ("egress", "*", "to", "*"), ())
            found += [(("spec", *way, "podSelector", "matchLabels"), False) for way in ways]
        case _:
            pass
    if kind in ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"):
        found += [((*spec, *way, "labelSelector", "matchLabels"), False) for way in _NEAR]
    return tuple(found)


_PREFERRED = ("preferredDuringSchedulingIgnoredDuringExecution", "*", "podAffinityTerm")
_REQUIRED = ("requiredDuringSchedulingIgnoredDuringExecution", "*")
_NEAR = (
    *(("affinity", side, *term) for side in ("podAffinity", "podAntiAffinity") for term in (_PREFERRED, _REQUIRED)),
    ("topologySpreadConstraints", "*"),
)

_CONTAINERS = ("containers", "initContainers")
_IN_POD: tuple[tuple[str, Path], ...] = (
    ("ConfigMap", ("volumes", "*", "configMap", "name")),
    ("ConfigMap", ("volumes", "*", "projected", "sources", "*", "configMap", "name")),
    ("Secret", ("volumes", "*", "secret", "secretName")),
    ("Secret", ("volumes", "*", "projected", "sources", "*", "secret", "name")),
    ("Secret", ("imagePullSecrets", "*", "name")),
    ("ServiceAccount", ("serviceAccountName",)),
    ("PersistentVolumeClaim", ("volumes", "*", "persistentVolumeClaim", "claimName")),
    ("PriorityClass", ("priorityClassName",)),
    *(("ConfigMap", (part, "*", "env", "*", "valueFrom", "configMapKeyRef", "name")) for part in _CONTAINERS),
    *(("ConfigMap", (part, "*", "envFrom", "*", "configMapRef", "name")) for part in _CONTAINERS),
    *(("Secret", (part, "*", "env", "*", "valueFrom", "secretKeyRef", "name")) for part in _CONTAINERS),
    *(("Secret", (part, "*", "envFrom", "*", "secretRef", "name")) for part in _CONTAINERS),
)
_ELSEWHERE: dict[str, tuple[tuple[str, Path], ...]] = {
    "Ingress": (
        ("Service", ("spec", "rules", "*", "http", "paths", "*", "backend", "service", "name")),
        ("Service", ("spec", "defaultBackend", "service", "name")),
        ("Secret", ("spec", "tls", "*", "secretName")),
        ("IngressClass", ("spec", "ingressClassName")),
    ),
    "StatefulSet": (
        ("Service", ("spec", "serviceName")),
        ("StorageClass", ("spec", "volumeClaimTemplates", "*", "spec", "storageClassName")),
    ),
    "ServiceAccount": (("Secret", ("imagePullSecrets", "*", "name")), ("Secret", ("secrets", "*", "name"))),
    "PersistentVolumeClaim": (
        ("PersistentVolume", ("spec", "volumeName")),
        ("StorageClass", ("spec", "storageClassName")),
    ),
}
SERVICES: dict[str, Path] = {
    "MutatingWebhookConfiguration": ("webhooks", "*", "clientConfig", "service"),
    "ValidatingWebhookConfiguration": ("webhooks", "*", "clientConfig", "service"),
    "APIService": ("spec", "service"),
    "CustomResourceDefinition": ("spec", "conversion", "webhook", "clientConfig", "service"),
}
"""Where objects outside of every namespace name a Service, with the namespace that it is in."""

_PODS: dict[str, Path] = {
    "Pod": ("spec",),
    "CronJob": (*_JOB, *_TEMPLATE, "spec"),
    **dict.fromkeys(WORKLOADS, (*_TEMPLATE, "spec")),
}


def names(kind: str) -> tuple[tuple[str, Path], ...]:
    """Where an object of this kind names others, each with their kind; references that say their kind are not here."""
    pod = _PODS.get(kind)
    inside = tuple((named, (*pod, *path)) for named, path in _IN_POD) if pod is not None else ()
    return inside + _ELSEWHERE.get(kind, ())


def changed(node: Node, path: Path, change: Callable[[Node], Node], *, make: bool = False) -> Node:
    """``node`` with ``change`` made to what stands at ``path``; ``make``: also where nothing does."""
    if not path:
        return change(node)
    step, rest = path[0], path[1:]
    if step == "*":
        return node.listing(changed(item, rest, change, make=make) for item in node.items()) if node.items() else node
    child = node.at(step)
    if child.kind == "absent" and not make:
        return node
    after = changed(child, rest, change, make=make)
    return node if after is child else node.put(step, after)

"""Kubernetes objects and the pods they make, as views on the YAML tree."""

from dataclasses import dataclass
from functools import cached_property

from bedside.policy.place import Place
from bedside.policy.yamltree import Node

POD_TEMPLATES: dict[str, tuple[str, ...]] = {
    "Pod": (),
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "PodTemplate": ("template",),
}
"""Where each kind keeps the pod it makes."""

SERVING_KINDS = ("Deployment", "StatefulSet")
"""Kinds whose pods answer requests for as long as there is somebody to ask."""


def place(node: Node) -> Place:
    """Where a node stands."""
    return Place(node.file, node.line, node.end)


@dataclass(frozen=True)
class KubeObject:
    """One object of the API, as it is applied.

    Attributes:
        tree: The kustomization that it is built by; empty for one that is applied as it stands.
        rivals: Other trees that share files with its own, of which one or the other is applied.
        partial: Whether something that is not seen here changes it.
    """

    node: Node
    tree: str = ""
    partial: bool = False
    rivals: frozenset[str] = frozenset()

    @cached_property
    def kind(self) -> str:
        """``Deployment``."""
        return self.node.at("kind").text

    @cached_property
    def group(self) -> str:
        """``apps`` of ``apps/v1``; empty for the core group."""
        return self.node.at("apiVersion").text.rpartition("/")[0]

    @cached_property
    def name(self) -> str:
        """``metadata.name``."""
        return self.node.at("metadata", "name").text

    @cached_property
    def namespace(self) -> str:
        """``metadata.namespace``; empty where neither it nor a kustomization names one."""
        return self.node.at("metadata", "namespace").text

    @property
    def title(self) -> str:
        """What a message calls it."""
        return f"{self.kind} {self.name or '(unnamed)'}"

    @cached_property
    def spec(self) -> Node:
        """``spec``."""
        return self.node.at("spec")

    @property
    def place(self) -> Place:
        """Its first line, which is where its kind or apiVersion stands."""
        return Place(self.node.file, self.node.line, self.node.line)

    @cached_property
    def labels(self) -> dict[str, str]:
        """Its own labels."""
        return self.node.at("metadata", "labels").strings()

    @property
    def annotations(self) -> Node:
        """Its own annotations."""
        return self.node.at("metadata", "annotations")

    @cached_property
    def pod(self) -> "Pod | None":
        """The pod that it makes, ``None`` for kinds that make none."""
        if self.kind not in POD_TEMPLATES or self.group not in ("", "apps", "batch", "extensions"):
            return None
        return Pod(self, self.node.at(*POD_TEMPLATES[self.kind]))

    @property
    def replicas(self) -> int:
        """How many pods it asks for; 1 where it says nothing, as the API server fills in."""
        number = self.spec.at("replicas").number
        return 1 if number is None else number


@dataclass(frozen=True)
class Pod:
    """A pod or pod template."""

    owner: KubeObject
    node: Node

    @cached_property
    def spec(self) -> Node:
        """``spec``."""
        return self.node.at("spec")

    @cached_property
    def labels(self) -> dict[str, str]:
        """The labels that its pods carry."""
        return self.node.at("metadata", "labels").strings()

    @property
    def annotations(self) -> Node:
        """The annotations that its pods carry."""
        return self.node.at("metadata", "annotations")

    @cached_property
    def containers(self) -> tuple["Container", ...]:
        """The containers that run beside each other, sidecars (init containers that restart) included."""
        main = [Container(self, node) for node in self.spec.at("containers").items()]
        return (*main, *(item for item in self.init_containers if item.node.at("restartPolicy").text == "Always"))

    @cached_property
    def init_containers(self) -> tuple["Container", ...]:
        """Everything in ``initContainers``."""
        return tuple(Container(self, node) for node in self.spec.at("initContainers").items())

    @cached_property
    def all_containers(self) -> tuple["Container", ...]:
        """Every container of any sort, each once."""
        lists = ("initContainers", "containers", "ephemeralContainers")
        return tuple(Container(self, node) for name in lists for node in self.spec.at(name).items())

    @property
    def windows(self) -> bool:
        """Whether it declares Windows, which frees it from the Linux-only controls."""
        return self.spec.at("os", "name").text == "windows"


@dataclass(frozen=True)
class Container:
    """One container."""

    pod: Pod
    node: Node

    @property
    def name(self) -> str:
        """Its name."""
        return self.node.at("name").text

    @property
    def title(self) -> str:
        """What a message calls it."""
        return f"container {self.name or '(unnamed)'} of {self.pod.owner.title}"

    @property
    def place(self) -> Place:
        """Its first line."""
        return Place(self.node.file, self.node.line, self.node.line)

    @property
    def security(self) -> Node:
        """Its own ``securityContext``."""
        return self.node.at("securityContext")

    def effective(self, *path: str) -> Node:
        """A setting that the container inherits from the pod where it does not set its own."""
        own = self.security.at(*path)
        return own if own else self.pod.spec.at("securityContext", *path)

    @property
    def image(self) -> str:
        """The image reference."""
        return self.node.at("image").text

    @cached_property
    def ports(self) -> dict[str, int]:
        """Declared ports, by name where they have one and by number always."""
        found: dict[str, int] = {}
        for port in self.node.at("ports").items():
            number = port.at("containerPort").number
            if number is not None:
                found[str(number)] = number
                if port.at("name"):
                    found[port.at("name").text] = number
        return found

    @cached_property
    def environment(self) -> dict[str, Node]:
        """Variables, each with its whole entry."""
        return {entry.at("name").text: entry for entry in self.node.at("env").items()}


def selects(selector: Node, labels: dict[str, str]) -> bool:
    """Whether a label selector (``matchLabels``, ``matchExpressions``) takes these labels."""
    wanted = selector.at("matchLabels").strings()
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_expression(item, labels) for item in selector.at("matchExpressions").items())


def _expression(item: Node, labels: dict[str, str]) -> bool:
    key = item.at("key").text
    values = {value.text for value in item.at("values").items()}
    match item.at("operator").text:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case _:
            return False


def seconds_of_sleep(command: tuple[str, ...]) -> int:
    """Seconds that a command sleeps, as ``sleep 10`` or in ``sh -c``; 0 for anything else."""
    words = " ".join(command).split()
    for position, word in enumerate(words[:-1]):
        if word.endswith("sleep") and words[position + 1].rstrip("s;").isdigit():
            return min(int(words[position + 1].rstrip("s;")), 86_400)
    return 0

"""The whole as one value: everything named on the command line, parsed, each fact with its file and line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from bedside.policy.applications import Application, Route
from bedside.policy.dockerfiles import Dockerfile
from bedside.policy.kubernetes import SERVING_KINDS, Container, KubeObject, Pod, selects
from bedside.policy.kustomize.kustomization import Kustomization
from bedside.policy.place import Hit
from bedside.policy.remarks import Remark
from bedside.policy.requirement_files import RequirementsFile
from bedside.policy.workflows import Workflow
from bedside.policy.yamltree import Node

PODLESS_GROUPS = (
    ".k8s.io",
    "external-secrets.io",
    "bitnami.com",
    "cert-manager.io",
    "istio.io",
    "linkerd.io",
    "coreos.com",
    "keda.sh",
    "kyverno.io",
)
"""Ends of the API groups whose kinds make no pods, operators' own kinds aside."""


@dataclass(frozen=True)
class Picture:
    """Everything that the rules may look at.

    Attributes:
        whole: Whether a directory or a rendered tree was given, so that what is not in it is missing.
        names: Every file that was seen, read or not.
        roots: Directories that were seen whole; empty for where the paths of the others begin.
        remarks: Load times that somebody wrote down, in seconds.
        unseen: Trees of which something was not seen: a remote base, a chart, a generator.
        problems: Problems of reading, by rule id.
    """

    whole: bool = True
    names: frozenset[str] = frozenset()
    roots: frozenset[str] = frozenset(("",))
    objects: tuple[KubeObject, ...] = ()
    kustomizations: tuple[Kustomization, ...] = ()
    unseen: frozenset[str] = frozenset()
    dockerfiles: tuple[Dockerfile, ...] = ()
    ignores: dict[str, tuple[str, ...]] = field(default_factory=dict)
    applications: tuple[Application, ...] = ()
    workflows: tuple[Workflow, ...] = ()
    requirements: tuple[RequirementsFile, ...] = ()
    specs: dict[str, dict[str, Any]] = field(default_factory=dict)
    contracts: dict[str, dict[str, Any]] = field(default_factory=dict)
    measurements: dict[str, dict[str, Any]] = field(default_factory=dict)
    remarks: tuple[Remark, ...] = ()
    problems: tuple[tuple[str, Hit], ...] = ()

    @cached_property
    def pods(self) -> tuple[Pod, ...]:
        """Every pod or pod template."""
        return tuple(item.pod for item in self.objects if item.pod is not None)

    @cached_property
    def _by_kind(self) -> dict[str, list[KubeObject]]:
        found: dict[str, list[KubeObject]] = {}
        for item in self.objects:
            found.setdefault(item.kind, []).append(item)
        return found

    def of(self, *kinds: str) -> tuple[KubeObject, ...]:
        """Objects of these kinds."""
        return tuple(item for kind in kinds for item in self._by_kind.get(kind, ()))

    def saw(self, path: str) -> bool:
        """Whether a file of this path would have been seen if it were there."""
        return self.whole and not path.startswith("..") and any(_below(path, root) for root in self.roots)

    def shows(self, item: KubeObject) -> bool:
        """Whether what an object refers to would be seen if it were there."""
        return self.whole and item.tree not in self.unseen

    def defines(self, kind: str, name: str, beside: KubeObject) -> bool:
        """Whether an object is defined beside another."""
        return self.find(kind, name, beside) is not None

    @cached_property
    def _by_name(self) -> dict[tuple[str, str], list[KubeObject]]:
        found: dict[tuple[str, str], list[KubeObject]] = {}
        for item in self.objects:
            found.setdefault((item.kind, item.name), []).append(item)
        return found

    def find(self, kind: str, name: str, beside: KubeObject) -> KubeObject | None:
        """The object of that name that is applied with another, in its namespace or in none."""
        return next((item for item in self._by_name.get((kind, name), ()) if together(item, beside)), None)

    @cached_property
    def _by_label(self) -> dict[tuple[str, str], list[Pod]]:
        found: dict[tuple[str, str], list[Pod]] = {}
        for pod in self.pods:
            for label in pod.labels.items():
                found.setdefault(label, []).append(pod)
        return found

    def selected(self, service: KubeObject) -> tuple[Pod, ...]:
        """The pods that a Service sends to."""
        wanted = service.spec.at("selector").strings()
        near = self._labelled(wanted) if wanted else ()
        return tuple(pod for pod in near if together(pod.owner, service) and wanted.items() <= pod.labels.items())

    def taken(self, item: KubeObject, selector: Node) -> tuple[Pod, ...]:
        """The pods that a label selector of ``item`` takes: all where it is empty, none where there is none."""
        if not selector and selector.kind != "map":
            return ()
        near = self._labelled(selector.at("matchLabels").strings())
        return tuple(pod for pod in near if together(pod.owner, item) and selects(selector, pod.labels))

    def _labelled(self, wanted: Mapping[str, str]) -> Sequence[Pod]:
        """Few pods, among which are all that carry these labels."""
        return min((self._by_label.get(label, ()) for label in wanted.items()), key=len, default=self.pods)

    @cached_property
    def grows(self) -> bool:
        """Whether something in the tree makes pods that the tree does not show: an operator and its own kinds."""
        return (
            bool(self.of("CustomResourceDefinition"))
            or any("." in item.group and not item.group.endswith(PODLESS_GROUPS) for item in self.objects)
            or bool(self.of("Prometheus", "Alertmanager", "ThanosRuler"))
        )

    @cached_property
    def entered(self) -> frozenset[int]:
        """Identities of the pods that an Ingress, a route or a LoadBalancer sends to."""
        names = {
            path.at("backend", "service", "name").text
            for item in self.of("Ingress")
            for rule in item.spec.at("rules").items()
            for path in rule.at("http", "paths").items()
        }
        names |= {
            backend.at("name").text
            for item in self.of("HTTPRoute", "GRPCRoute")
            for rule in item.spec.at("rules").items()
            for backend in rule.at("backendRefs").items()
        }
        entries = [one for one in self.of("Service") if one.name in names or one.spec.at("type").text == "LoadBalancer"]
        return frozenset(id(pod) for one in entries for pod in self.selected(one))

    @cached_property
    def serving(self) -> tuple[Pod, ...]:
        """Pods of replicated workloads that some Service sends to.

        Where the files hold no Service at all, a manifest was given alone: pods that open a port count then.
        """
        services = self.of("Service")
        replicated = [pod for pod in self.pods if pod.owner.kind in SERVING_KINDS]
        if not services:
            return tuple(pod for pod in replicated if any(container.ports for container in pod.containers))
        sending = [item for item in services if not only_metrics(item)]
        behind = {id(pod) for service in sending for pod in self.selected(service)}
        return tuple(pod for pod in replicated if id(pod) in behind)

    @cached_property
    def alone(self) -> tuple[Container, ...]:
        """The one container of each serving pod that has no other."""
        return tuple(pod.containers[0] for pod in self.serving if len(pod.containers) == 1)

    @cached_property
    def partial(self) -> bool:
        """Whether the files show only a part of some pod's labels."""
        return any(pod.owner.partial for pod in self.pods)

    @cached_property
    def podded(self) -> dict[str, frozenset[str]]:
        """Trees that make pods in each namespace."""
        found: dict[str, set[str]] = {}
        for pod in self.pods:
            found.setdefault(pod.owner.namespace, set()).add(pod.owner.tree)
        return {namespace: frozenset(trees) for namespace, trees in found.items()}

    @cached_property
    def _scaled(self) -> dict[tuple[str, str], list[KubeObject]]:
        found: dict[tuple[str, str], list[KubeObject]] = {}
        for item in self.of("HorizontalPodAutoscaler", "ScaledObject"):
            target = item.spec.at("scaleTargetRef")
            found.setdefault((target.at("kind").text or "Deployment", target.at("name").text), []).append(item)
        return found

    def autoscaler(self, workload: KubeObject) -> KubeObject | None:
        """The autoscaler that owns a workload's replicas."""
        for item in self._scaled.get((workload.kind, workload.name), ()):
            if together(item, workload):
                return item
        return None

    @cached_property
    def routes(self) -> tuple[Route, ...] | None:
        """Every route of every application; ``None`` where there is none, or not all can be told."""
        if not self.applications or not all(item.complete for item in self.applications):
            return None
        return tuple(route for item in self.applications for route in item.routes) or None


def only_metrics(service: KubeObject) -> bool:
    """Whether it is there to be scraped, not to be asked."""
    names = [port.at("name").text for port in service.spec.at("ports").items()]
    return bool(names) and all("metric" in name or "monitor" in name for name in names)


def applied_together(one: KubeObject, other: KubeObject) -> bool:
    """Whether two objects are applied at one time: not out of two overlays of one base."""
    return other.tree not in one.rivals


def together(one: KubeObject, other: KubeObject) -> bool:
    """Whether two objects are applied at one time and can be in one namespace; an unnamed one goes with any."""
    near = one.namespace == other.namespace or not one.namespace or not other.namespace
    return near and applied_together(one, other)


def _below(path: str, root: str) -> bool:
    return not root or f"{path}/".startswith(f"{root}/")

"""What roles and bindings let be done, by the serving pods and by everybody.

Source of the powers: https://kubernetes.io/docs/concepts/security/rbac-good-practices/ .
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bedside.policy.kubernetes import KubeObject, Pod, place
from bedside.policy.picture import Picture, applied_together
from bedside.policy.place import Hit, Place
from bedside.policy.rules.workloads import loads_model
from bedside.policy.yamltree import Node

_WRITE: Final = frozenset(("create", "update", "patch", "delete", "deletecollection"))
_START: Final = frozenset(("create", "update", "patch"))
_READ: Final = frozenset(("get", "list", "watch"))


@dataclass(frozen=True, slots=True)
class Power:
    """Something that a role may allow and no model needs.

    Attributes:
        named: Whether it is harmless on objects that the role names, as reading one Secret is.
    """

    says: str
    group: str
    resources: frozenset[str]
    verbs: frozenset[str]
    named: bool = False


def _power(says: str, group: str, resources: str, verbs: frozenset[str], *, named: bool = False) -> Power:
    return Power(says, group, frozenset(resources.split()), verbs, named)


_ROLES: Final = "rbac.authorization.k8s.io"

POWERS: Final = (
    _power("read every Secret", "", "secrets", _READ, named=True),
    _power("get into other pods", "", "pods/exec pods/attach pods/portforward", _START | {"get"}),
    _power("get into other pods", "", "pods/ephemeralcontainers", _START),
    _power("start pods", "", "pods replicationcontrollers", _START),
    _power("start pods", "apps", "deployments daemonsets statefulsets replicasets", _START),
    _power("start pods", "batch", "jobs cronjobs", _START),
    _power("give out rights", _ROLES, "roles clusterroles", _START | {"bind", "escalate"}),
    _power("give out rights", _ROLES, "rolebindings clusterrolebindings", _START),
    _power("act as others", "", "users groups serviceaccounts", frozenset(("impersonate",))),
    _power("make tokens for others", "", "serviceaccounts/token", frozenset(("create",)), named=True),
    _power("reach every pod of a node", "", "nodes/proxy", _READ | _WRITE),
    _power("mount what it likes", "", "persistentvolumes", frozenset(("create",))),
    _power(
        "change what the API server is told",
        "admissionregistration.k8s.io",
        "validatingwebhookconfigurations mutatingwebhookconfigurations",
        _WRITE,
    ),
    _power("sign certificates", "certificates.k8s.io", "certificatesigningrequests/approval", _START),
    _power("lead requests elsewhere", "", "services endpoints", _START),
    _power("lead requests elsewhere", "discovery.k8s.io", "endpointslices", _START),
    _power("lead requests elsewhere", "networking.k8s.io", "ingresses", _START),
    _power("open the network", "networking.k8s.io", "networkpolicies", _WRITE),
)


def wildcard_role(picture: Picture) -> Iterator[Hit]:
    """A role over everything, for an account that a workload here runs as."""
    for binding in _bound_to(picture, picture.serving):
        role = binding.node.at("roleRef", "name").text
        message = f"{binding.title} lets the serving pods do everything, as {role}"
        if role in ("cluster-admin", "admin"):
            yield Hit(_head(binding), message)
        for rule in filter(_everything, _rules(picture, binding)):
            yield Hit(place(rule), message)


def needless_powers(picture: Picture) -> Iterator[Hit]:
    """Whoever takes over the server may do what its account may: a model needs none of it."""
    models = [pod for pod in picture.serving if any(loads_model(picture, item) for item in pod.containers)]
    for binding in _bound_to(picture, models):
        rules = _rules(picture, binding)
        role = binding.node.at("roleRef", "name")
        if role.text == "edit" and not rules:
            yield Hit(_head(binding), f"{binding.title} lets the model read every Secret and start pods, as edit")
        for rule in rules if not any(map(_everything, rules)) else ():
            may = dict.fromkeys(power.says for power in POWERS if _gives(rule, power))
            if may:
                yield Hit(place(rule), f"{binding.title} lets the model {', '.join(may)}")


def _head(binding: KubeObject) -> Place:
    """From its name to its role."""
    name, role = binding.node.at("metadata"), binding.node.at("roleRef")
    if name.file != role.file:
        return place(role)
    return Place(role.file, min(name.line, role.line), max(name.end, role.end))


def _bound_to(picture: Picture, pods: Sequence[Pod]) -> Iterator[KubeObject]:
    """Bindings of the accounts that these pods run as."""
    accounts = {pod.spec.at("serviceAccountName").text for pod in pods} - {""}
    for binding in picture.of("RoleBinding", "ClusterRoleBinding"):
        subjects = binding.node.at("subjects").items()
        names = {item.at("name").text for item in subjects if item.at("kind").text == "ServiceAccount"}
        if names & accounts:
            yield binding


def _rules(picture: Picture, binding: KubeObject) -> list[Node]:
    """The rules of the role that it binds, where the tree holds that role."""
    name = binding.node.at("roleRef", "name").text
    return [
        rule
        for role in picture.of("Role", "ClusterRole")
        if role.name == name and applied_together(role, binding)
        for rule in role.node.at("rules").items()
    ]


def _everything(rule: Node) -> bool:
    """Whether it is over every group, resource and verb."""
    return all("*" in _texts(rule, field) for field in ("apiGroups", "resources", "verbs"))


def _gives(rule: Node, power: Power) -> bool:
    if power.named and rule.at("resourceNames").items():
        return False
    groups, resources, verbs = (_texts(rule, field) for field in ("apiGroups", "resources", "verbs"))
    return bool(groups & {power.group, "*"} and resources & (power.resources | {"*"}) and verbs & (power.verbs | {"*"}))


def _texts(rule: Node, field: str) -> set[str]:
    return {item.text for item in rule.at(field).items()}


_EVERYBODY: Final = {
    "system:anonymous": "callers without a name",
    "system:unauthenticated": "callers without a name",
    "system:masters": "a group that no policy holds back",
}
_EVERYBODY_WITH_A_NAME: Final = {
    "system:authenticated": "everybody who has a name",
    "system:serviceaccounts": "every pod of the cluster",
}


def open_bindings(picture: Picture) -> Iterator[Hit]:
    """What is given to a group of the API server's own is given to people and pods that nobody has counted."""
    for binding in picture.of("RoleBinding", "ClusterRoleBinding"):
        role = binding.node.at("roleRef", "name")
        told = _EVERYBODY if _only_shows(_rules(picture, binding)) else _EVERYBODY | _EVERYBODY_WITH_A_NAME
        for subject in binding.node.at("subjects").items():
            who = told.get(subject.at("name").text)
            if who and subject.at("kind").text in ("User", "Group"):
                yield Hit(_head(binding), f"{binding.title} gives {role.text} to {who}")


def _only_shows(rules: list[Node]) -> bool:
    """Whether the tree holds the role, and it shows things that nobody keeps from his colleagues."""
    return bool(rules) and all(
        _texts(rule, "verbs") <= _READ and not any(_gives(rule, power) for power in POWERS) for rule in rules
    )

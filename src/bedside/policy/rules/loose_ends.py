"""Things that are there and lead nowhere: what nothing mounts, reads or reaches, and objects without a home."""

import posixpath
from collections import Counter
from collections.abc import Iterator

from bedside.policy.kubernetes import Container, KubeObject, Pod, place, selects
from bedside.policy.kustomize.kustomization import FILES
from bedside.policy.picture import Picture, together
from bedside.policy.place import Hit
from bedside.policy.rules.references import config_references
from bedside.policy.yamltree import Node


def unmounted_volumes(picture: Picture) -> Iterator[Hit]:
    """A volume that no container mounts: what was to be kept, or read, there is kept nowhere."""
    for pod in picture.pods:
        mounted = {
            entry.at("name").text
            for container in pod.all_containers
            for field in ("volumeMounts", "volumeDevices")
            for entry in container.node.at(field).items()
        }
        had = {volume.at("name").text for volume in pod.spec.at("volumes").items()}
        had |= {item.at("metadata", "name").text for item in pod.owner.spec.at("volumeClaimTemplates").items()}
        for volume in pod.spec.at("volumes").items() if mounted <= had else ():  # else one name is misspelt
            name = volume.at("name").text
            if name and name not in mounted:
                yield Hit(place(volume), f"no container of {pod.owner.title} mounts its volume {name}")


def unused(picture: Picture) -> Iterator[Hit]:
    """An object that is made for a pod and that no pod uses: the pod runs with something else, or with nothing."""
    if picture.grows or not picture.serving:
        return
    for tree in {item.tree for item in picture.objects if picture.shows(item)} - {""}:
        mine = [item for item in picture.objects if item.tree in ("", tree)]
        if not any(_dangles(picture, item.pod) for item in mine if item.pod is not None):
            yield from _unused(picture, tree, mine)  # else one name is spelt in two ways, a finding of its own


def _unused(picture: Picture, tree: str, mine: list[KubeObject]) -> Iterator[Hit]:
    said = Counter(node.text for item in mine for node in item.node.walk() if node.kind == "scalar")
    for item in mine:
        if item.tree != tree or item.kind not in ("ServiceAccount", "ConfigMap", "PersistentVolumeClaim"):
            continue
        found = item.labels or item.annotations.pairs()  # sidecars find their objects by label
        once = said[item.name] == 1 and not any(item.name in text for text in said if text != item.name)
        shared = item.kind == "ServiceAccount" and any(together(pod.owner, item) for pod in picture.serving)
        if found and not shared:
            continue
        if once or (shared and not _runs_as(picture, item) and _namesake(picture, item)):
            yield Hit(item.place, f"nothing here uses {item.title}")


def _dangles(picture: Picture, pod: Pod) -> bool:
    account = pod.spec.at("serviceAccountName").text
    claims = [volume.at("persistentVolumeClaim", "claimName").text for volume in pod.spec.at("volumes").items()]
    asked = [("ServiceAccount", account), *(("PersistentVolumeClaim", claim) for claim in claims)]
    asked += [
        ("ConfigMap", node.text) for node in config_references(pod, "configMap", "configMapKeyRef", "configMapRef")
    ]
    return any(name and not picture.defines(kind, name, pod.owner) for kind, name in asked)


def _runs_as(picture: Picture, account: KubeObject) -> bool:
    return any(pod.spec.at("serviceAccountName").text == account.name for pod in picture.pods) or any(
        subject.at("kind").text == "ServiceAccount" and subject.at("name").text == account.name
        for binding in picture.of("RoleBinding", "ClusterRoleBinding")
        for subject in binding.node.at("subjects").items()
    )


def _namesake(picture: Picture, account: KubeObject) -> bool:
    """Whether a workload has its name, and so was to run as it."""
    return any(pod.owner.name == account.name for pod in picture.serving)


def homeless(picture: Picture) -> Iterator[Hit]:
    """A tree with a Namespace whose pods name none: they go wherever the shell of the day points."""
    for namespace in picture.of("Namespace"):
        for pod in picture.serving:
            if namespace.tree and namespace.tree == pod.owner.tree and not pod.owner.namespace:
                yield Hit(pod.owner.place, f"{pod.owner.title} is not put into {namespace.title}")


def closed_to_entry(picture: Picture) -> Iterator[Hit]:
    """Every way in is denied and none is opened: what the entry point sends never arrives."""
    for pod in picture.serving:
        governing = [
            item
            for item in picture.of("NetworkPolicy")
            if together(item, pod.owner)
            and selects(item.spec.at("podSelector"), pod.labels)
            and ("Ingress" in _directions(item))
        ]
        near = [item for item in picture.of("NetworkPolicy") if together(item, pod.owner)]
        aimed = [item for item in near if any(selects(item.spec.at("podSelector"), one.labels) for one in picture.pods)]
        rules = [rule for item in governing for rule in item.spec.at("ingress").items()]
        opened = any(_lets_in(picture, rule, pod) for rule in rules) or len(aimed) < len(near)
        if id(pod) in picture.entered and governing and not opened and not picture.of("CiliumNetworkPolicy"):
            where = governing[0]
            yield Hit(where.place, f"{where.title} keeps out what the entry point sends to {pod.owner.title}")


def _lets_in(picture: Picture, rule: Node, pod: Pod) -> bool:
    """Whether a rule opens a port that the pod has: a policy means the pod's port, never that of its Service."""
    asked = rule.at("ports").items()
    there = {port for container in pod.containers for port in container.ports}
    for service in picture.of("Service"):
        if any(one is pod for one in picture.selected(service)):
            there |= {(port.at("targetPort") or port.at("port")).text for port in service.spec.at("ports").items()}
    return not asked or any(not one.at("port") or one.at("endPort") or one.at("port").text in there for one in asked)


def _directions(policy: KubeObject) -> set[str]:
    return {item.text for item in policy.spec.at("policyTypes").items()} or {"Ingress"}


def unwritable_volume(picture: Picture) -> Iterator[Hit]:
    """A claim belongs to root until fsGroup says otherwise: a user that is not root cannot write to it."""
    for pod in picture.pods:
        grouped = pod.spec.at("securityContext", "fsGroup") or pod.spec.at("securityContext", "supplementalGroups")
        if grouped or any(_is_root(container) for container in pod.init_containers):
            continue
        kept = {
            volume.at("name").text
            for volume in pod.spec.at("volumes").items()
            if volume.at("persistentVolumeClaim") or volume.at("ephemeral")
        }
        kept |= {item.at("metadata", "name").text for item in pod.owner.spec.at("volumeClaimTemplates").items()}
        for container in pod.containers:
            for mount in container.node.at("volumeMounts").items():
                writes = mount.at("name").text in kept and not mount.at("readOnly").true
                if writes and _is_nobody(container):
                    yield Hit(
                        place(mount), f"{container.title} cannot write to {mount.at('mountPath').text}: no fsGroup"
                    )


def _is_root(container: Container) -> bool:
    return container.effective("runAsUser").number in (None, 0)


def _is_nobody(container: Container) -> bool:
    number = container.effective("runAsUser").number
    return number not in (None, 0) or (number is None and container.effective("runAsNonRoot").true)


def empty_variables(picture: Picture) -> Iterator[Hit]:
    """A variable that is only named is empty: the code gets no value, and no error."""
    for pod in picture.pods:
        for container in pod.all_containers:
            for entry in container.node.at("env").items():
                if [key for key, _ in entry.pairs()] == ["name"]:
                    yield Hit(place(entry), f"{entry.at('name').text} of {container.title} has no value")


def missing_files(picture: Picture) -> Iterator[Hit]:
    """A kustomization that names a file that is not there builds nothing at all."""
    if not picture.whole:
        return
    directories = {posixpath.dirname(name) for name in picture.names if posixpath.basename(name) in FILES}
    for one in picture.kustomizations:
        for entry, path in one.needs:
            if path not in picture.names and path not in directories:
                below = any(name.startswith(path + "/") for name in picture.names)
                lack = "has no kustomization" if below else "is not there"
                yield Hit(place(entry), f"{one.node.file} lists {path}, which {lack}")

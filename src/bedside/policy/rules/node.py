"""What a pod shares with its node and its neighbours there: cores, users and groups, ports, names."""

from collections.abc import Iterator
from typing import Final

from bedside.policy.kubernetes import Container, place
from bedside.policy.picture import Picture
from bedside.policy.place import Hit, Place
from bedside.policy.rules.workloads import loads_model

LAST_OF_THE_NODE: Final = 10_000
"""Users and groups up to here may be the node's own, as trivy draws the line (KSV-0020, KSV-0021)."""

FIRST_FREE_PORT: Final = 1024
"""Below it, Linux lets root listen, and whom ``net.ipv4.ip_unprivileged_port_start`` lets."""

_THREADS: Final = frozenset(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_THREAD_LIMIT"))


def every_core(picture: Picture) -> Iterator[Hit]:
    """Without a limit or a number of threads, a prediction takes as long as the node's cores and neighbours let it."""
    for container in _models(picture):
        limits = container.node.at("resources", "limits")
        accelerated = any(key.endswith("/gpu") for key, _ in limits.pairs())
        told = _THREADS & container.environment.keys() or container.node.at("envFrom")
        if not (limits.at("cpu") or told or accelerated):
            yield Hit(container.place, f"{container.title} has no CPU limit and no number of threads")


def low_ids(picture: Picture) -> Iterator[Hit]:
    """A process that breaks out of its container has, on the node, the rights of whoever has its number there."""
    for container in _models(picture):
        for name, word in (("runAsUser", "user"), ("runAsGroup", "group")):
            number = container.effective(name).number
            if number is not None and 0 < number <= LAST_OF_THE_NODE:
                yield Hit(
                    _where(container, name), f"{container.title} runs as {word} {number}, which the node may have, too"
                )


def root_group(picture: Picture) -> Iterator[Hit]:
    """Images leave files writable to group 0: a process of that group may change what was verified."""
    for container in _models(picture):
        if container.effective("runAsGroup").number == 0:
            yield Hit(_where(container, "runAsGroup"), f"{container.title} runs as group 0, which is root's")
    for pod in (pod for pod in picture.serving if any(loads_model(picture, one) for one in pod.containers)):
        context = pod.spec.at("securityContext")
        for node in (context.at("fsGroup"), *context.at("supplementalGroups").items()):
            if node.number == 0:
                yield Hit(place(node), f"{pod.owner.title} is in group 0, which is root's")


def _models(picture: Picture) -> Iterator[Container]:
    """Containers that serve a model: images of others, of a database or a proxy, have the users that they have."""
    for pod in picture.serving:
        yield from (container for container in pod.containers if loads_model(picture, container))


def _where(container: Container, name: str) -> Place:
    """Where a container sets something; its first line where it inherits that from the pod."""
    own = container.security.at(name)
    return place(own) if own else container.place


def low_ports(picture: Picture) -> Iterator[Hit]:
    """Not root, and no right to it: whether the server can listen there depends on the node's container runtime."""
    for pod in picture.serving:
        sysctls = {item.at("name").text for item in pod.spec.at("securityContext", "sysctls").items()}
        if pod.windows or "net.ipv4.ip_unprivileged_port_start" in sysctls:
            continue
        for container in pod.containers:
            for port in container.node.at("ports").items() if _may_not_listen_low(container) else ():
                node = port.at("containerPort")
                if node.number is not None and 0 < node.number < FIRST_FREE_PORT:
                    yield Hit(place(node), f"{container.title} listens on port {node.number} without being root")


def _may_not_listen_low(container: Container) -> bool:
    added = {item.text for item in container.security.at("capabilities", "add").items()}
    user = container.effective("runAsUser").number
    somebody = user > 0 if user is not None else container.effective("runAsNonRoot").true
    return somebody and not added & {"NET_BIND_SERVICE", "ALL"}


def host_aliases(picture: Picture) -> Iterator[Hit]:
    """An address that is written down goes stale: the model then asks, or tells, whoever has it now."""
    for pod in picture.serving:
        for alias in pod.spec.at("hostAliases").items():
            names = ", ".join(name.text for name in alias.at("hostnames").items())
            yield Hit(place(alias), f"{pod.owner.title} has the address of {names or 'a host'} written down")

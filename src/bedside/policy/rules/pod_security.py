"""The Pod Security Standards, level restricted, control by control, as Kubernetes 1.37 judges them.

Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/ . Every control looks at pod templates,
not only at pods: a Deployment that breaks one is accepted by the API server and then never starts a pod.
"""

from collections.abc import Iterator

from bedside.policy.kubernetes import Pod, place
from bedside.policy.picture import Picture
from bedside.policy.place import Hit
from bedside.policy.yamltree import Node

_SYSCTLS = frozenset(
    (
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_notsent_lowat",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_slow_start_after_idle",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    )
)
_VOLUMES = frozenset(
    (
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    )
)
_SELINUX_TYPES = ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")
_HANDLERS = (
    ("livenessProbe",),
    ("readinessProbe",),
    ("startupProbe",),
    ("lifecycle", "postStart"),
    ("lifecycle", "preStop"),
)


def _contexts(pod: Pod) -> Iterator[tuple[str, Node]]:
    yield pod.owner.title, pod.spec.at("securityContext")
    for container in pod.all_containers:
        yield container.title, container.security


def host_process(picture: Picture) -> Iterator[Hit]:
    """A Windows HostProcess container is a process of the node."""
    for pod in picture.pods:
        for title, context in _contexts(pod):
            node = context.at("windowsOptions", "hostProcess")
            if node.true:
                yield Hit(place(node), f"{title} runs as a HostProcess on the node")


def host_namespaces(picture: Picture) -> Iterator[Hit]:
    """Host network, process and IPC namespaces."""
    for pod in picture.pods:
        for name in ("hostNetwork", "hostPID", "hostIPC"):
            node = pod.spec.at(name)
            if node.true:
                yield Hit(place(node), f"{pod.owner.title} sets {name}: true")


def privileged(picture: Picture) -> Iterator[Hit]:
    """A privileged container is root on the node."""
    for pod in picture.pods:
        for container in pod.all_containers:
            node = container.security.at("privileged")
            if node.true:
                yield Hit(place(node), f"{container.title} is privileged")


def capabilities(picture: Picture) -> Iterator[Hit]:
    """All capabilities dropped, and none but NET_BIND_SERVICE added back."""
    for pod in picture.pods:
        if pod.windows:
            continue
        for container in pod.all_containers:
            held = container.security.at("capabilities")
            added = [item.text for item in held.at("add").items() if item.text != "NET_BIND_SERVICE"]
            if added:
                yield Hit(place(held.at("add")), f"{container.title} adds the capabilities {', '.join(added)}")
            if not any(item.text == "ALL" for item in held.at("drop").items()):
                yield Hit(place(held) if held else container.place, f"{container.title} does not drop ALL capabilities")


def volume_types(picture: Picture) -> Iterator[Hit]:
    """Volumes that cannot reach around the namespace; hostPath is a rule of its own."""
    for pod in picture.pods:
        for volume in pod.spec.at("volumes").items():
            kinds = {key for key, node in volume.pairs() if node} - {"name"}
            if kinds and not kinds & _VOLUMES and "hostPath" not in kinds:  # one of no type becomes an emptyDir
                yield Hit(place(volume), f"{pod.owner.title} mounts a volume of type {', '.join(sorted(kinds))}")


def host_path(picture: Picture) -> Iterator[Hit]:
    """A directory of the node inside the container."""
    for pod in picture.pods:
        for volume in pod.spec.at("volumes").items():
            if volume.at("hostPath"):
                where = volume.at("hostPath", "path").text
                yield Hit(place(volume), f"{pod.owner.title} mounts {where or 'a path'} of the node")


def host_ports(picture: Picture) -> Iterator[Hit]:
    """A port of the node."""
    for pod in picture.pods:
        for container in pod.all_containers:
            for port in container.node.at("ports").items():
                if port.at("hostPort").number:
                    yield Hit(
                        place(port.at("hostPort")),
                        f"{container.title} takes port {port.at('hostPort').text} of the node",
                    )


def host_probes(picture: Picture) -> Iterator[Hit]:
    """Probes and hooks that the kubelet sends to a host of the manifest's choice."""
    for pod in picture.pods:
        for container in pod.all_containers:
            for path in _HANDLERS:
                for verb in ("httpGet", "tcpSocket"):
                    node = container.node.at(*path, verb, "host")
                    if node.text:
                        yield Hit(place(node), f"{container.title} has the kubelet call the host {node.text}")


def app_armor(picture: Picture) -> Iterator[Hit]:
    """AppArmor not switched off."""
    for pod in picture.pods:
        for title, context in _contexts(pod):
            profile = context.at("appArmorProfile")
            if profile and profile.at("type").text not in ("RuntimeDefault", "Localhost"):
                yield Hit(place(profile), f"{title} sets the AppArmor profile {profile.at('type').text or '(none)'}")
        for key, node in pod.annotations.pairs():
            if key.startswith("container.apparmor.security.beta.kubernetes.io/") and not (
                node.text in ("", "runtime/default") or node.text.startswith("localhost/")
            ):
                yield Hit(place(node), f"{pod.owner.title} sets the AppArmor profile {node.text} by annotation")


def selinux(picture: Picture) -> Iterator[Hit]:
    """No SELinux user or role, and only the container types."""
    for pod in picture.pods:
        for title, context in _contexts(pod):
            options = context.at("seLinuxOptions")
            if options.at("type").text not in _SELINUX_TYPES or options.at("user").text or options.at("role").text:
                yield Hit(place(options), f"{title} chooses its own SELinux user, role or type")


def proc_mount(picture: Picture) -> Iterator[Hit]:
    """The masked /proc."""
    for pod in picture.pods:
        for container in pod.all_containers:
            node = container.security.at("procMount")
            if node.text not in ("", "Default"):
                yield Hit(place(node), f"{container.title} mounts /proc {node.text}")


def sysctls(picture: Picture) -> Iterator[Hit]:
    """Only the sysctls that stay inside the pod."""
    for pod in picture.pods:
        for item in pod.spec.at("securityContext", "sysctls").items():
            if item.at("name").text not in _SYSCTLS:
                yield Hit(place(item), f"{pod.owner.title} sets the sysctl {item.at('name').text}")


def privilege_escalation(picture: Picture) -> Iterator[Hit]:
    """``allowPrivilegeEscalation: false`` on every container."""
    for pod in picture.pods:
        if pod.windows:
            continue
        for container in pod.all_containers:
            node = container.security.at("allowPrivilegeEscalation")
            if not node.false:
                where = place(node) if node else container.place
                yield Hit(where, f"{container.title} does not set allowPrivilegeEscalation: false")


def run_as_non_root(picture: Picture) -> Iterator[Hit]:
    """``runAsNonRoot: true`` on the pod or on every container, and false nowhere."""
    for pod in picture.pods:
        if _user_namespace(pod):
            continue
        own = pod.spec.at("securityContext", "runAsNonRoot")
        if own.false:
            yield Hit(place(own), f"{pod.owner.title} sets runAsNonRoot: false")
        for container in pod.all_containers:
            node = container.security.at("runAsNonRoot")
            if node.false or (not node and not own.true and not own.false):
                where = place(node) if node else container.place
                yield Hit(where, f"{container.title} may run as root: runAsNonRoot is not true")


def run_as_user(picture: Picture) -> Iterator[Hit]:
    """No user 0, written out."""
    for pod in picture.pods:
        if _user_namespace(pod):
            continue
        for title, context in _contexts(pod):
            node = context.at("runAsUser")
            if node.number == 0:
                yield Hit(place(node), f"{title} runs as user 0")


def seccomp(picture: Picture) -> Iterator[Hit]:
    """RuntimeDefault or Localhost on the pod or on every container, and Unconfined nowhere."""
    for pod in picture.pods:
        if pod.windows:
            continue
        own = pod.spec.at("securityContext", "seccompProfile")
        if own and not _confined(own):
            yield Hit(place(own), f"{pod.owner.title} sets the seccomp profile {own.at('type').text or '(none)'}")
        for container in pod.all_containers:
            node = container.security.at("seccompProfile")
            if (node and not _confined(node)) or (not node and not own):
                where = place(node) if node else container.place
                yield Hit(where, f"{container.title} runs without a seccomp profile")


def _confined(profile: Node) -> bool:
    return profile.at("type").text in ("RuntimeDefault", "Localhost")


def _user_namespace(pod: Pod) -> bool:
    """Whether root inside is not root outside (KEP-127), which frees from the user controls since 1.35."""
    return pod.spec.at("hostUsers").false

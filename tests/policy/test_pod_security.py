"""Pod Security restricted, both ways: every control, in every place where a pod can stand."""

import json

import pytest

from bedside.policy import drawing, rulebook
from bedside.policy.kubernetes import POD_TEMPLATES
from bedside.policy.place import SourceFile

CONTROLS = {name: check for name, check in rulebook.CHECKS.items() if name.startswith("BED-POD-")}
SAFE = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
POD = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
API = {"Pod": "v1", "PodTemplate": "v1", "ReplicationController": "v1", "Job": "batch/v1", "CronJob": "batch/v1"}

# What breaks a control: rule, container's securityContext, pod's securityContext, pod's spec, container's own keys.
BREAKS = [
    ("BED-POD-001", {"windowsOptions": {"hostProcess": True}}, {}, {}, {}),
    ("BED-POD-001", {}, {"windowsOptions": {"hostProcess": True}}, {}, {}),
    ("BED-POD-002", {}, {}, {"hostNetwork": True}, {}),
    ("BED-POD-002", {}, {}, {"hostPID": True}, {}),
    ("BED-POD-002", {}, {}, {"hostIPC": True}, {}),
    ("BED-POD-003", {"privileged": True}, {}, {}, {}),
    ("BED-POD-004", {"capabilities": {"drop": ["ALL"], "add": ["CHOWN"]}}, {}, {}, {}),
    ("BED-POD-004", {"capabilities": {"drop": ["all"]}}, {}, {}, {}),
    ("BED-POD-004", {"capabilities": None}, {}, {}, {}),
    *(
        ("BED-POD-005", {}, {}, {"volumes": [{"name": "v", kind: {}}]}, {})
        for kind in (
            *("gcePersistentDisk", "awsElasticBlockStore", "gitRepo", "nfs", "iscsi", "glusterfs", "rbd", "flexVolume"),
            *("cinder", "cephfs", "flocker", "fc", "azureFile", "vsphereVolume", "quobyte", "azureDisk"),
            *("photonPersistentDisk", "portworxVolume", "scaleIO", "storageos"),
        )
    ),
    ("BED-POD-006", {}, {}, {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, {}),
    ("BED-POD-007", {}, {}, {}, {"ports": [{"containerPort": 80, "hostPort": 80}]}),
    *(
        ("BED-POD-008", {}, {}, {}, {probe: {"httpGet": {"port": 80, "host": "10.0.0.1"}}})
        for probe in ("livenessProbe", "readinessProbe", "startupProbe")
    ),
    *(
        ("BED-POD-008", {}, {}, {}, {probe: {"tcpSocket": {"port": 80, "host": "127.0.0.1"}}})
        for probe in ("livenessProbe", "readinessProbe", "startupProbe")
    ),
    *(
        ("BED-POD-008", {}, {}, {}, {"lifecycle": {hook: {verb: {"port": 80, "host": "10.0.0.1"}}}})
        for hook in ("postStart", "preStop")
        for verb in ("httpGet", "tcpSocket")
    ),
    ("BED-POD-009", {"appArmorProfile": {}}, {}, {}, {}),
    ("BED-POD-010", {"seLinuxOptions": {"user": "system_u"}}, {}, {}, {}),
    ("BED-POD-010", {"seLinuxOptions": {"role": "system_r"}}, {}, {}, {}),
    ("BED-POD-010", {}, {"seLinuxOptions": {"type": "unconfined_t"}}, {}, {}),
    ("BED-POD-011", {"procMount": "Unmasked"}, {}, {"hostUsers": False}, {}),
    ("BED-POD-012", {}, {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}, {}, {}),
    ("BED-POD-012", {}, {"sysctls": [{"name": "net.ipv4.tcp_rmem.x", "value": "1"}]}, {}, {}),
    ("BED-POD-016", {"seccompProfile": {}}, {}, {}, {}),
    ("BED-POD-016", {}, {"seccompProfile": {}}, {}, {}),
    ("BED-POD-009", {"appArmorProfile": {"type": "Unconfined"}}, {}, {}, {}),
    ("BED-POD-009", {}, {"appArmorProfile": {"type": "Unconfined"}}, {}, {}),
    ("BED-POD-010", {"seLinuxOptions": {"type": "spc_t"}}, {}, {}, {}),
    ("BED-POD-010", {}, {"seLinuxOptions": {"user": "system_u"}}, {}, {}),
    ("BED-POD-010", {}, {"seLinuxOptions": {"role": "system_r"}}, {}, {}),
    ("BED-POD-011", {"procMount": "Unmasked"}, {}, {}, {}),
    ("BED-POD-012", {}, {"sysctls": [{"name": "net.core.somaxconn", "value": "1"}]}, {}, {}),
    ("BED-POD-013", {"allowPrivilegeEscalation": True}, {}, {}, {}),
    ("BED-POD-013", {"allowPrivilegeEscalation": None}, {}, {}, {}),
    ("BED-POD-014", {}, {"runAsNonRoot": None}, {}, {}),
    ("BED-POD-014", {}, {"runAsNonRoot": False}, {}, {}),
    ("BED-POD-014", {"runAsNonRoot": False}, {}, {}, {}),
    ("BED-POD-015", {"runAsUser": 0}, {}, {}, {}),
    ("BED-POD-015", {}, {"runAsUser": 0}, {}, {}),
    ("BED-POD-016", {}, {"seccompProfile": None}, {}, {}),
    ("BED-POD-016", {}, {"seccompProfile": {"type": "Unconfined"}}, {}, {}),
    ("BED-POD-016", {"seccompProfile": {"type": "Unconfined"}}, {}, {}, {}),
]

# What a strict reader could take for a breach, and the standard allows.
ALLOWED = [
    ({"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}, {}, {}, {}),
    ({"seccompProfile": {"type": "Localhost", "localhostProfile": "x"}}, {"seccompProfile": None}, {}, {}),
    ({"runAsNonRoot": True}, {"runAsNonRoot": None}, {}, {}),
    ({"appArmorProfile": {"type": "Localhost", "localhostProfile": "x"}}, {}, {}, {}),
    ({"seLinuxOptions": {"type": "container_engine_t", "level": "s0"}}, {}, {}, {}),
    ({"procMount": "Default", "privileged": False}, {}, {}, {}),
    ({"runAsUser": 0}, {"runAsNonRoot": None}, {"hostUsers": False}, {}),
    (
        {"allowPrivilegeEscalation": None, "capabilities": None},
        {"seccompProfile": None},
        {"os": {"name": "windows"}},
        {},
    ),
    *(
        ({}, {"sysctls": [{"name": name, "value": "1"}]}, {}, {})
        for name in (
            *("kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start"),
            *("net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports"),
            *("net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl"),
            *("net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"),
            *("net.ipv4.tcp_slow_start_after_idle", "net.ipv4.tcp_notsent_lowat"),
        )
    ),
    ({"appArmorProfile": {"type": "RuntimeDefault"}}, {"appArmorProfile": {"type": "RuntimeDefault"}}, {}, {}),
    *(
        ({"seLinuxOptions": {"type": name}}, {}, {}, {})
        for name in ("container_t", "container_init_t", "container_kvm_t", "container_engine_t")
    ),
    ({"windowsOptions": {"hostProcess": False}}, {}, {}, {}),
    ({"runAsUser": 1}, {"runAsUser": 2}, {}, {}),
    ({}, {}, {}, {"livenessProbe": {"httpGet": {"port": 80, "host": ""}}}),
    ({}, {}, {}, {"livenessProbe": {"grpc": {"port": 80}}, "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}),
    ({"runAsNonRoot": False}, {}, {"hostUsers": False}, {}),
    ({}, {}, {"volumes": [{"name": "v", "hostPath": None}]}, {}),
    (
        {},
        {},
        {"hostNetwork": False, "hostPID": False, "hostIPC": False},
        {"ports": [{"containerPort": 80, "hostPort": 0}]},
    ),
    *(
        ({}, {}, {"volumes": [{"name": "v", kind: {}}]}, {})
        for kind in (
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
    ),
    ({}, {}, {"volumes": [{"name": "v"}]}, {}),
]


def _without_none(value: dict[str, object]) -> dict[str, object]:
    return {key: item for key, item in value.items() if item is not None}


def _verdict(kind: str, where: str, container: dict, pod: dict, spec: dict, own: dict) -> set[str]:
    tested = {"name": "tested", "securityContext": _without_none(SAFE | container), **own}
    spec = {
        "securityContext": _without_none(POD | pod),
        "containers": [{"name": "main", "securityContext": SAFE}],
        **spec,
    }
    if "seccompProfile" in pod or "runAsNonRoot" in pod:
        spec["containers"] = []
    spec[where] = [*spec.get(where, []), tested]
    document = _document(kind, {"spec": spec})
    seen = drawing.draw([SourceFile("x.yaml", json.dumps(document).encode())])
    return {name for name, check in CONTROLS.items() for _ in check(seen)}


LISTS = ("containers", "initContainers", "ephemeralContainers")


def _everywhere(verdict: set[str]) -> dict[str, set[str]]:
    return dict.fromkeys(POD_TEMPLATES, verdict)


@pytest.mark.parametrize("where", LISTS)
@pytest.mark.parametrize(("rule", "container", "pod", "spec", "own"), BREAKS)
def test_a_broken_control_is_the_only_finding(
    where: str, rule: str, container: dict, pod: dict, spec: dict, own: dict
) -> None:
    assert {kind: _verdict(kind, where, container, pod, spec, own) for kind in POD_TEMPLATES} == _everywhere({rule})


@pytest.mark.parametrize("where", LISTS)
@pytest.mark.parametrize(("container", "pod", "spec", "own"), ALLOWED)
def test_what_the_standard_allows_is_no_finding(where: str, container: dict, pod: dict, spec: dict, own: dict) -> None:
    assert {kind: _verdict(kind, where, container, pod, spec, own) for kind in POD_TEMPLATES} == _everywhere(set())


# AppArmor by annotation, on the template: the value, and whether the standard takes it.
ANNOTATED = [
    ("unconfined", False),
    ("runtime/default", True),
    ("localhost/hospital", True),
    ("", True),
    ("docker-default", False),
]


@pytest.mark.parametrize("kind", POD_TEMPLATES)
@pytest.mark.parametrize(("value", "allowed"), ANNOTATED)
def test_app_armor_by_annotation_is_judged_on_the_template(kind: str, value: str, allowed: bool) -> None:
    key = "container.apparmor.security.beta.kubernetes.io/main"
    document = _document(kind, {"metadata": {"annotations": {key: value}}, "spec": {"containers": []}})
    seen = drawing.draw([SourceFile("x.yaml", json.dumps(document).encode())])
    assert {name for name, check in CONTROLS.items() for _ in check(seen)} == (set() if allowed else {"BED-POD-009"})


def _document(kind: str, template: dict) -> dict:
    for step in reversed(POD_TEMPLATES[kind]):
        template = {step: template}
    name = {"metadata": {"name": "x"} | template.get("metadata", {})}
    return {"apiVersion": API.get(kind, "apps/v1"), "kind": kind} | template | name

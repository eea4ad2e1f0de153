"""The pod: one container, restricted, with every time and size computed from the release."""

from collections.abc import Iterator, Mapping
from typing import Final

from msgspec.structs import replace

from bedside.kube.objects import LabelSelector, Part
from bedside.kube.plan import ADMIN_PORT, PORT, USER, Plan
from bedside.kube.reasons import Number
from bedside.kube.resources import claim, config_map, fetching, secrets
from bedside_runtime.environment import THREAD_VARIABLES

_SCRATCH: Final = "64Mi"
_RELEASE_KEY: Final = "release-key"
_RELEASE_KEY_FOLDER: Final = "/etc/bedside/release-key"
_GPU: Final = "nvidia.com/gpu"


class FieldRef(Part, frozen=True, kw_only=True):
    """A field of the pod."""

    field_path: str


class EnvVarSource(Part, frozen=True, kw_only=True):
    """Where a variable comes from."""

    field_ref: FieldRef


class EnvVar(Part, frozen=True, kw_only=True):
    """A variable; never a secret."""

    name: str
    value: str | None = None
    value_from: EnvVarSource | None = None


class ContainerPort(Part, frozen=True, kw_only=True):
    """A port by name."""

    name: str
    container_port: int
    protocol: str = "TCP"


class HTTPGetAction(Part, frozen=True, kw_only=True):
    """What the kubelet asks."""

    path: str
    port: str


class Probe(Part, frozen=True, kw_only=True):
    """How often it asks, and how patient it is."""

    http_get: HTTPGetAction
    period_seconds: int
    timeout_seconds: int
    failure_threshold: int


class SleepAction(Part, frozen=True, kw_only=True):
    """The kubelet waits; the image needs no shell for it."""

    seconds: int


class LifecycleHandler(Part, frozen=True, kw_only=True):
    """What happens before SIGTERM."""

    sleep: SleepAction


class Lifecycle(Part, frozen=True, kw_only=True):
    """Hooks of the container."""

    pre_stop: LifecycleHandler


class ResourceRequirements(Part, frozen=True, kw_only=True):
    """What the container gets, and what it may use."""

    requests: Mapping[str, str]
    limits: Mapping[str, str]


class Capabilities(Part, frozen=True, kw_only=True):
    """Linux capabilities."""

    drop: tuple[str, ...]


class SeccompProfile(Part, frozen=True, kw_only=True):
    """System calls."""

    type: str


class SecurityContext(Part, frozen=True, kw_only=True):
    """What the container may do."""

    allow_privilege_escalation: bool
    capabilities: Capabilities
    privileged: bool
    read_only_root_filesystem: bool
    run_as_non_root: bool
    run_as_user: int
    run_as_group: int
    seccomp_profile: SeccompProfile


class PodSecurityContext(Part, frozen=True, kw_only=True):
    """What every container of the pod may do."""

    run_as_non_root: bool
    run_as_user: int
    run_as_group: int
    fs_group: int
    fs_group_change_policy: str
    seccomp_profile: SeccompProfile


class VolumeMount(Part, frozen=True, kw_only=True):
    """A volume, and where it is."""

    name: str
    mount_path: str
    read_only: bool | None = None


class Container(Part, frozen=True, kw_only=True):
    """The process."""

    name: str
    image: str
    image_pull_policy: str
    ports: tuple[ContainerPort, ...]
    env: tuple[EnvVar, ...]
    resources: ResourceRequirements
    startup_probe: Probe
    liveness_probe: Probe
    readiness_probe: Probe
    lifecycle: Lifecycle
    termination_message_policy: str
    security_context: SecurityContext
    volume_mounts: tuple[VolumeMount, ...]


class InitContainer(Part, frozen=True, kw_only=True):
    """A process that ends before the container starts."""

    name: str
    image: str
    image_pull_policy: str
    args: tuple[str, ...]
    env: tuple[EnvVar, ...]
    resources: ResourceRequirements
    termination_message_policy: str
    security_context: SecurityContext
    volume_mounts: tuple[VolumeMount, ...]


class EmptyDirVolumeSource(Part, frozen=True, kw_only=True):
    """Space that goes with the pod."""

    medium: str | None = None
    size_limit: str


class ClaimVolumeSource(Part, frozen=True, kw_only=True):
    """Space that stays."""

    claim_name: str


class SecretVolumeSource(Part, frozen=True, kw_only=True):
    """Keys as files; the kubelet writes them again when they are rotated."""

    secret_name: str
    default_mode: int
    optional: bool
    """Whether a pod starts without it."""


class ConfigMapVolumeSource(Part, frozen=True, kw_only=True):
    """Text as files."""

    name: str


class Volume(Part, frozen=True, kw_only=True):
    """A volume by name."""

    name: str
    empty_dir: EmptyDirVolumeSource | None = None
    persistent_volume_claim: ClaimVolumeSource | None = None
    secret: SecretVolumeSource | None = None
    config_map: ConfigMapVolumeSource | None = None


class TopologySpreadConstraint(Part, frozen=True, kw_only=True):
    """How evenly the pods stand."""

    max_skew: int
    topology_key: str
    when_unsatisfiable: str
    label_selector: LabelSelector
    match_label_keys: tuple[str, ...]


class Toleration(Part, frozen=True, kw_only=True):
    """A taint that the pod may stand on."""

    key: str
    operator: str
    effect: str


class PodSpec(Part, frozen=True, kw_only=True):
    """The pod."""

    service_account_name: str
    automount_service_account_token: bool
    enable_service_links: bool
    priority_class_name: str | None
    termination_grace_period_seconds: int
    security_context: PodSecurityContext
    topology_spread_constraints: tuple[TopologySpreadConstraint, ...]
    tolerations: tuple[Toleration, ...] | None
    init_containers: tuple[InitContainer, ...] | None
    containers: tuple[Container, ...]
    volumes: tuple[Volume, ...]


def pod(plan: Plan) -> PodSpec:
    """One container of the image, by digest."""
    gpu = Toleration(key=_GPU, operator="Exists", effect="NoSchedule")
    return PodSpec(
        service_account_name=plan.name,
        automount_service_account_token=False,
        enable_service_links=False,
        priority_class_name=plan.settings.priority_class,
        termination_grace_period_seconds=plan.grace,
        security_context=PodSecurityContext(
            run_as_non_root=True,
            run_as_user=USER,
            run_as_group=USER,
            fs_group=USER,
            fs_group_change_policy="OnRootMismatch",
            seccomp_profile=SeccompProfile(type="RuntimeDefault"),
        ),
        topology_spread_constraints=tuple(
            _spread(plan, key) for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
        ),
        tolerations=(gpu,) if plan.settings.resources.gpus else None,
        init_containers=(_fetch(plan),) if plan.model_scheme is not None else None,
        containers=(_container(plan),),
        volumes=tuple(volume for volume, _ in _volumes(plan)),
    )


def _spread(plan: Plan, key: str) -> TopologySpreadConstraint:
    """Over ``key``, each version for itself, so that an update does not leave the new one lopsided."""
    return TopologySpreadConstraint(
        max_skew=1,
        topology_key=key,
        when_unsatisfiable="ScheduleAnyway",
        label_selector=LabelSelector(match_labels=plan.selector),
        match_label_keys=("pod-template-hash",),
    )


def _container(plan: Plan) -> Container:
    return Container(
        name=fetching.SERVER,
        image=plan.image,
        image_pull_policy="IfNotPresent",
        ports=(
            ContainerPort(name=plan.port_name, container_port=PORT),
            ContainerPort(name="admin", container_port=ADMIN_PORT),
        ),
        env=_environment(plan),
        resources=_resources(plan),
        startup_probe=_probe("/startupz", plan.startup_period, timeout=2, failures=plan.startup_failures),
        liveness_probe=_probe("/livez", 10, timeout=5, failures=3),
        readiness_probe=_probe("/readyz", plan.readiness_period, timeout=2, failures=2),
        lifecycle=Lifecycle(pre_stop=LifecycleHandler(sleep=SleepAction(seconds=plan.pre_stop))),
        termination_message_policy="FallbackToLogsOnError",
        security_context=_restricted(),
        volume_mounts=tuple(mount for _, mount in _volumes(plan)),
    )


def _restricted() -> SecurityContext:
    """What Pod Security `restricted` asks of each container, and a root that nobody writes."""
    return SecurityContext(
        allow_privilege_escalation=False,
        capabilities=Capabilities(drop=("ALL",)),
        privileged=False,
        read_only_root_filesystem=True,
        run_as_non_root=True,
        run_as_user=USER,
        run_as_group=USER,
        seccomp_profile=SeccompProfile(type="RuntimeDefault"),
    )


def _fetch(plan: Plan) -> InitContainer:
    """The same image brings the model to where the server finds it read-only; it ends before the server starts."""
    shared = {"tmp", "model", _RELEASE_KEY}
    mounts = [
        replace(mount, read_only=None) if mount.name == "model" else mount
        for _, mount in _volumes(plan)
        if mount.name in shared
    ]
    given = {"cpu": str(plan.cpu), "memory": str(plan.memory)}
    return InitContainer(
        name=fetching.NAME,
        image=plan.image,
        image_pull_policy="IfNotPresent",
        args=fetching.arguments(plan),
        env=(
            *(EnvVar(name=name, value=value) for name, value in fetching.variables(plan)),
            *_release_key_variable(plan),
        ),
        resources=ResourceRequirements(
            requests={**given, "ephemeral-storage": str(plan.model_volume)},
            limits=given,
        ),
        termination_message_policy="FallbackToLogsOnError",
        security_context=_restricted(),
        volume_mounts=tuple(mounts),
    )


def _release_key_variable(plan: Plan) -> Iterator[EnvVar]:
    if plan.release_key is not None:
        yield EnvVar(name="BEDSIDE_RELEASE_KEY", value=f"{_RELEASE_KEY_FOLDER}/{config_map.RELEASE_KEY_FILE}")


def _environment(plan: Plan) -> tuple[EnvVar, ...]:
    name = EnvVar(name="POD_NAME", value_from=EnvVarSource(field_ref=FieldRef(field_path="metadata.name")))
    image = EnvVar(name="BEDSIDE_IMAGE_DIGEST", value=plan.image_digest)
    first, *others = THREAD_VARIABLES
    threads = [
        EnvVar(name=first, value=plan.threads),
        *(EnvVar(name=other, value=str(plan.threads)) for other in others),
    ]
    return name, image, *threads, *_release_key_variable(plan), *_tracing(plan)


def _tracing(plan: Plan) -> Iterator[EnvVar]:
    """The standard variables of OpenTelemetry."""
    tracing = plan.settings.tracing
    if tracing is None or not plan.contract.serve.tracing:
        return
    yield EnvVar(name="POD_NAMESPACE", value_from=EnvVarSource(field_ref=FieldRef(field_path="metadata.namespace")))
    pod = "k8s.namespace.name=$(POD_NAMESPACE),k8s.pod.name=$(POD_NAME)"
    yield EnvVar(name="OTEL_EXPORTER_OTLP_ENDPOINT", value=tracing.endpoint)
    yield EnvVar(name="OTEL_RESOURCE_ATTRIBUTES", value=pod)
    if tracing.ratio < 1:
        yield EnvVar(name="OTEL_TRACES_SAMPLER", value="parentbased_traceidratio")
        yield EnvVar(name="OTEL_TRACES_SAMPLER_ARG", value=f"{tracing.ratio:g}")


def _resources(plan: Plan) -> ResourceRequirements:
    gpus = {_GPU: str(plan.settings.resources.gpus)} if plan.settings.resources.gpus else {}
    given = {"cpu": plan.cpu, "memory": plan.memory, **gpus}
    return ResourceRequirements(requests=given, limits={name: str(value) for name, value in given.items()})


def _probe(path: str, period: int, *, timeout: int, failures: int | Number) -> Probe:
    """On the admin port, which no load on the public one can fill."""
    return Probe(
        http_get=HTTPGetAction(path=path, port="admin"),
        period_seconds=period,
        timeout_seconds=timeout,
        failure_threshold=failures,
    )


def _volumes(plan: Plan) -> tuple[tuple[Volume, VolumeMount], ...]:
    scratch = Volume(name="tmp", empty_dir=EmptyDirVolumeSource(size_limit=_SCRATCH))
    found = [(scratch, VolumeMount(name="tmp", mount_path="/tmp"))]  # noqa: S108 - the container's own
    if plan.model_scheme is not None:
        model = Volume(name="model", empty_dir=EmptyDirVolumeSource(size_limit=plan.model_volume))
        found.append((model, VolumeMount(name="model", mount_path=fetching.folder(plan), read_only=True)))
    if plan.release_key is not None:
        key = f"{plan.name}{config_map.release_key_suffix(plan.release_key)}"
        volume = Volume(name=_RELEASE_KEY, config_map=ConfigMapVolumeSource(name=key))
        found.append((volume, VolumeMount(name=_RELEASE_KEY, mount_path=_RELEASE_KEY_FOLDER, read_only=True)))
    audit = plan.contract.audit
    if audit is not None:
        found.append((_audit_volume(plan), VolumeMount(name="audit", mount_path=audit.path)))
    found += [_mounted(plan, item) for item in secrets.key_files(plan)]
    return tuple(found)


def _mounted(plan: Plan, item: secrets.KeyFiles) -> tuple[Volume, VolumeMount]:
    """The whole Secret as files: the kubelet replaces them when it changes, and the runtime reads them again."""
    name, mode = f"{item.purpose}-keys", Number(0o440, "octal 0440: the pod's group may read")
    keys = SecretVolumeSource(secret_name=item.secret(plan), default_mode=mode, optional=False)
    return Volume(name=name, secret=keys), VolumeMount(name=name, mount_path=item.folder, read_only=True)


def _audit_volume(plan: Plan) -> Volume:
    if plan.settings.audit_volume.kind == "scratch":
        return Volume(name="audit", empty_dir=EmptyDirVolumeSource(size_limit=plan.settings.audit_volume.size))
    claim_name = f"{plan.name}{claim.SUFFIX}"
    return Volume(name="audit", persistent_volume_claim=ClaimVolumeSource(claim_name=claim_name))

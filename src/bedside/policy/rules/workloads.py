"""What a workload needs in order to go on answering, and answering from the right release."""

import re
from collections.abc import Iterator

from bedside.policy.image_names import split_image
from bedside.policy.kubernetes import Container, Pod, place, seconds_of_sleep, selects
from bedside.policy.picture import Picture, together
from bedside.policy.place import Hit
from bedside.policy.rules.agreement import runs_application
from bedside.policy.yamltree import Node
from bedside.spec import quantity

_SCRATCH = frozenset(("/tmp", "/var/tmp"))  # noqa: S108 - paths in a container, where this process never writes


def token_automount(picture: Picture) -> Iterator[Hit]:
    """A token for the API server in a container that never calls it is a gift to an intruder."""
    for pod in picture.serving:
        account = picture.find("ServiceAccount", pod.spec.at("serviceAccountName").text, pod.owner)
        own = pod.spec.at("automountServiceAccountToken")
        off = own.false or (not own and account is not None and account.node.at("automountServiceAccountToken").false)
        if not off and not _bound(picture, pod) and not _asks_api_server(pod):
            yield Hit(
                place(own) if own else place(pod.spec),
                f"{pod.owner.title} carries a token for the API server that it does not need",
            )


def _bound(picture: Picture, pod: Pod) -> bool:
    """Whether a role is bound to its account: then it does call the API server."""
    name = pod.spec.at("serviceAccountName").text
    return any(
        subject.at("kind").text == "ServiceAccount" and subject.at("name").text == name
        for binding in picture.of("RoleBinding", "ClusterRoleBinding")
        for subject in binding.node.at("subjects").items()
    )


def _asks_api_server(pod: Pod) -> bool:
    """Whether a container is kubectl, or runs it."""
    words = [node.text for c in pod.containers for name in ("command", "args") for node in c.node.at(name).items()]
    return any("kubectl" in text for text in (*words, *(container.image for container in pod.containers)))


def read_only_root(picture: Picture) -> Iterator[Hit]:
    """A writable root file system lets the model and its code be changed after they were verified."""
    for pod in picture.serving:
        for container in pod.containers:
            node = container.security.at("readOnlyRootFilesystem")
            if not node.true:
                yield Hit(place(node) if node else container.place, f"{container.title} can write over its own files")


def writable_directory(picture: Picture) -> Iterator[Hit]:
    """Python, and most servers, need one place to write; a read-only root without it fails at the first upload."""
    for pod in picture.serving:
        for container in pod.containers[:1]:
            node = container.security.at("readOnlyRootFilesystem")
            mounts = container.node.at("volumeMounts").items()
            writable = [item.at("mountPath").text.rstrip("/") for item in mounts if not item.at("readOnly").true]
            if node.true and not set(writable) & _SCRATCH and loads_model(picture, container):
                yield Hit(place(node), f"{container.title} has a read-only root and no /tmp to write to")


def sized_scratch(picture: Picture) -> Iterator[Hit]:
    """An emptyDir without a limit fills the node's disk and evicts its neighbours."""
    for pod in picture.serving:
        for volume in pod.spec.at("volumes").items():
            nothing = [key for key, _ in volume.pairs()] == ["name"]  # which the API server makes an emptyDir
            scratch = volume.at("emptyDir").kind != "absent" or nothing
            if scratch and not volume.at("emptyDir", "sizeLimit"):
                yield Hit(place(volume), f"the volume {volume.at('name').text} of {pod.owner.title} has no size limit")


def requests(picture: Picture) -> Iterator[Hit]:
    """Without requests the scheduler guesses, and the autoscaler has no percentage to compute."""
    for pod in picture.serving:
        for container in pod.containers:
            asked = container.node.at("resources", "requests")
            limits = container.node.at("resources", "limits")
            missing = [name for name in ("cpu", "memory") if not asked.at(name) and not limits.at(name)]
            if missing:
                yield Hit(container.place, f"{container.title} requests no {' and no '.join(missing)}")


def memory_limit(picture: Picture) -> Iterator[Hit]:
    """Memory is not compressible: request below limit is memory that may not be there when the model needs it."""
    for pod in picture.serving:
        for container in pod.containers:
            resources = container.node.at("resources")
            asked, limit = resources.at("requests", "memory"), resources.at("limits", "memory")
            if not limit:
                yield Hit(place(resources) if resources else container.place, f"{container.title} has no memory limit")
            elif asked and not _same(asked, limit) and loads_model(picture, container):
                yield Hit(place(limit), f"{container.title} requests {asked.text} of memory and may use {limit.text}")


def promised_class(picture: Picture) -> Iterator[Hit]:
    """A label or annotation that promises Guaranteed on a pod that will not be."""
    for pod in picture.pods:
        said = [
            node
            for group in (pod.annotations, pod.node.at("metadata", "labels"))
            for key, node in group.pairs()
            if "qos" in key.lower()
        ]
        for node in said:
            if node.text.lower() == "guaranteed" and not all(_guaranteed(item) for item in pod.all_containers):
                yield Hit(place(node), f"{pod.owner.title} promises QoS Guaranteed, but its requests and limits differ")


def _guaranteed(container: Container) -> bool:
    resources = container.node.at("resources")
    pairs = [(resources.at("requests", name), resources.at("limits", name)) for name in ("cpu", "memory")]
    return all(limit and (not asked or _same(asked, limit)) for asked, limit in pairs)


def _same(asked: Node, limit: Node) -> bool:
    return quantity.parse(asked.text) == quantity.parse(limit.text)


def threads(picture: Picture) -> Iterator[Hit]:
    """Numeric libraries start a thread for every core of the node, not of the limit: predictions slow down manyfold."""
    for pod in picture.serving:
        for container in pod.containers:
            limit = quantity.parse(container.node.at("resources", "limits", "cpu").text)
            entry = container.environment.get("OMP_NUM_THREADS")
            value = entry.at("value").number if entry is not None else None
            entry = entry if entry is not None and (entry.at("value") or entry.at("valueFrom")) else None
            accelerated = any(key.endswith("/gpu") for key, _ in container.node.at("resources", "limits").pairs())
            if limit is None or accelerated or container.node.at("envFrom"):
                continue
            may_use = f"{container.title} may use {float(limit):g} CPU"
            if entry is None and loads_model(picture, container):
                yield Hit(container.place, f"{may_use} and computes on every core of its node")
            elif entry is not None and value is not None and value > 1 and value > limit:
                yield Hit(place(entry), f"{may_use} but computes on {value} threads")


def single_replica(picture: Picture) -> Iterator[Hit]:
    """One pod is no pod while its node is drained, its image is pulled, its model is loading."""
    for pod in picture.serving:
        if pod.owner.kind != "Deployment":
            continue
        scaler = picture.autoscaler(pod.owner)
        node = pod.owner.spec.at("replicas")
        alone = not picture.of("Service")  # a manifest by itself: its autoscaler may stand elsewhere
        if scaler is None and pod.owner.replicas == 1 and (node or not alone):
            yield Hit(place(node) if node else pod.owner.place, f"{pod.owner.title} runs as one pod")
        elif (
            scaler is not None
            and scaler.kind == "HorizontalPodAutoscaler"
            and (scaler.spec.at("minReplicas").number or 1) == 1
        ):
            node = scaler.spec.at("minReplicas")
            yield Hit(place(node) if node else scaler.place, f"{scaler.title} may leave {pod.owner.title} with one pod")


def _many(picture: Picture, pod: Pod) -> bool:
    scaler = picture.autoscaler(pod.owner)
    return pod.owner.replicas > 1 or (scaler is not None and (scaler.spec.at("minReplicas").number or 1) > 1)


def spread(picture: Picture) -> Iterator[Hit]:
    """Replicas that may all stand on one node all fall with it."""
    for pod in picture.serving:
        spec = pod.spec
        apart = spec.at("topologySpreadConstraints").items() or spec.at("affinity", "podAntiAffinity").pairs()
        if _many(picture, pod) and not apart:
            yield Hit(place(spec), f"all pods of {pod.owner.title} may be placed on one node")
        for item in spec.at("topologySpreadConstraints").items():
            counted = item.at("labelSelector")
            if counted.kind == "absent" or not selects(counted, pod.labels):
                yield Hit(place(item), f"a spread constraint of {pod.owner.title} does not count its own pods")


def disruption_budget(picture: Picture) -> Iterator[Hit]:
    """Without a budget, a drain may evict every replica at once."""
    takes = [(item, picture.taken(item, item.spec.at("selector"))) for item in picture.of("PodDisruptionBudget")]
    covered = {id(pod) for _, pods in takes for pod in pods}
    useless = [item for item, pods in takes if not pods]  # BED-REF-011 says it
    for pod in picture.serving:
        if id(pod) in covered or any(together(item, pod.owner) for item in useless):
            continue
        if picture.shows(pod.owner) and _many(picture, pod):
            yield Hit(pod.owner.place, f"{pod.owner.title} has no PodDisruptionBudget")


def readiness_probe(picture: Picture) -> Iterator[Hit]:
    """Without a readiness probe a pod gets patients' requests before its model is loaded."""
    for pod in picture.serving:
        if not any(container.node.at("readinessProbe") for container in pod.containers):
            yield Hit(
                pod.containers[0].place if pod.containers else pod.owner.place,
                f"{pod.owner.title} has no readiness probe",
            )


def liveness_probe(picture: Picture) -> Iterator[Hit]:
    """Without a liveness probe a process that hangs is never restarted."""
    for pod in picture.serving:
        for container in pod.containers:
            if container.node.at("readinessProbe") and not container.node.at("livenessProbe"):
                yield Hit(container.place, f"{container.title} has no liveness probe")


def liveness_is_readiness(picture: Picture) -> Iterator[Hit]:
    """One path for both, with the same patience: what should take a pod out of service restarts it instead."""
    for pod in picture.serving:
        for container in pod.containers:
            live, ready = container.node.at("livenessProbe"), container.node.at("readinessProbe")
            asked = live.at("httpGet")
            same = asked.pairs() and _asked(asked) == _asked(ready.at("httpGet"))
            if same and _patience(container, "livenessProbe") <= _patience(container, "readinessProbe"):
                yield Hit(
                    place(live),
                    f"{container.title} is restarted by the same path, as early as it is taken out of service",
                )


def _asked(request: Node) -> tuple[str, ...]:
    """What makes two HTTP probes one question: path, port, host and headers."""
    headers = [f"{item.at('name').text}: {item.at('value').text}" for item in request.at("httpHeaders").items()]
    return (request.at("path").text or "/", request.at("port").text, request.at("host").text, *headers)


_SERVES = re.compile(
    r"(?i)model|predict|infer|mortality|risk|score|sklearn|xgboost|torch|onnx|triton|vllm|mlserver|bento|tf-?serving"
)
_BESIDE = re.compile(
    r"(?i)controller|operator|manager|registry|catalog|proxy|gateway|router|webhook|exporter|archiver|dashboard|web-?app|-ui\b|"
    r"-epp\b|endpoint-?picker|-db\b|database|postgres|mysql|redis|minio|nginx|envoy|collector|metrics"
)
_TOLD = re.compile(r"(\w+_)?MODEL_(PATH|FILE|DIR|URI|NAME|ID|VERSION|LOAD_SECONDS)")


def loads_model(picture: Picture, container: Container) -> bool:
    """Whether a container serves a model: by the code given, by what it is told, or by what it is called."""
    if runs_application(picture, container) or any(_TOLD.fullmatch(name) for name in container.environment):
        return True
    image = split_image(container.image)[0].rsplit("/", 1)[-1]
    said = f"{container.pod.owner.name} {container.name} {image}"
    return _SERVES.search(said) is not None and _BESIDE.search(said) is None


def _patience(container: Container, name: str) -> int:
    probe = container.node.at(name)
    return (probe.at("periodSeconds").number or 10) * (probe.at("failureThreshold").number or 3)


def slow_start(picture: Picture) -> Iterator[Hit]:
    """Loading a model takes longer than a liveness probe waits: without a startup probe it is killed while loading."""
    for pod in picture.serving:
        for container in pod.containers:
            live = container.node.at("livenessProbe")
            patience = _patience(container, "livenessProbe") + (live.at("initialDelaySeconds").number or 0)
            if loads_model(picture, container) and live and not container.node.at("startupProbe") and patience < 60:
                yield Hit(
                    place(live),
                    f"{container.title} is killed after {patience} s without an answer, also while it loads",
                )


def pre_stop(picture: Picture) -> Iterator[Hit]:
    """A pod goes on getting requests for seconds after it was told to stop; without a pause they fail."""
    for pod in picture.serving:
        for container in pod.containers[:1]:
            hook = container.node.at("lifecycle", "preStop")
            command = tuple(item.text for item in hook.at("exec", "command").items())
            waits = hook.at("sleep", "seconds").number or seconds_of_sleep(command)
            if not waits and not hook and container.node.at("ports") and id(pod) in picture.entered:
                yield Hit(container.place, f"{container.title} stops at once while requests are still sent to it")


def rollout_gap(picture: Picture) -> Iterator[Hit]:
    """A rollout that takes pods away before their successors are ready."""
    for pod in picture.serving:
        strategy = pod.owner.spec.at("strategy")
        if pod.owner.kind != "Deployment" or not _many(picture, pod):
            continue
        if strategy.at("type").text == "Recreate":
            yield Hit(place(strategy), f"{pod.owner.title} stops every pod before it starts the first new one")
        elif (strategy.at("rollingUpdate", "maxUnavailable").text or "0") not in ("0", "0%", "25%"):
            if _one_gpu_pod_at_a_time(pod):
                continue
            node = strategy.at("rollingUpdate", "maxUnavailable")
            yield Hit(
                place(node), f"a rollout of {pod.owner.title} may take {node.text} pods away before new ones are ready"
            )


def _one_gpu_pod_at_a_time(pod: Pod) -> bool:
    """Where no node has a GPU to spare, a pod has to go before its successor can be placed."""
    limits = [key for container in pod.containers for key, _ in container.node.at("resources", "limits").pairs()]
    rolling = pod.owner.spec.at("strategy", "rollingUpdate")
    one = (rolling.at("maxUnavailable").text, rolling.at("maxSurge").text) == ("1", "0")
    return one and any(key.endswith("/gpu") for key in limits)


def shared_claim(picture: Picture) -> Iterator[Hit]:
    """A ReadWriteOnce claim can be mounted on one node: a second replica elsewhere never starts."""
    for pod in picture.pods:
        if pod.owner.kind != "Deployment" or not (_many(picture, pod) or picture.autoscaler(pod.owner)):
            continue
        for volume in pod.spec.at("volumes").items():
            name = volume.at("persistentVolumeClaim", "claimName")
            claim = picture.find("PersistentVolumeClaim", name.text, pod.owner) if name else None
            modes = {item.text for item in claim.spec.at("accessModes").items()} if claim else set()
            if modes and modes <= {"ReadWriteOnce", "ReadWriteOncePod"}:
                yield Hit(
                    place(volume),
                    f"the pods of {pod.owner.title} share the claim {name.text}, which only one node can mount",
                )


def gpu(picture: Picture) -> Iterator[Hit]:
    """A GPU is given by its limit; a request alone, or a different one, is refused or leaves the pod without."""
    for pod in picture.pods:
        for container in pod.all_containers:
            resources = container.node.at("resources")
            for key, asked in resources.at("requests").pairs():
                if key.endswith("/gpu") and resources.at("limits", key).text != asked.text:
                    yield Hit(place(asked), f"{container.title} requests {key} without the same limit")


def version_in_selector(picture: Picture) -> Iterator[Hit]:
    """A selector cannot change: a version in it makes the next upgrade, and the way back, impossible."""
    keys = ("version", "app.kubernetes.io/version", "release-version")
    for pod in picture.pods:
        for key, node in pod.owner.spec.at("selector", "matchLabels").pairs():
            if key in keys and pod.owner.kind != "Job" and re.search(r"\d+\.\d+", node.text):
                yield Hit(place(node), f"{pod.owner.title} has the version in its selector, which can never change")


def version_outside_template(picture: Picture) -> Iterator[Hit]:
    """``kubectl rollout undo`` brings back the template alone: a version label outside of it stays wrong."""
    for pod in picture.serving:
        if pod.owner.kind != "Deployment":
            continue
        for key in ("version", "app.kubernetes.io/version"):
            if key in pod.owner.labels and key not in pod.labels and not _chart_made(pod):
                node = pod.owner.node.at("metadata", "labels", key)
                yield Hit(
                    place(node),
                    f"the version label of {pod.owner.title} is not on its pods, so a rollback leaves it wrong",
                )


def _chart_made(pod: Pod) -> bool:
    """Helm writes the label of the whole release and rolls it back as a whole."""
    return pod.owner.labels.get("app.kubernetes.io/managed-by") == "Helm"


def history(picture: Picture) -> Iterator[Hit]:
    """No revisions kept, no way back."""
    for pod in picture.serving:
        node = pod.owner.spec.at("revisionHistoryLimit")
        if node.number == 0:
            yield Hit(place(node), f"{pod.owner.title} keeps no revision to return to")


def image_digest(picture: Picture) -> Iterator[Hit]:
    """A tag can be moved: what runs is what was validated only by digest."""
    for pod in picture.serving:
        for container in [*pod.init_containers, *pod.containers]:
            _, _, digest = split_image(container.image)
            if container.image and not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
                yield Hit(
                    place(container.node.at("image")),
                    f"{container.title} runs {container.image}, which is not named by digest",
                )

"""What a cluster shows of one Deployment, as one frozen value. Pure: objects of the API in, a `Picture` out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bedside.kube.plan import IMAGE_DIGEST, RELEASE_DIGEST
from bedside.kube.rollout import causes
from bedside.kube.rollout.causes import Cause, Why

REVISION: Final = "deployment.kubernetes.io/revision"
_HASH: Final = "pod-template-hash"


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod.

    Attributes:
        name: Its name.
        uid: Which very pod.
        run: Which run of its container; a new one after each restart.
        node: Where it is; empty while nowhere.
        new: Whether it is of the Deployment's present template.
        leaving: Whether it was told to go, or has ended for good.
        running: Whether its container runs.
        ready: Whether it gets requests.
        restarts: How often its container was started again.
        version: The label ``model-version``.
        release: Digest of the release as its annotation says, ``sha256:...``.
        image: Digest of the image as its annotation says, ``sha256:...``.
        runs: The image that its container is started from, as its specification names it.
        cause: Why it is not ready, ``None`` where it is.
    """

    name: str
    uid: str
    run: str
    node: str
    new: bool
    leaving: bool
    running: bool
    ready: bool
    restarts: int
    version: str
    release: str
    image: str
    runs: str
    cause: Cause | None


@dataclass(frozen=True, slots=True)
class Picture:
    """A Deployment, its pods, and how far it is.

    Attributes:
        wanted: How many pods there must be.
        updated: How many of them are of the present template.
        available: How many have been ready for minReadySeconds.
        total: How many there are, old ones too.
        seen: Whether the controller has seen the present template.
        stalled: Why nothing moves at all, from the Deployment or its ReplicaSet.
        pods: All of them, by name.
        release: Release digest of the Deployment's template, ``sha256:...``.
        version: The template's label ``model-version``.
    """

    wanted: int = 0
    updated: int = 0
    available: int = 0
    total: int = 0
    seen: bool = False
    stalled: Cause | None = None
    pods: tuple[Pod, ...] = ()
    release: str = ""
    version: str = ""

    @property
    def new(self) -> tuple[Pod, ...]:
        """The pods of the present template that stay."""
        return tuple(pod for pod in self.pods if pod.new and not pod.leaving)

    @property
    def settled(self) -> bool:
        """Whether all wanted pods are of the present template, ready for long enough, and no other is left."""
        ready = sum(pod.ready for pod in self.new)
        counted = self.updated == self.available == self.total == self.wanted
        return self.seen and self.wanted > 0 and counted and ready == len(self.new) == self.wanted


@dataclass(frozen=True, slots=True)
class Sources:
    """What a picture is made from, as the API server has it."""

    deployment: Mapping[str, Any] | None
    replica_sets: Sequence[Mapping[str, Any]]
    pods: Sequence[Mapping[str, Any]]
    events: Sequence[Mapping[str, Any]] = ()
    said: Mapping[str, str] = field(default_factory=dict)
    """Reason of /readyz by the pod's uid, of those that were asked."""


def draw(sources: Sources, fewest: int = 1) -> Picture:
    """Return the picture; ``fewest`` is the number of pods below which no rollout is whole, the autoscaler's least."""
    deployment = sources.deployment
    if deployment is None:
        return Picture()
    spec, status = deployment["spec"], deployment.get("status") or {}
    template = spec["template"]["metadata"]
    observed = int(status.get("observedGeneration", 0)) >= int(deployment["metadata"].get("generation", 1))
    current = _current(deployment, sources.replica_sets) if observed else None  # until then the newest one is old
    label = ((current or {}).get("metadata") or {}).get("labels") or {}
    events = _by_object(sources.events)
    pods = [_pod(pod, label.get(_HASH), events, sources.said) for pod in sources.pods]
    return Picture(
        wanted=max(int(spec.get("replicas", 1)), fewest),
        updated=int(status.get("updatedReplicas", 0)),
        available=int(status.get("availableReplicas", 0)),
        total=int(status.get("replicas", 0)),
        seen=current is not None,
        stalled=_stalled(deployment, current),
        pods=tuple(sorted(pods, key=lambda pod: (not pod.new, pod.name))),
        release=(template.get("annotations") or {}).get(RELEASE_DIGEST, ""),
        version=(template.get("labels") or {}).get("model-version", ""),
    )


def _current(deployment: Mapping[str, Any], replica_sets: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The ReplicaSet of the present template: the controller gives it the Deployment's revision."""
    uid = deployment["metadata"]["uid"]
    revision = (deployment["metadata"].get("annotations") or {}).get(REVISION)
    for found in replica_sets:
        metadata = found["metadata"]
        owned = any(owner.get("uid") == uid for owner in metadata.get("ownerReferences") or ())
        if owned and revision is not None and (metadata.get("annotations") or {}).get(REVISION) == revision:
            return found
    return None


def _stalled(deployment: Mapping[str, Any], current: Mapping[str, Any] | None) -> Cause | None:
    for item in (deployment, current or {}):
        failure = _condition(item, "ReplicaFailure")
        if failure.get("status") == "True":
            return causes.of_creation(str(failure.get("message", "")))
    progressing = _condition(deployment, "Progressing")
    if progressing.get("status") == "False" and progressing.get("reason") == "ProgressDeadlineExceeded":
        seconds = deployment["spec"].get("progressDeadlineSeconds", 600)
        return Cause(Why.DEADLINE, f"no pod made progress for {seconds} s", "The pods' reasons say more.", 0)
    return None


def _pod(
    pod: Mapping[str, Any], current: str | None, events: Mapping[str, list[Mapping[str, Any]]], said: Mapping[str, str]
) -> Pod:
    metadata, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    container: Mapping[str, Any] = next(iter(status.get("containerStatuses") or ()), {})
    uid = metadata["uid"]
    running: Mapping[str, Any] = next(iter(spec.get("containers") or ()), {})
    cause = causes.of_pod(pod, events.get(uid, ()), said.get(uid, ""))
    return Pod(
        name=metadata["name"],
        uid=uid,
        run=f"{uid}/{container.get('containerID', '')}",
        node=spec.get("nodeName", ""),
        new=current is not None and labels.get(_HASH) == current,
        leaving="deletionTimestamp" in metadata or status.get("phase") in ("Failed", "Succeeded"),
        running="running" in (container.get("state") or {}),
        ready=causes.ready(pod),
        restarts=int(container.get("restartCount", 0)),
        version=labels.get("model-version", ""),
        release=annotations.get(RELEASE_DIGEST, ""),
        image=annotations.get(IMAGE_DIGEST, ""),
        runs=str(running.get("image", "")),
        cause=cause,
    )


def _by_object(events: Sequence[Mapping[str, Any]]) -> Mapping[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for event in sorted(events, key=_when):
        found.setdefault((event.get("involvedObject") or {}).get("uid", ""), []).append(event)
    return found


def _when(event: Mapping[str, Any]) -> str:
    series = event.get("series") or {}
    return str(series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or "")


def _condition(item: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    conditions = (item.get("status") or {}).get("conditions") or ()
    return next((found for found in conditions if found.get("type") == kind), {})

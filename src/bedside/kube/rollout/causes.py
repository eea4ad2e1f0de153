"""Why a pod does not get ready, in plain words with the next step. Pure: an object of the API to a `Cause`.

Each cause has a patience: the seconds that it may last before the rollout counts as failed. What a registry, a store
or a node may mend by itself gets time; what no waiting mends gets none.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

FOREVER: Final = float("inf")
"""Until the rollout's own deadline."""

_RESTARTS: Final = 3
"""Ends of a container after which it counts as crashing."""

_LONGEST: Final = 300
_REASON: Final = 80
_SIGKILL: Final = 137


class Why(StrEnum):
    """What is wrong."""

    IMAGE_PULL = "image-pull"
    IMAGE_NAME = "image-name"
    CONFIGURATION = "configuration"
    CRASH = "crash"
    OUT_OF_MEMORY = "out-of-memory"
    UNVALIDATED = "unvalidated"
    GOLDEN_MISMATCH = "golden-mismatch"
    AUDIT_LOG = "audit-log"
    MODEL_STORE = "model-store"
    NOT_READY = "not-ready"
    QUOTA = "quota"
    ADMISSION = "admission"
    UNSCHEDULABLE = "unschedulable"
    CLAIM = "claim"
    VOLUME = "volume"
    EVICTED = "evicted"
    DEADLINE = "deadline"
    UNREACHABLE = "unreachable"
    FLAPPING = "flapping"
    SLOW_START = "slow-start"
    STARTING = "starting"


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a pod, or a rollout, is not where it should be.

    Attributes:
        why: What is wrong.
        text: One sentence.
        remedy: The next step, one sentence.
        patience: Seconds that it may last.
    """

    why: Why
    text: str
    remedy: str = ""
    patience: float = FOREVER


UNVALIDATED: Final = frozenset(
    {
        "artifact-mismatch",
        "contract-invalid",
        "engine-unsuitable",
        "environment-mismatch",
        "equivalence-failed",
        "forbidden-global",
        "golden-invalid",
        "integrity",
        "library-missing",
        "model-mismatch",
        "output-invalid",
        "signature-invalid",
    }
)
"""Reasons of the runtime that say: this is not what was validated. `golden-mismatch` has a sentence of its own."""

_AUDIT: Final = frozenset(
    {"recorder-unavailable", "audit-unavailable", "audit-unreadable", "audit-key-invalid", "audit-busy"}
)
_STORAGE: Final = frozenset(
    {"storage-unavailable", "storage-refused", "static-credentials", "volume-full", "fetch-busy"}
)
ON_THE_WAY: Final = frozenset({"loading", "verifying"})
"""Reasons that nothing is wrong with."""

STARTING: Final = Cause(Why.STARTING, "starting")
_PULL: Final = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "SignatureValidationFailed"})
_NAME: Final = frozenset({"InvalidImageName", "ErrImageNeverPull"})
_CONFIGURATION: Final = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError"}
)


def of_pod(pod: Mapping[str, Any], events: Sequence[Mapping[str, Any]], said: str) -> Cause | None:
    """Return why ``pod`` is not ready, ``None`` where it is.

    Args:
        pod: As the API server has it.
        events: Of this pod, the newest last.
        said: The reason that the runtime gave last on /readyz; empty where it gave none.
    """
    status = pod.get("status") or {}
    if status.get("reason") == "Evicted" or status.get("phase") == "Failed":
        text = _short(status.get("message") or status.get("reason") or "it ended")
        return Cause(Why.EVICTED, f"taken from its node: {text}", "Look at the node: memory, disk, pressure.", 300)
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return _unscheduled(_short(scheduled.get("message") or "no node takes it"))
    container: Mapping[str, Any] = _unfinished(status) or next(iter(status.get("containerStatuses") or ()), {})
    found = _container(container, events, said)
    if found is not None:
        return found
    if ready(pod):
        return None
    if said and said != "ready":
        return of_reason(said)
    return STARTING


def _unfinished(status: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the init container that stands in the way, ``None`` where none does."""
    waiting = (item for item in status.get("initContainerStatuses") or () if not item.get("ready"))
    return next(waiting, None)


def ready(pod: Mapping[str, Any]) -> bool:
    """Whether the cluster sends it requests."""
    return _condition(pod, "Ready").get("status") == "True"


def of_reason(said: str) -> Cause:
    """Return what a reason of /readyz means."""
    if said == "golden-mismatch":
        return Cause(
            Why.GOLDEN_MISMATCH,
            "golden-mismatch: on this node the model does not answer as the validation study recorded",
            "Keep the model off that node's CPU, or validate it there; the pod's log names the cases.",
            0,
        )
    if said in UNVALIDATED:
        return Cause(
            Why.UNVALIDATED,
            f"{said}: what runs there is not what was validated",
            "Build and push the image again from the release; the pod's log says what differs.",
            0,
        )
    if said in _AUDIT:
        return Cause(
            Why.AUDIT_LOG,
            f"{said}: the audit log takes no records",
            "Look at its volume and keys: space, mount, the Secret of [deploy.secrets].",
            120,
        )
    if said in _STORAGE:
        return Cause(
            Why.MODEL_STORE,
            f"{said}: the model cannot be fetched",
            "Look at [deploy.model_store]: role, place, region; and at the object. It goes on where it ended.",
            0 if said == "static-credentials" else 120,
        )
    if said in ON_THE_WAY:
        return Cause(Why.STARTING, said)
    return Cause(Why.NOT_READY, f"not ready: {said}", "The pod's log says more.")


def of_creation(message: str) -> Cause:
    """Return why no pod is made, from what the ReplicaSet is told."""
    text = _short(message)
    if "exceeded quota" in message:
        return Cause(
            Why.QUOTA,
            f"the namespace has no room for a pod: {text}",
            "Lower [deploy.resources] or [deploy.replicas], or have the ResourceQuota raised.",
            30,
        )
    return Cause(
        Why.ADMISSION,
        f"the cluster admits no pod: {text}",
        "Change what it names in [deploy], or have the cluster's policy changed.",
        30,
    )


def _unscheduled(message: str) -> Cause:
    if "PersistentVolumeClaim" in message or "persistentvolumeclaim" in message:
        return Cause(
            Why.CLAIM,
            f"its volume is not there: {message}",
            "Look at the claim: its StorageClass must exist and offer the access mode of [deploy.audit_volume].",
        )
    return Cause(
        Why.UNSCHEDULABLE,
        f"no node takes it: {message}",
        "Add a node, or lower [deploy.resources]; a GPU needs a node that has one free.",
    )


def _container(status: Mapping[str, Any], events: Sequence[Mapping[str, Any]], said: str) -> Cause | None:
    state = status.get("state") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
    last = (status.get("lastState") or {}).get("terminated") or {}
    reason, message = str(waiting.get("reason", "")), str(waiting.get("message", ""))
    if reason in _PULL:
        return _pull(_said_last(events, {"Failed"}) or message)
    if reason in _NAME:
        return Cause(
            Why.IMAGE_NAME, f"the image cannot be named so: {_short(message)}", "Name the image that was pushed.", 0
        )
    if reason in _CONFIGURATION:
        return Cause(
            Why.CONFIGURATION,
            f"its container cannot be made: {_short(message)}",
            "Make the Secret or ConfigMap that it names; the ExternalSecret's status says why a store gave none.",
            90,
        )
    if reason == "ContainerCreating" or (not state and not status):
        mount = _said_last(events, {"FailedMount", "FailedAttachVolume"})
        if mount:
            return Cause(
                Why.VOLUME,
                f"a volume cannot be mounted: {_short(mount)}",
                "Make the Secret or claim that it names; the ExternalSecret's status says why a store gave none.",
                120,
            )
    crash = ended if ended.get("exitCode") else last if reason == "CrashLoopBackOff" or last.get("exitCode") else {}
    restarts = int(status.get("restartCount", 0))
    if crash and not status.get("ready"):
        return _ended(crash, restarts, said)
    killed = _said_last(events, {"Killing"}) if restarts and not status.get("ready") else ""
    return _too_slow(killed, restarts) if "probe" in killed else None


def _too_slow(message: str, restarts: int) -> Cause:
    return Cause(
        Why.SLOW_START,
        f"it is killed and started again ({restarts} times): {_short(message)}",
        "It takes longer than its probe allows, which is computed from what packaging measured: give it more "
        "[deploy.resources] cpu, or a node that is less busy.",
        0 if restarts >= _RESTARTS else FOREVER,
    )


def _pull(message: str) -> Cause:
    hopeless = re.search(r"not found|manifest unknown|unauthorized|denied|forbidden", message, re.IGNORECASE)
    return Cause(
        Why.IMAGE_PULL,
        f"the image cannot be pulled: {_short(message)}",
        "Look whether the registry has this digest, and whether [deploy.secrets] pull names credentials for it.",
        30 if hopeless else 120,
    )


def _ended(ended: Mapping[str, Any], restarts: int, said: str) -> Cause:
    """What an end of the container's process means; what it said of itself before says more than its exit code."""
    code = int(ended.get("exitCode", 0))
    reason, text = _last_words(str(ended.get("message", "")))
    said = reason or said
    if ended.get("reason") == "OOMKilled":
        return Cause(
            Why.OUT_OF_MEMORY,
            "it needs more memory than its limit and was killed",
            "Raise [deploy.resources] memory.",
            0 if restarts else 60,
        )
    tail = f": {text}" if text else ""
    if said == "golden-mismatch" or said in UNVALIDATED or said in _AUDIT or said in _STORAGE:
        known = of_reason(said)
        return replace(known, text=f"{known.text}; it ended with {code}")
    if code == 3:
        return Cause(
            Why.UNVALIDATED,
            f"it ended with 3, what runs there is not what was validated{tail}",
            "Build and push the image again from the release; the pod's log says what differs.",
            0,
        )
    killed = ", killed: the liveness or startup probe found no answer" if code == _SIGKILL else ""
    return Cause(
        Why.CRASH,
        f"it ends again and again (exit code {code}{killed}){tail}",
        "`kubectl logs --previous` shows its last words; `bedside serve` runs the same release here.",
        0 if restarts >= _RESTARTS else 120,
    )


def _condition(item: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    conditions = (item.get("status") or {}).get("conditions") or ()
    return next((found for found in conditions if found.get("type") == kind), {})


def _said_last(events: Sequence[Mapping[str, Any]], reasons: set[str]) -> str:
    return next((str(item.get("message", "")) for item in reversed(events) if item.get("reason") in reasons), "")


def _last_words(text: str) -> tuple[str, str]:
    """The reason in the runtime's last event that has one, and the last line that is no event."""
    reason, words = "", ""
    for line in text.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            words = line.strip() or words
            continue
        if isinstance(event, dict) and event.get("level") == "error":
            reason = str(event.get("reason", ""))[:_REASON]
    return reason, _short(words)


def _short(text: object) -> str:
    return " ".join(str(text).split())[:_LONGEST]

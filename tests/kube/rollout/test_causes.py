"""Why a pod is not ready, from what Kubernetes 1.36 says of it."""

from typing import Any

import pytest

from bedside.kube.rollout import causes
from bedside.kube.rollout.causes import FOREVER, Why
from bedside.kube.rollout.picture import Sources, draw


def _pod(state: Any = None, last: Any = None, restarts: int = 0, **status: Any) -> dict[str, Any]:
    container = {
        "name": "model",
        "restartCount": restarts,
        "ready": False,
        "state": state or {},
        "lastState": last or {},
    }
    return {"metadata": {"name": "p", "uid": "u"}, "status": {"containerStatuses": [container], **status}}


def _waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    return _pod({"waiting": {"reason": reason, "message": message}}, **more)


def _ended(code: int, message: str = "", reason: str = "Error", restarts: int = 1) -> dict[str, Any]:
    last = {"terminated": {"exitCode": code, "reason": reason, "message": message}}
    return _waiting("CrashLoopBackOff", "back-off 10s", last=last, restarts=restarts)


def _init(pod: dict[str, Any], *, ready: bool = False) -> dict[str, Any]:
    """``pod`` while what is said of its container is true of its init container, and the container waits."""
    (first,) = pod["status"]["containerStatuses"]
    waiting = _waiting("PodInitializing")["status"]["containerStatuses"]
    status = {"initContainerStatuses": [{**first, "name": "fetch", "ready": ready}], "containerStatuses": waiting}
    return {**pod, "status": {**pod["status"], **status}}


def _event(reason: str, message: str) -> dict[str, Any]:
    return {"reason": reason, "message": message, "involvedObject": {"uid": "u"}}


FAILED = '{"level":"info"}\n{"level":"error","event":"failed","reason":"%s","exit_code":2}\n{"event":"stopped"}'
NO_NODE = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available: 3 Insufficient cpu."}
NO_CLAIM = {**NO_NODE, "message": 'persistentvolumeclaim "icu-audit" not found'}
GPU = [_event("Killing", "Container model failed startup probe, will be restarted")]


@pytest.mark.parametrize(
    ("pod", "events", "said", "why", "text", "patience"),
    [
        (_waiting("ImagePullBackOff", "manifest unknown"), [], "", Why.IMAGE_PULL, "manifest unknown", 30),
        (_waiting("ErrImagePull", "dial tcp: timeout"), [], "", Why.IMAGE_PULL, "timeout", 120),
        (_waiting("ImagePullBackOff"), [_event("Failed", "unauthorized")], "", Why.IMAGE_PULL, "unauthorized", 30),
        (_waiting("InvalidImageName", "x"), [], "", Why.IMAGE_NAME, "cannot be named", 0),
        (_waiting("CreateContainerConfigError", 'secret "s" not found'), [], "", Why.CONFIGURATION, "secret", 90),
        (
            _waiting("ContainerCreating"),
            [_event("FailedMount", 'secret "keys" not found')],
            "",
            Why.VOLUME,
            "keys",
            120,
        ),
        (_waiting("ContainerCreating"), [], "", Why.STARTING, "starting", FOREVER),
        (_ended(1, "Traceback\nImportError: libgomp"), [], "", Why.CRASH, "exit code 1): ImportError", 120),
        (_ended(1, restarts=3), [], "", Why.CRASH, "exit code 1", 0),
        (_ended(137), [], "", Why.CRASH, "probe found no answer", 120),
        (_ended(137, reason="OOMKilled"), [], "", Why.OUT_OF_MEMORY, "more memory", 0),
        (_ended(3), [], "", Why.UNVALIDATED, "not what was validated", 0),
        (_ended(2, FAILED % "audit-key-invalid"), [], "", Why.AUDIT_LOG, "audit-key-invalid", 120),
        (_ended(2), [], "audit-key-invalid", Why.AUDIT_LOG, "it ended with 2", 120),
        (_ended(3, FAILED % "golden-mismatch"), [], "", Why.GOLDEN_MISMATCH, "golden-mismatch", 0),
        (_ended(3, FAILED % "integrity"), [], "verifying", Why.UNVALIDATED, "integrity", 0),
        (_pod({"running": {}}, restarts=1), GPU, "loading", Why.SLOW_START, "failed startup probe", FOREVER),
        (_pod({"running": {}}, restarts=3), GPU, "loading", Why.SLOW_START, "3 times", 0),
        (_pod({"running": {}}), [], "loading", Why.STARTING, "loading", FOREVER),
        (_pod({"running": {}}), [], "golden-mismatch", Why.GOLDEN_MISMATCH, "on this node", 0),
        (_pod({"running": {}}), [], "environment-mismatch", Why.UNVALIDATED, "environment-mismatch", 0),
        (_pod({"running": {}}), [], "recorder-unavailable", Why.AUDIT_LOG, "takes no records", 120),
        (_pod({"running": {}}), [], "predict-loop-stalled", Why.NOT_READY, "predict-loop-stalled", FOREVER),
        (_init(_pod({"running": {}})), [], "", Why.STARTING, "starting", FOREVER),
        (_init(_ended(3, FAILED % "artifact-mismatch")), [], "", Why.UNVALIDATED, "artifact-mismatch", 0),
        (_init(_ended(3, FAILED % "signature-invalid")), [], "", Why.UNVALIDATED, "signature-invalid", 0),
        (_init(_ended(4, FAILED % "storage-refused")), [], "", Why.MODEL_STORE, "cannot be fetched", 120),
        (_init(_ended(4, FAILED % "storage-unavailable")), [], "", Why.MODEL_STORE, "it ended with 4", 120),
        (_init(_ended(2, FAILED % "static-credentials")), [], "", Why.MODEL_STORE, "static-credentials", 0),
        (_init(_ended(0), ready=True), [], "", Why.STARTING, "starting", FOREVER),
        (_pod(conditions=[NO_NODE]), [], "", Why.UNSCHEDULABLE, "Insufficient cpu", FOREVER),
        (_pod(conditions=[NO_CLAIM]), [], "", Why.CLAIM, "icu-audit", FOREVER),
        (_pod(reason="Evicted", message="The node was low on memory", phase="Failed"), [], "", Why.EVICTED, "low", 300),
    ],
)
def test_each_state_is_told_in_plain_words(
    pod: dict[str, Any], events: list[Any], said: str, why: Why, text: str, patience: float
) -> None:
    cause = causes.of_pod(pod, events, said)
    assert cause is not None
    assert (cause.why, cause.patience) == (why, patience)
    assert text in cause.text
    assert cause.remedy or cause.why is Why.STARTING


def test_a_pod_that_is_ready_has_no_cause() -> None:
    assert causes.of_pod(_pod({"running": {}}, conditions=[{"type": "Ready", "status": "True"}]), [], "") is None


def test_why_no_pod_is_made() -> None:
    assert causes.of_creation('pods "x" is forbidden: exceeded quota: pods').why is Why.QUOTA
    assert causes.of_creation('violates PodSecurity "restricted:latest"').why is Why.ADMISSION


DEPLOYMENT: dict[str, Any] = {
    "metadata": {"name": "icu", "uid": "d", "generation": 2, "annotations": {"deployment.kubernetes.io/revision": "1"}},
    "spec": {"replicas": 1, "template": {"metadata": {"labels": {"model-version": "2"}, "annotations": {}}}},
    "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1},
}
SET = {
    "metadata": {
        "uid": "r",
        "labels": {"pod-template-hash": "h"},
        "annotations": {"deployment.kubernetes.io/revision": "1"},
        "ownerReferences": [{"uid": "d"}],
    }
}
READY = {
    "metadata": {"name": "p", "uid": "u", "labels": {"pod-template-hash": "h"}},
    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
}


def test_until_the_controller_has_seen_the_new_template_no_pod_is_new() -> None:
    """The newest ReplicaSet is the old one then; asking its pods as the new release would call them unproven."""
    picture = draw(Sources(DEPLOYMENT, [SET], [READY]))
    assert (picture.seen, picture.new, picture.settled) == (False, (), False)
    seen = {**DEPLOYMENT, "status": {**DEPLOYMENT["status"], "observedGeneration": 2}}
    picture = draw(Sources(seen, [SET], [READY]))
    assert (picture.seen, len(picture.new), picture.settled) == (True, 1, True)


def test_fewer_than_the_autoscaler_s_least_is_not_whole() -> None:
    seen = {**DEPLOYMENT, "status": {**DEPLOYMENT["status"], "observedGeneration": 2}}
    assert not draw(Sources(seen, [SET], [READY]), fewest=3).settled

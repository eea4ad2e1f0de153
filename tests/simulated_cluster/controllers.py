"""What moves by itself: autoscaler, Deployment, ReplicaSet, garbage collection, the kubelets of three nodes."""

import copy
import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.simulated_cluster.faults import Faults, PodFault
from tests.simulated_cluster.store import Store

DEPLOYMENTS, REPLICA_SETS, PODS, EVENTS = "apps/v1/deployments", "apps/v1/replicasets", "v1/pods", "v1/events"
AUTOSCALERS = "autoscaling/v2/horizontalpodautoscalers"
REVISION = "deployment.kubernetes.io/revision"
HASH = "pod-template-hash"
NODES = ("node-a", "node-b", "node-c")

LOAD = 3.0
"""Seconds from the start of a container to a ready model."""


@dataclass
class Life:
    """One pod, as its kubelet knows it."""

    born: float
    node: str
    started: float | None = None
    ready_since: float | None = None
    restarts: int = 0
    leaving: float | None = None
    run: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass
class Controllers:
    """All of them; ``tick`` moves everything one step."""

    store: Store
    faults: Faults
    lives: dict[str, Life] = field(default_factory=dict)
    progress: dict[str, tuple[Any, float]] = field(default_factory=dict)
    placed: int = 0

    def tick(self, now: float) -> None:
        with self.store.lock:
            self._collect()
            for scaler in self.store.all(AUTOSCALERS):
                self._scale(scaler)
            for deployment in self.store.all(DEPLOYMENTS):
                self._deployment(deployment, now)
            for replica_set in self.store.all(REPLICA_SETS):
                self._replica_set(replica_set, now)
            for pod in self.store.all(PODS):
                self._kubelet(pod, now)
            for deployment in self.store.all(DEPLOYMENTS):
                self._status(deployment, now)

    def fault(self, pod: Mapping[str, Any]) -> PodFault | None:
        metadata = pod["metadata"]
        version, node = metadata["labels"].get("model-version", ""), self.lives[metadata["uid"]].node
        return next((fault for fault in self.faults.pods if fault.hits(version, node)), None)

    # -- autoscaler, garbage

    def _scale(self, scaler: dict[str, Any]) -> None:
        target = self.store.get(DEPLOYMENTS, scaler["metadata"]["namespace"], scaler["spec"]["scaleTargetRef"]["name"])
        least = scaler["spec"]["minReplicas"]
        if target is not None and 0 < target["spec"].get("replicas", 1) < least:
            self.store.update(DEPLOYMENTS, target, lambda item: item["spec"].update(replicas=least))

    def _collect(self) -> None:
        there = {item["metadata"]["uid"] for item in (*self.store.all(DEPLOYMENTS), *self.store.all(REPLICA_SETS))}
        for resource in (REPLICA_SETS, PODS):
            for item in self.store.all(resource):
                owners = item["metadata"].get("ownerReferences", ())
                if owners and all(owner["uid"] not in there for owner in owners):
                    self.store.delete(resource, item["metadata"]["namespace"], item["metadata"]["name"])

    # -- Deployment

    def _deployment(self, deployment: dict[str, Any], now: float) -> None:
        current = self._current(deployment)
        sets = self._sets(deployment)
        spec = deployment["spec"]
        wanted, rolling = spec["replicas"], spec["strategy"]["rollingUpdate"]
        old = [item for item in sets if item["metadata"]["uid"] != current["metadata"]["uid"]]
        total = sum(item["spec"]["replicas"] for item in sets)
        room = wanted + rolling["maxSurge"] - total
        missing = wanted - current["spec"]["replicas"]
        if missing > 0 and room > 0:
            self._resize(current, current["spec"]["replicas"] + min(missing, room))
        elif missing < 0:
            self._resize(current, wanted)
        spare = self._available(deployment, now) - (wanted - rolling["maxUnavailable"])
        for item in old:
            pods = self._pods(item)
            dead = sum(not _is_ready(pod) for pod in pods)
            take = min(item["spec"]["replicas"], dead + max(0, spare))
            if take:
                self._resize(item, item["spec"]["replicas"] - take)
                spare -= max(0, take - dead)

    def _current(self, deployment: dict[str, Any]) -> dict[str, Any]:
        """The ReplicaSet of the present template, made or taken up again with a new revision."""
        metadata = deployment["metadata"]
        digest = hashlib.sha256(json.dumps(deployment["spec"]["template"], sort_keys=True).encode()).hexdigest()[:9]
        sets = self._sets(deployment)
        newest = max((int(item["metadata"]["annotations"][REVISION]) for item in sets), default=0)
        found = next((item for item in sets if item["metadata"]["labels"][HASH] == digest), None)
        if found is None:
            found = self._new_set(deployment, digest, newest + 1)
        elif int(found["metadata"]["annotations"][REVISION]) < newest:
            self.store.update(
                REPLICA_SETS, found, lambda item: item["metadata"]["annotations"].update({REVISION: str(newest + 1)})
            )
        found = self.store.get(REPLICA_SETS, metadata["namespace"], found["metadata"]["name"])
        assert found is not None
        revision = found["metadata"]["annotations"][REVISION]
        self.store.update(
            DEPLOYMENTS,
            deployment,
            lambda item: item["metadata"].setdefault("annotations", {}).update({REVISION: revision}),
        )
        return found

    def _new_set(self, deployment: dict[str, Any], digest: str, revision: int) -> dict[str, Any]:
        template = copy.deepcopy(deployment["spec"]["template"])
        template["metadata"]["labels"][HASH] = digest
        metadata = deployment["metadata"]
        return self.store.put(
            REPLICA_SETS,
            {
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "metadata": {
                    "name": f"{metadata['name']}-{digest}",
                    "namespace": metadata["namespace"],
                    "labels": template["metadata"]["labels"],
                    "annotations": {REVISION: str(revision)},
                    "ownerReferences": [{"kind": "Deployment", "name": metadata["name"], "uid": metadata["uid"]}],
                },
                "spec": {"replicas": 0, "template": template},
                "status": {},
            },
        )

    def _resize(self, item: dict[str, Any], replicas: int) -> None:
        self.store.update(REPLICA_SETS, item, lambda changed: changed["spec"].update(replicas=replicas))

    def _sets(self, deployment: dict[str, Any]) -> list[dict[str, Any]]:
        return [item for item in self.store.all(REPLICA_SETS) if _owned(item, deployment)]

    def _pods(self, replica_set: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            pod
            for pod in self.store.all(PODS)
            if _owned(pod, replica_set) and "deletionTimestamp" not in pod["metadata"]
        ]

    def _available(self, deployment: dict[str, Any], now: float) -> int:
        return sum(
            self._is_available(pod, deployment, now) for item in self._sets(deployment) for pod in self._pods(item)
        )

    def _is_available(self, pod: dict[str, Any], deployment: dict[str, Any], now: float) -> bool:
        since = self.lives[pod["metadata"]["uid"]].ready_since
        return _is_ready(pod) and since is not None and now - since >= deployment["spec"].get("minReadySeconds", 0)

    def _status(self, deployment: dict[str, Any], now: float) -> None:
        metadata = deployment["metadata"]
        there = self.store.get(DEPLOYMENTS, metadata["namespace"], metadata["name"])
        if there is None:
            return
        current = self._current(there)
        sets = self._sets(there)
        pods = [pod for item in sets for pod in self._pods(item)]
        status = {
            "observedGeneration": there["metadata"]["generation"],
            "replicas": len(pods),
            "updatedReplicas": len(self._pods(current)),
            "readyReplicas": sum(map(_is_ready, pods)),
            "availableReplicas": self._available(there, now),
        }
        conditions = [item for item in (current.get("status") or {}).get("conditions", ()) if item["status"] == "True"]
        status["conditions"] = [*conditions, self._progressing(there, status, now)]  # type: ignore[assignment]
        self.store.update(DEPLOYMENTS, there, lambda item: item.update(status=status))

    def _progressing(self, deployment: dict[str, Any], status: Mapping[str, Any], now: float) -> dict[str, str]:
        uid = deployment["metadata"]["uid"]
        state, since = self.progress.get(uid, (None, now))
        if state != dict(status):
            state, since = dict(status), now
        self.progress[uid] = state, since
        whole = status["availableReplicas"] == status["updatedReplicas"] == deployment["spec"]["replicas"]
        if not whole and now - since > deployment["spec"]["progressDeadlineSeconds"]:
            return {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
        return {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}

    # -- ReplicaSet

    def _replica_set(self, item: dict[str, Any], now: float) -> None:
        pods, wanted = self._pods(item), item["spec"]["replicas"]
        for pod in sorted(pods, key=_is_ready)[: max(0, len(pods) - wanted)]:
            self.lives[pod["metadata"]["uid"]].leaving = now
            self.store.update(PODS, pod, lambda gone: gone["metadata"].update(deletionTimestamp=_stamp()))
        refusal = ""
        for _ in range(wanted - len(pods)):
            refusal = refusal or self._refusal(item)
            if not refusal:
                self._new_pod(item, now)
        failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": refusal}
        self.store.update(
            REPLICA_SETS, item, lambda changed: changed.update(status={"conditions": [failure] if refusal else []})
        )

    def _refusal(self, item: dict[str, Any]) -> str:
        name, namespace = f"{item['metadata']['name']}-", item["metadata"]["namespace"]
        if self.faults.webhook:
            return f'admission webhook "policy.example.org" denied the request: {self.faults.webhook}'
        most = self.faults.most_pods
        if most is not None and len(self.store.all(PODS, namespace)) >= most:
            said = f"requested: pods=1, used: pods={most}, limited: pods={most}"
            return f'pods "{name}" is forbidden: exceeded quota: pods, {said}'
        return ""

    def _new_pod(self, item: dict[str, Any], now: float) -> None:
        template, metadata = copy.deepcopy(item["spec"]["template"]), item["metadata"]
        pod = self.store.put(
            PODS,
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    **template["metadata"],
                    "name": f"{metadata['name']}-{uuid.uuid4().hex[:5]}",
                    "namespace": metadata["namespace"],
                    "ownerReferences": [{"kind": "ReplicaSet", "name": metadata["name"], "uid": metadata["uid"]}],
                },
                "spec": template["spec"],
                "status": {"phase": "Pending"},
            },
        )
        self.placed += 1
        self.lives[pod["metadata"]["uid"]] = Life(now, NODES[self.placed % len(NODES)])

    # -- kubelets

    def _kubelet(self, pod: dict[str, Any], now: float) -> None:
        life = self.lives[pod["metadata"]["uid"]]
        if life.leaving is not None:
            if now - life.leaving > 1:
                self.store.delete(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])
            return
        status = self._pod_status(pod, life, now)
        node = "" if status["phase"] == "Pending" and "containerStatuses" not in status else life.node

        def change(item: dict[str, Any]) -> None:
            item["status"] = status
            if node:
                item["spec"]["nodeName"] = node

        self.store.update(PODS, pod, change)

    def _pod_status(self, pod: dict[str, Any], life: Life, now: float) -> dict[str, Any]:
        what = fault.what if (fault := self.fault(pod)) else ""
        if what in ("fits no node", "finds no volume"):
            text = {
                "fits no node": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
                "finds no volume": "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
            }[what]
            condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": text}
            return {"phase": "Pending", "conditions": [condition]}
        if what == "image cannot be pulled":
            waiting = {
                "reason": "ImagePullBackOff",
                "message": f'Back-off pulling image "{pod["spec"]["containers"][0]["image"]}": manifest unknown',
            }
            return _waiting(waiting, "")
        if what == "finds no secret":
            self._event(pod, "FailedMount", 'MountVolume.SetUp failed for volume "audit-keys": secret "x" not found')
            return _waiting({"reason": "ContainerCreating"}, "")
        if life.started is None:
            if now - life.born < 1:
                return _waiting({"reason": "ContainerCreating"}, "")
            life.started = now
        return self._running(life, what, now)

    def _running(self, life: Life, what: str, now: float) -> dict[str, Any]:
        assert life.started is not None
        age = now - life.started
        if what in ("crashes", "runs out of memory") and age > 1:
            life.restarts += 1
            life.started, life.run, life.ready_since = now, uuid.uuid4().hex, None
        last: dict[str, Any] = {}
        if what == "crashes" and life.restarts:
            last = {"terminated": {"exitCode": 1, "message": '{"code": "library-missing"}\nit has no libgomp'}}
        if what == "runs out of memory" and life.restarts:
            last = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
        if last:
            waiting = {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}
            return _waiting(waiting, life.run, life.restarts, last)
        stuck = what in ("fails its golden replay", "never gets ready", "is not what was validated")
        ready = age > LOAD and not stuck
        if what == "loses readiness again and again":
            ready = ready and int(age) % 4 < 2
        life.ready_since = (life.ready_since or now) if ready else None
        container = {"name": "model", "containerID": f"containerd://{life.run}", "restartCount": life.restarts}
        return {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": [{**container, "ready": ready, "state": {"running": {}}}],
        }

    def _event(self, pod: dict[str, Any], reason: str, message: str) -> None:
        metadata = pod["metadata"]
        name = f"{metadata['name']}.{reason.lower()}"
        if self.store.get(EVENTS, metadata["namespace"], name) is None:
            self.store.put(
                EVENTS,
                {
                    "apiVersion": "v1",
                    "kind": "Event",
                    "metadata": {"name": name, "namespace": metadata["namespace"]},
                    "involvedObject": {"kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]},
                    "reason": reason,
                    "message": message,
                    "lastTimestamp": _stamp(),
                },
            )


def _waiting(
    waiting: dict[str, Any], run: str, restarts: int = 0, last: dict[str, Any] | None = None
) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": "model",
        "restartCount": restarts,
        "ready": False,
        "state": {"waiting": waiting},
    }
    if run:
        container["containerID"] = f"containerd://{run}"
    if last:
        container["lastState"] = last
    return {
        "phase": "Pending",
        "conditions": [{"type": "Ready", "status": "False"}],
        "containerStatuses": [container],
    }


def _owned(item: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    return any(found["uid"] == owner["metadata"]["uid"] for found in item["metadata"].get("ownerReferences", ()))


def _is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = (pod.get("status") or {}).get("conditions", ())
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

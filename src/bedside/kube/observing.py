"""One look at a model in a cluster, without waiting for anything."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bedside.errors import ClusterFailed
from bedside.kube import applying, asking, differences
from bedside.kube.cluster import requests
from bedside.kube.cluster.kinds import AUTOSCALER, DEPLOYMENT, EVENT, LEASE, POD, REPLICA_SET, Kind, Named, named
from bedside.kube.cluster.session import Session
from bedside.kube.differences import Difference
from bedside.kube.records import Record
from bedside.kube.rollout.picture import Picture, Pod, Sources, draw


@dataclass(frozen=True, slots=True)
class Scaling:
    """What the autoscaler says: bounds, how many there are and how many it wants, and what keeps it from scaling."""

    least: int
    most: int
    current: int
    desired: int
    trouble: str = ""


def look(session: Session, namespace: str, name: str) -> Picture:
    """Return the picture of a Deployment as it is now, with the reasons of pods that are not ready."""
    deployment = session.find(requests.get(Named(DEPLOYMENT, namespace, name)))
    if deployment is None:
        return Picture()
    labels = deployment["spec"]["selector"]["matchLabels"]
    pods = _all(session, POD, namespace, labels)
    sets, events = _all(session, REPLICA_SET, namespace, labels), _all(session, EVENT, namespace, None)
    first = draw(Sources(deployment, sets, pods, events))
    said = {pod.uid: _reason(session, namespace, pod) for pod in first.pods if pod.running and not pod.ready}
    return draw(Sources(deployment, sets, pods, events, said))


def scaling(session: Session, namespace: str, name: str) -> Scaling | None:
    """Return what the autoscaler of a Deployment says, ``None`` where there is none."""
    found = session.find(requests.get(Named(AUTOSCALER, namespace, name)))
    if found is None:
        return None
    spec, status = found["spec"], found.get("status") or {}
    trouble = next(
        (
            str(item.get("message", ""))
            for item in status.get("conditions") or ()
            if item.get("type") in ("AbleToScale", "ScalingActive") and item.get("status") == "False"
        ),
        "",
    )
    current = int(status.get("currentReplicas", 0))
    return Scaling(
        int(spec.get("minReplicas", 1)),
        int(spec["maxReplicas"]),
        current,
        int(status.get("desiredReplicas", 0)),
        trouble,
    )


def drift(session: Session, record: Record) -> tuple[Difference, ...]:
    """Return how the cluster differs from the manifests of ``record``: what an apply of them would change.

    Raises:
        ClusterDenied: This account may not try an apply.
    """
    found = (_drift(session, item) for item in record.objects)
    return tuple(item for item in found if not item.is_empty)


def _drift(session: Session, item: Mapping[str, Any]) -> Difference:
    what = named(item)
    there = session.find(requests.get(what))
    if there is None:
        return Difference(what.title, is_gone=True)
    after = session.send(requests.apply(item, dry_run=True, force=True)).value
    return differences.compare(what.title, there, after)


def deploying(session: Session, namespace: str, name: str) -> str:
    """Return who holds the lock on deployments; empty where nobody does."""
    found = session.find(requests.get(Named(LEASE, namespace, f"{name}-deploy"))) or {}
    return str((found.get("spec") or {}).get("holderIdentity") or "")


def is_ours(session: Session, namespace: str, name: str) -> bool:
    """Whether a Deployment of this name is there that bedside made."""
    found = session.find(requests.get(Named(DEPLOYMENT, namespace, name)))
    return found is not None and applying.is_ours(found)


def _all(session: Session, kind: Kind, namespace: str, labels: Mapping[str, str] | None) -> list[dict[str, Any]]:
    return list(session.send(requests.listing(kind, namespace, labels)).value.get("items") or ())


def _reason(session: Session, namespace: str, pod: Pod) -> str:
    """What a pod says of itself; nothing where it does not listen, or this account may not ask."""
    try:
        return asking.reason(session, namespace, pod.name)
    except ClusterFailed:
        return ""

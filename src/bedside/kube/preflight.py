"""Asked before anything is applied: whether the cluster knows every kind, and whether this account may do all of it."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from bedside.errors import ClusterDenied, GateRefused
from bedside.findings import Finding, Severity
from bedside.kube.cluster import requests
from bedside.kube.cluster.kinds import DEPLOYMENT, EVENT, KEPT, LEASE, NAMESPACE, POD, REPLICA_SET, SECRET, Kind, named
from bedside.kube.cluster.requests import Right
from bedside.kube.cluster.session import Session

_OLDEST: Final = (1, 30)
"""The first Kubernetes that knows every field: preStop sleep, unhealthyPodEvictionPolicy, matchLabelKeys."""

_ENFORCE: Final = "pod-security.kubernetes.io/enforce"
_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Cleared:
    """What may be applied.

    Attributes:
        version: Of the cluster, ``v1.36.2``.
        by: Who the API server takes this account for.
        objects: Those to apply; without the Namespace where it is there and another account's.
        note: What was left out, and why; empty where nothing was.
    """

    version: str
    by: str
    objects: tuple[Mapping[str, Any], ...]
    note: str = ""


def examine(session: Session, objects: Sequence[Mapping[str, Any]], namespace: str) -> Cleared:
    """Look at the cluster, and change nothing.

    Raises:
        GateRefused: It is too old, or does not know a kind.
        ClusterDenied: This account lacks rights; one finding each.
    """
    version = session.send(requests.version()).value
    _refuse_old(version, session.access.context)
    kinds = tuple(dict.fromkeys(named(item).kind for item in objects))
    _refuse_unknown(session, kinds)
    kept, note = _namespace(session, objects, namespace)
    _refuse_without(session, tuple(_rights(dict.fromkeys(named(item).kind for item in kept), namespace)), namespace)
    return Cleared(str(version.get("gitVersion", "?")), _who(session), kept, note)


def may(session: Session, right: Right) -> bool:
    """Whether this account has a right."""
    review = session.send(requests.may(right)).value
    return bool((review.get("status") or {}).get("allowed"))


def _refuse_old(version: Mapping[str, Any], context: str) -> None:
    digits = ["".join(filter(str.isdigit, str(version.get(part, "")))) for part in ("major", "minor")]
    if all(digits) and (int(digits[0]), int(digits[1])) < _OLDEST:
        raise GateRefused(
            f"{context} runs Kubernetes {digits[0]}.{digits[1]}, which does not know all that the manifests say",
            remedy=f"Use Kubernetes {_OLDEST[0]}.{_OLDEST[1]} or later.",
        )


def _refuse_unknown(session: Session, kinds: Sequence[Kind]) -> None:
    unknown = []
    for root in dict.fromkeys(kind.root for kind in kinds):
        listed = (session.find(requests.resources(root)) or {}).get("resources") or ()
        names = {item.get("kind") for item in listed}
        unknown += [kind for kind in kinds if kind.root == root and kind.name not in names]
    if unknown:
        named = ", ".join(f"{kind.name} ({kind.api_version})" for kind in unknown)
        raise GateRefused(
            f"{session.access.context} does not know {named}",
            remedy=" ".join(dict.fromkeys(map(_remedy, unknown))),
        )


def _remedy(kind: Kind) -> str:
    switch = {
        "HTTPRoute": 'write [deploy] exposure = "ingress" or "none"',
        "BackendTLSPolicy": "leave [deploy] tls out",
        "ExternalSecret": "leave [deploy.secrets.store] out and make the Secret yourself",
        "PodMonitor": "write [deploy.monitoring] enabled = false",
        "PrometheusRule": "write [deploy.monitoring] enabled = false",
        "PeerAuthentication": 'write [deploy] mesh = "none"',
        "AuthorizationPolicy": 'write [deploy] mesh = "none"',
    }.get(kind.name, "use a newer cluster")
    return f"Have {kind.made_by} installed, or {switch}." if kind.made_by else f"{switch.capitalize()}."


def _namespace(
    session: Session, objects: Sequence[Mapping[str, Any]], name: str
) -> tuple[tuple[Mapping[str, Any], ...], str]:
    """Leave the Namespace out where it is there already and belongs to another account, if it is as it must be."""
    own = next((item for item in objects if item["kind"] == NAMESPACE.name), None)
    if own is None or may(session, Right("patch", NAMESPACE, None)):
        return tuple(objects), ""
    there = (
        session.find(requests.get(requests.namespace_of(name))) if may(session, Right("get", NAMESPACE, name)) else None
    )
    if there is None:
        raise ClusterDenied(
            f"this account may not make the namespace {name}, and sees none of that name",
            remedy=f"Have it made: `bedside manifests` writes namespace.yaml; and have rights given in {name}.",
        )
    wanted, found = own["metadata"]["labels"], there["metadata"].get("labels") or {}
    if found.get(_ENFORCE) != wanted[_ENFORCE]:
        raise GateRefused(
            f"the namespace {name} does not enforce Pod Security {wanted[_ENFORCE]}, and this account may not label it",
            remedy=f"Have the label {_ENFORCE}={wanted[_ENFORCE]} set.",
        )
    kept = tuple(item for item in objects if item["kind"] != NAMESPACE.name)
    return kept, f"the namespace {name} is there and another account's: it is left as it is"


def _rights(kinds: Mapping[Kind, None], namespace: str) -> Iterator[Right]:
    for kind in kinds:
        where = namespace if kind.namespaced else None
        for verb in ("get", "create", "patch", *(() if kind.name in KEPT else ("delete",))):
            yield Right(verb, kind, where)
    for kind, verbs in (
        (DEPLOYMENT, ("list", "watch")),
        (REPLICA_SET, ("list", "watch")),
        (POD, ("list", "watch")),
        (EVENT, ("list", "watch")),
        (SECRET, ("get", "list", "create", "patch", "delete")),
        (LEASE, ("get", "create", "update")),
    ):
        yield from (Right(verb, kind, namespace) for verb in verbs)
    for verb in ("get", "create"):  # which of the two a WebSocket needs changed between versions of Kubernetes
        yield Right(verb, POD, namespace, "portforward")


def _refuse_without(session: Session, rights: Sequence[Right], namespace: str) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        allowed = list(pool.map(lambda right: may(session, right), rights))
    lacking = [right for right, has in zip(rights, allowed, strict=True) if not has]
    if not lacking:
        return
    findings = [
        Finding(rule="BED-CLUSTER-001", severity=Severity.OPERATIONS, message=f"may not {right.title}")
        for right in lacking
    ]
    raise ClusterDenied(
        f"this account lacks {len(lacking)} right(s) in namespace {namespace} of {session.access.context}",
        remedy="Have a Role with them bound to this account, or choose another one with --context.",
        findings=findings,
    )


def _who(session: Session) -> str:
    answer = session.find(requests.who()) or {}
    return str(((answer.get("status") or {}).get("userInfo") or {}).get("username", ""))

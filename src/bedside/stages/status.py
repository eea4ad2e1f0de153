"""`bedside status` and `bedside verify --cluster`: what runs, and whether it is what its manifests name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bedside.errors import ClusterDenied, ClusterFailed, UsageError, VerificationFailed
from bedside.findings import Finding, Severity
from bedside.kube import asking, history, observing, records
from bedside.kube.asking import Caller, Expected
from bedside.kube.cluster.session import Session
from bedside.kube.differences import Difference
from bedside.kube.observing import Scaling
from bedside.kube.records import Record
from bedside.kube.rollout.picture import Picture, Pod

_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Status:
    """A model in a namespace.

    Attributes:
        name: Of the model.
        namespace: Where.
        records: What was deployed, oldest first.
        good: The last that was proven.
        picture: The Deployment and its pods now.
        scaling: What the autoscaler says.
        drift: How the cluster differs from the manifests of ``good``; ``None`` where it could not be looked at.
        unseen: Why not.
        holder: Who deploys at this moment.
    """

    name: str
    namespace: str
    records: tuple[Record, ...]
    good: Record | None
    picture: Picture
    scaling: Scaling | None
    drift: tuple[Difference, ...] | None
    unseen: str
    holder: str

    @property
    def is_well(self) -> bool:
        """Whether the last good release runs alone, every pod is ready and nothing differs."""
        right = self.good is not None and self.picture.release == self.good.digest
        return right and self.picture.settled and not self.drift and not self.unseen


def status(session: Session, name: str, namespace: str) -> Status:
    """Look at a model in a cluster. Nothing is changed.

    Raises:
        UsageError: Nothing of this name is there.
        ClusterFailed: The cluster does not answer, or does not let this account look.
    """
    found = history.read(session, namespace, name)
    picture = observing.look(session, namespace, name)
    if not found and not picture.pods and not picture.seen:
        raise _nothing(name, namespace)
    good = records.last_good(found)
    drift, unseen = _drift(session, good)
    return Status(
        name=name,
        namespace=namespace,
        records=found,
        good=good,
        picture=picture,
        scaling=observing.scaling(session, namespace, name),
        drift=drift,
        unseen=unseen,
        holder=observing.deploying(session, namespace, name),
    )


def _drift(session: Session, good: Record | None) -> tuple[tuple[Difference, ...] | None, str]:
    if good is None:
        return None, "no release was proven here yet"
    try:
        return observing.drift(session, good), ""
    except ClusterDenied as error:
        return None, str(error)


def _nothing(name: str, namespace: str) -> UsageError:
    return UsageError(
        f"nothing called {name} was deployed to the namespace {namespace}",
        remedy="Name the namespace of [deploy] with --namespace, and the cluster with --context.",
    )


@dataclass(frozen=True, slots=True)
class Served:
    """A pod that proved which release it serves, and the case that it answered."""

    pod: Pod
    case: str


def verify_cluster(
    session: Session,
    name: str,
    namespace: str,
    caller: Caller,
    *,
    wanted: Expected | None = None,
    on_pod: Callable[[str], None] = lambda _: None,
) -> tuple[Served, ...]:
    """Prove that every running pod serves the release that its manifest names.

    Args:
        session: The cluster.
        name: Of the model.
        namespace: Where.
        caller: Who asks the pods.
        wanted: The release that all of them must serve; by default that which the Deployment names.
        on_pod: Told which pod is asked.

    Raises:
        VerificationFailed: A pod serves anything else, or does not answer; one finding each.
        UsageError: Nothing is there, or nothing says what its pods must answer.
    """
    # 1. The Deployment names a release; where one was asked for, it is that one.
    # 2. A record, or the release directory, says what its pods must answer.
    # 3. Every pod that runs names that release and its image, and answers a golden case as that release.
    found = history.read(session, namespace, name)
    picture = observing.look(session, namespace, name)
    running = [pod for pod in picture.pods if pod.running and not pod.leaving]
    if not picture.seen or not running:
        raise _nothing(name, namespace) if not picture.seen else _none_running(name)
    expected = {record.digest: record.expected for record in found}
    if wanted is not None:
        expected[wanted.digest] = wanted
    due = wanted.digest if wanted is not None else picture.release
    if due in expected:
        asking.check(expected[due], caller)
    served, findings = [], [*_template(picture, due)]
    for turn, pod in enumerate(running):
        on_pod(f"asking {pod.name}")
        verdict = _pod(session, namespace, pod, due, expected, caller, turn)
        if isinstance(verdict, Served):
            served.append(verdict)
        else:
            findings.append(_finding(pod.name, verdict))
    if findings:
        raise VerificationFailed(
            f"{len(findings)} of {len(running)} pods of {name} are not proven to serve {due[:19]}",
            remedy="`bedside status` shows each pod; `bedside rollback` brings the last good release back.",
            findings=findings,
        )
    return tuple(served)


def _template(picture: Picture, due: str) -> Sequence[Finding]:
    if picture.release == due:
        return ()
    return (_finding("Deployment", f"it names release {picture.release[:19] or 'none'}; {due[:19]} was asked for"),)


def _pod(
    session: Session,
    namespace: str,
    pod: Pod,
    due: str,
    expected: Mapping[str, Expected],
    caller: Caller,
    turn: int,
) -> Served | str:
    """The proof, or what is wrong."""
    if pod.release != due:
        return f"its manifest names release {pod.release[:19] or 'none'}, the Deployment {due[:19]}"
    if not pod.image or not pod.runs.endswith(f"@{pod.image}"):
        return f"it runs the image {pod.runs[-80:]}, and its manifest names {pod.image[:19] or 'none'}"
    known = expected.get(due)
    if known is None:
        return "no record says what it must answer; name the release directory as TARGET"
    if not pod.ready:
        return f"it is not ready: {pod.cause.text if pod.cause else 'unknown'}"
    for attempt in range(_ATTEMPTS):
        try:
            verdict = asking.prove(session, namespace, pod.name, known, caller, turn)
        except ClusterFailed as error:
            if attempt + 1 == _ATTEMPTS:
                return f"it could not be asked: {error}"
            continue
        return Served(pod, verdict.case) if verdict.proven else verdict.why
    raise AssertionError("unreachable")


def _none_running(name: str) -> VerificationFailed:
    return VerificationFailed(f"no pod of {name} runs", remedy="`bedside status` says why.")


def _finding(place: str, message: str) -> Finding:
    return Finding(
        rule="BED-CLUSTER-002",
        severity=Severity.PATIENT_SAFETY,
        message=message,
        file=place,
        remedy="Look at that pod.",
    )

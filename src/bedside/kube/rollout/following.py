"""Following a rollout to its end: every new pod stays ready and answers a golden case, or the reason why not."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bedside.errors import (
    AdmissionRefused,
    BedsideError,
    ChangedMeanwhile,
    ClusterDenied,
    ClusterFailed,
    RolloutFailed,
    RolloutUnproven,
)
from bedside.kube import asking
from bedside.kube.asking import Caller, Expected
from bedside.kube.clock import Clock
from bedside.kube.cluster.kinds import DEPLOYMENT, EVENT, POD, REPLICA_SET
from bedside.kube.cluster.session import Session
from bedside.kube.cluster.watching import Observed, observing
from bedside.kube.rollout import causes
from bedside.kube.rollout.causes import Cause, Why
from bedside.kube.rollout.picture import Picture, Pod, Sources, draw

_ASK_AGAIN: Final = 4.0
"""Seconds between two questions to a pod that is not ready, or was too busy for its golden case."""

_LOOK: Final = 1.0
_UNREACHABLE: Final = 120.0
_FLAPS: Final = 5
"""How often a pod may lose its readiness."""


@dataclass(frozen=True, slots=True)
class Target:
    """Which rollout.

    Attributes:
        namespace: Where.
        name: Of the Deployment.
        selector: Labels of its pods.
        fewest: Pods below which it is not whole: the autoscaler's least.
        seconds: How long all of it may take.
    """

    namespace: str
    name: str
    selector: Mapping[str, str]
    fewest: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is.

    Attributes:
        picture: The Deployment and its pods.
        proven: Names of the pods that answered their golden case in their present run.
        lost: Why the cluster cannot be seen at the moment; empty while it can.
        seconds: Since the beginning.
    """

    picture: Picture
    proven: frozenset[str]
    lost: str
    seconds: float


def follow(
    session: Session,
    target: Target,
    expected: Expected,
    caller: Caller,
    clock: Clock,
    *,
    before_each: Callable[[], None] = lambda: None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Picture:
    """Return when every pod is of the release, has been ready for minReadySeconds and has answered a golden case.

    Args:
        session: The cluster.
        target: Which rollout.
        expected: What its pods must answer.
        caller: Who asks them.
        clock: Measures the time.
        before_each: Called again and again; may raise to stop.
        on_progress: Told how far it is.

    Raises:
        RolloutUnproven: A pod is not what was validated.
        AdmissionRefused: The cluster makes no pod: quota, policy.
        RolloutFailed: Any other reason, or time is up.
        ChangedMeanwhile: Somebody else changed the Deployment meanwhile.
    """
    selector = dict(target.selector)
    kinds: Sequence[tuple[Any, Any]] = ((DEPLOYMENT, selector), (REPLICA_SET, selector), (POD, selector), (EVENT, None))
    with observing(session, target.namespace, kinds) as observed:
        journey = _Journey(session, target, expected, caller, clock)
        while True:
            before_each()
            progress = journey.look(observed)
            on_progress(progress)
            if journey.arrived(progress):
                return progress.picture
            journey.judge(progress)
            observed.wait(clock.real(_LOOK))


@dataclass(slots=True)
class _Journey:
    """What is remembered between two looks."""

    session: Session
    target: Target
    expected: Expected
    caller: Caller
    clock: Clock
    began: float = 0.0
    proven: set[str] = field(default_factory=set)
    said: dict[str, str] = field(default_factory=dict)
    asked: dict[str, float] = field(default_factory=dict)
    silent: dict[str, tuple[float, str]] = field(default_factory=dict)
    since: dict[tuple[str, Why], float] = field(default_factory=dict)
    was_ready: set[str] = field(default_factory=set)
    flaps: dict[str, int] = field(default_factory=dict)
    turns: int = 0

    def __post_init__(self) -> None:
        self.began = self.clock.now()

    def look(self, observed: Observed) -> Progress:
        """Draw what is there, and ask the pods."""
        picture = self._draw(observed) if observed.filled else Picture()
        self._refuse_foreign(picture)
        for pod in picture.new:
            self._count_flaps(pod)
            if pod.ready:
                self._prove(pod)
            elif pod.running:
                self._ask_why(pod)
        proven = frozenset(pod.name for pod in picture.new if pod.run in self.proven)
        return Progress(picture, proven, observed.lost, self.clock.now() - self.began)

    def arrived(self, progress: Progress) -> bool:
        """Whether it is done, and proven."""
        picture = progress.picture
        return not progress.lost and picture.settled and all(pod.name in progress.proven for pod in picture.new)

    def judge(self, progress: Progress) -> None:
        """Raise where no waiting helps any more."""
        found = list(self._causes(progress.picture))
        current = {(key, cause.why) for key, _, cause in found}
        self.since = {key: self.since.get(key, self.clock.now()) for key in current}
        for key, pod, cause in found:
            if self.clock.now() - self.since[key, cause.why] >= cause.patience:
                told = self._late(progress) if cause.why is Why.DEADLINE else (cause, pod)
                raise failure(*told, progress)
        if progress.seconds > self.target.seconds:
            raise failure(*self._late(progress), progress)

    def _causes(self, picture: Picture) -> Sequence[tuple[str, Pod | None, Cause]]:
        pods = [(pod.uid, pod, self._cause(pod)) for pod in picture.new]
        found: list[tuple[str, Pod | None, Cause]] = [
            (uid, pod, cause) for uid, pod, cause in pods if cause is not None
        ]
        if picture.stalled is not None:
            found.append(("", None, picture.stalled))
        return found

    def _cause(self, pod: Pod) -> Cause | None:
        if self.flaps.get(pod.uid, 0) >= _FLAPS:
            last = pod.cause.text if pod.cause else "ready again"
            remedy = "Its log says why; look at its CPU limit and at the audit log's volume."
            return Cause(Why.FLAPPING, f"it lost its readiness {self.flaps[pod.uid]} times; now: {last}", remedy, 0)
        if pod.ready and pod.run in self.silent:
            _, why = self.silent[pod.run]
            remedy = "It is ready and cannot be asked: look at its node, and at the right to create pods/portforward."
            return Cause(Why.UNREACHABLE, f"its golden case cannot be asked: {why}", remedy, _UNREACHABLE)
        return pod.cause

    def _late(self, progress: Progress) -> tuple[Cause, Pod | None]:
        """The most telling cause when time is up."""
        if progress.lost:
            return Cause(Why.UNREACHABLE, progress.lost, "Run the command again when the cluster answers."), None
        found = list(self._causes(progress.picture))
        dull = (Why.STARTING, Why.DEADLINE)
        telling = [(cause, pod) for _, pod, cause in found if cause.why not in dull]
        if telling:
            return min(telling, key=lambda item: item[0].patience)
        if progress.picture.stalled is not None:
            return progress.picture.stalled, None
        text = f"not done after {self.target.seconds:.0f} s"
        return Cause(Why.DEADLINE, text, "Give it more with --timeout; `bedside status` shows each pod."), None

    def _draw(self, observed: Observed) -> Picture:
        deployments = {item["metadata"]["name"]: item for item in observed.items(DEPLOYMENT)}
        sources = Sources(
            deployments.get(self.target.name),
            observed.items(REPLICA_SET),
            observed.items(POD),
            observed.items(EVENT),
            self.said,
        )
        return draw(sources, self.target.fewest)

    def _refuse_foreign(self, picture: Picture) -> None:
        if picture.seen and picture.release != self.expected.digest:
            raise ChangedMeanwhile(
                f"somebody else changed the Deployment while it was followed: it is release {picture.release[:19]} now",
                remedy="Nothing was brought back. Look at `bedside status`, agree, and run the command again.",
            )

    def _count_flaps(self, pod: Pod) -> None:
        if pod.ready:
            self.was_ready.add(pod.uid)
        elif pod.uid in self.was_ready:
            self.was_ready.discard(pod.uid)
            self.flaps[pod.uid] = self.flaps.get(pod.uid, 0) + 1

    def _due(self, pod: Pod) -> bool:
        now = self.clock.now()
        if now - self.asked.get(pod.run, float("-inf")) < _ASK_AGAIN:
            return False
        self.asked[pod.run] = now
        return True

    def _prove(self, pod: Pod) -> None:
        """Ask a pod that is ready its golden case, once in each run of its container."""
        self.said.pop(pod.uid, None)
        if pod.run in self.proven or not self._due(pod):
            return
        self.turns += 1
        try:
            verdict = asking.prove(
                self.session, self.target.namespace, pod.name, self.expected, self.caller, self.turns - 1
            )
        except ClusterDenied:
            raise
        except ClusterFailed as error:
            since, _ = self.silent.get(pod.run, (self.clock.now(), ""))
            self.silent[pod.run] = since, str(error)
            return
        self.silent.pop(pod.run, None)
        if not verdict.proven:
            raise RolloutUnproven(
                f"{_place(pod)}: {verdict.why}",
                remedy="Look at that pod and its node before anything else; what runs there is not what was validated.",
            )
        self.proven.add(pod.run)

    def _ask_why(self, pod: Pod) -> None:
        """Ask a pod that runs and is not ready for its reason."""
        if not self._due(pod):
            return
        try:
            said = asking.reason(self.session, self.target.namespace, pod.name)
            if said not in causes.ON_THE_WAY or pod.uid not in self.said:  # after a restart, the failure tells more
                self.said[pod.uid] = said
        except ClusterFailed:  # a courtesy: the cluster's own signs decide, and what it said before
            return


def failure(cause: Cause, pod: Pod | None, progress: Progress) -> BedsideError:
    """Return the error that a cause ends a rollout with: its class says the exit code."""
    picture = progress.picture
    ready = sum(item.ready for item in picture.new)
    where = f"{_place(pod)}: " if pod is not None else ""
    text = f"{where}{cause.text} ({ready} of {picture.wanted} new pods ready)"
    match cause.why:
        case Why.GOLDEN_MISMATCH | Why.UNVALIDATED:
            return RolloutUnproven(text, remedy=cause.remedy)
        case Why.QUOTA | Why.ADMISSION:
            return AdmissionRefused(text, remedy=cause.remedy)
        case _:
            return RolloutFailed(text, remedy=cause.remedy)


def _place(pod: Pod) -> str:
    return f"{pod.name} on {pod.node}" if pod.node else pod.name

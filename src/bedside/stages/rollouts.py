"""Bringing manifests into a cluster, proven, or the last good ones back: what `deploy` and `rollback` share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from bedside.errors import BedsideError, ChangedMeanwhile, DeployRunning
from bedside.kube import applying, asking, history, lock, preflight, records
from bedside.kube.asking import NOBODY, Caller, Expected
from bedside.kube.clock import Clock
from bedside.kube.cluster import requests
from bedside.kube.cluster.kinds import AUTOSCALER, NAMESPACE, Named, named
from bedside.kube.cluster.session import Session
from bedside.kube.differences import Difference
from bedside.kube.lock import Lock, locked
from bedside.kube.records import Record, State
from bedside.kube.rollout.following import Progress, Target, follow
from bedside.kube.rollout.picture import Picture

_INTERRUPTED: Final = "interrupted before it was proven"


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where to deploy: a session with its API server, its clock, and how long a lock outlives its holder."""

    session: Session
    clock: Clock
    lease_seconds: float = lock.SECONDS


@dataclass(frozen=True, slots=True)
class Order:
    """What is to run.

    Attributes:
        name: Of the model.
        namespace: Where.
        version: Of the release.
        image: Reference by digest.
        objects: Every object as it is written.
        expected: What its pods must answer.
        rolled_back: Revision that is taken up again, where it is a rollback.
    """

    name: str
    namespace: str
    version: str
    image: str
    objects: tuple[Mapping[str, Any], ...]
    expected: Expected
    rolled_back: int | None = None


@dataclass(frozen=True, slots=True)
class Choices:
    """How.

    Attributes:
        caller: Who asks the pods.
        take_over: Take fields that other managers own.
        seconds: How long the rollout may take; computed from the manifests where left out.
    """

    caller: Caller = NOBODY
    take_over: bool = False
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told how it goes: steps, warnings of the cluster, notes, what would change, how far it is."""

    step: Callable[[str], None] = lambda _: None
    warning: Callable[[str], None] = lambda _: None
    note: Callable[[str], None] = lambda _: None
    difference: Callable[[Difference], None] = lambda _: None
    progress: Callable[[Progress], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Proven:
    """A release that runs, and whose every pod has answered a golden case.

    Attributes:
        record: As it was written down.
        picture: The pods.
        removed: Objects of the release before that this one does not name.
        differences: What was changed.
    """

    record: Record
    picture: Picture
    removed: tuple[Named, ...]
    differences: tuple[Difference, ...]


USUAL: Final = Choices()
SILENT: Final = Watch()


def roll_out(cluster: Cluster, order: Order, choices: Choices, watch: Watch) -> Proven:
    """Bring ``order`` into the cluster; when it cannot be proven there, bring the last good release back.

    Raises:
        GateRefused, ClusterFailed: Before anything was applied.
        RolloutFailed, RolloutUnproven, AdmissionRefused: It was not proven; the message says what runs now.
    """
    # 1. Ask the cluster, changing nothing: version, kinds, rights; have it judge every object; show the changes.
    # 2. Apply the Namespace and take the lock: one deployer at a time.
    # 3. Read the records; what an interrupted deploy left open is closed as failed.
    # 4. Write down what is about to be applied, as pending.
    # 5. Apply every object in order.
    # 6. Follow until every pod is ready for long enough and has answered a golden case.
    # 7. Take away what is no longer named, write down that it is good, and drop old records.
    # 8. Whatever fails after 4: apply the last good manifests again, follow them as well, write down the failure.
    session = cluster.session
    asking.check(order.expected, choices.caller)
    cleared, differences = look(cluster, order, choices, watch)  # 1
    _apply_namespace(session, cleared.objects)  # 2
    watch.step("taking the lock")
    with locked(
        session,
        order.namespace,
        order.name,
        cluster.clock,
        seconds=cluster.lease_seconds,
        on_wait=watch.note,
    ) as held:
        before = _closed(session, order, watch)  # 3
        record = _record(order, cleared, before, foreign=_foreign(session, order, before))
        attempt = _Attempt(cluster, record, order.expected, before, choices, watch, held)
        if attempt.is_there and all(item.is_empty for item in differences):
            return attempt.prove_again()
        held.check()
        history.begin(session, record)  # 4
        try:
            attempt.apply()  # 5
            picture = attempt.follow()  # 6
            return attempt.accept(picture, differences)  # 7
        except (DeployRunning, ChangedMeanwhile):
            raise
        except BedsideError as error:
            attempt.give_back(error)  # 8
            raise


def look(
    cluster: Cluster, order: Order, choices: Choices, watch: Watch
) -> tuple[preflight.Cleared, tuple[Difference, ...]]:
    """Ask the cluster what it would do with ``order``, and change nothing.

    Raises:
        GateRefused, ClusterFailed: It would not take it.
    """
    watch.step(f"asking {cluster.session.access.context}")
    cleared = preflight.examine(cluster.session, order.objects, order.namespace)
    if cleared.note:
        watch.note(cleared.note)
    watch.step("comparing with what is there")
    found = []
    for difference in applying.diff(
        cluster.session, cleared.objects, force=choices.take_over, on_warning=watch.warning
    ):
        watch.difference(difference)
        found.append(difference)
    return cleared, tuple(found)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One record on its way."""

    cluster: Cluster
    record: Record
    expected: Expected
    before: tuple[Record, ...]
    choices: Choices
    watch: Watch
    lock: Lock

    @property
    def good(self) -> Record | None:
        """What to return to."""
        return records.last_good(self.before)

    @property
    def is_there(self) -> bool:
        """Whether the same manifests were the last to be brought in, and were proven."""
        last = self.before[-1] if self.before else None
        return last is not None and last.state is State.GOOD and last.objects == self.record.objects

    def prove_again(self) -> Proven:
        """Ask the pods that are there; nothing is applied, so nothing is written down."""
        self.watch.note("nothing to change: asking the pods that are there")
        return Proven(self.before[-1], self._follow(self.record, self.expected, self.choices.seconds), (), ())

    def apply(self) -> None:
        """Apply every object of the record."""
        self._apply(self.record, force=self.choices.take_over)

    def follow(self) -> Picture:
        """Wait until every pod is proven."""
        return self._follow(self.record, self.expected, self.choices.seconds)

    def accept(self, picture: Picture, differences: tuple[Difference, ...]) -> Proven:
        """Make it the last good one."""
        session = self.cluster.session
        gone = applying.orphans(self.good.objects, self.record.objects) if self.good else ()
        removed = applying.remove(session, gone, self.lock.check)
        self.lock.check()
        history.judge(session, self.record, State.GOOD)
        done = replace(self.record, state=State.GOOD)
        history.prune(session, (*self.before, done))
        return Proven(done, picture, removed, differences)

    def give_back(self, error: BedsideError) -> None:
        """Bring the last good release back after ``error``, and say in an error of the same kind what runs now.

        Raises:
            BedsideError: Always.
        """
        try:
            outcome = self._return(error)
            history.judge(self.cluster.session, self.record, State.FAILED, str(error))
        except BedsideError as second:
            raise type(error)(
                f"{error}; and the last good release could not be brought back: {second}",
                remedy=f"{error.remedy} Run the command again as soon as the cluster answers, or `bedside rollback`.",
            ) from None
        raise type(error)(f"{error}; {outcome}", remedy=error.remedy) from None

    def _return(self, error: BedsideError) -> str:
        self.watch.note(f"not proven: {error}")
        good, session = self.good, self.cluster.session
        if good is None:
            return self._withdraw()
        if good.objects == self.record.objects:
            return f"the last good release, {good.title}, is this same one, so there is nothing to return to"
        self.watch.step(f"bringing back {good.title}")
        self._apply(good, force=True)
        applying.remove(session, applying.orphans(self.record.objects, good.objects), self.lock.check)
        self._follow(good, good.expected, None)
        return f"{good.title} is back, and proven"

    def _withdraw(self) -> str:
        """Nothing good was ever here: what is unproven must not answer either."""
        if self.record.foreign:
            return "its Deployment was there before bedside deployed it, and is left as it is now: look at it"
        what = named(applying.deployment(self.record.objects))
        applying.remove(self.cluster.session, (what,), self.lock.check)
        return "no earlier release is there to return to, so its Deployment was taken away: nothing unproven answers"

    def _apply(self, record: Record, *, force: bool) -> None:
        applying.apply(
            self.cluster.session,
            record.objects,
            force=force,
            before_each=self.lock.check,
            on_step=self.watch.step,
            on_warning=self.watch.warning,
        )

    def _follow(self, record: Record, expected: Expected, seconds: float | None) -> Picture:
        self.watch.step("waiting for the pods")
        return follow(
            self.cluster.session,
            target(record, seconds),
            expected,
            self.choices.caller,
            self.cluster.clock,
            before_each=self.lock.check,
            on_progress=self.watch.progress,
        )


def target(record: Record, seconds: float | None = None) -> Target:
    """Return which rollout a record makes, and how long it may take. Pure."""
    deployment = applying.deployment(record.objects)
    spec, autoscaler = deployment["spec"], record.find(AUTOSCALER.name)
    fewest = int(autoscaler["spec"]["minReplicas"]) if autoscaler else int(spec.get("replicas", 1))
    patience = float(spec["progressDeadlineSeconds"])
    return Target(
        namespace=record.namespace,
        name=deployment["metadata"]["name"],
        selector=spec["selector"]["matchLabels"],
        fewest=fewest,
        seconds=seconds or patience * max(2, fewest),
    )


def _apply_namespace(session: Session, objects: Sequence[Mapping[str, Any]]) -> None:
    applying.apply(session, [item for item in objects if item["kind"] == NAMESPACE.name])


def _foreign(session: Session, order: Order, before: Sequence[Record]) -> bool:
    """Whether a Deployment of this name was there that bedside did not make: now, or before it was taken over."""
    there = session.find(requests.get(named(applying.deployment(order.objects))))
    return any(record.foreign for record in before) or (there is not None and not applying.is_ours(there))


def _closed(session: Session, order: Order, watch: Watch) -> tuple[Record, ...]:
    """Every record; the lock is ours, so one that is pending belongs to nobody any more."""
    found = []
    for record in history.read(session, order.namespace, order.name):
        if record.state is State.PENDING:
            watch.note(f"{record.title} was {_INTERRUPTED}")
            history.judge(session, record, State.FAILED, _INTERRUPTED)
            record = replace(record, state=State.FAILED, why=_INTERRUPTED)
        found.append(record)
    return tuple(found)


def _record(order: Order, cleared: preflight.Cleared, before: Sequence[Record], *, foreign: bool) -> Record:
    return Record(
        revision=max((item.revision for item in before), default=0) + 1,
        name=order.name,
        namespace=order.namespace,
        version=order.version,
        image=order.image,
        time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        by=cleared.by,
        objects=cleared.objects,
        expected=records.keepable(order.expected),
        rolled_back=order.rolled_back,
        foreign=foreign,
    )

"""What the sentences of a scenario do, with the simulated cluster."""

import itertools
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from tests.kube import projects
from tests.simulated_cluster import pods
from tests.simulated_cluster.controllers import DEPLOYMENTS
from tests.simulated_cluster.faults import PodFault, What
from tests.simulated_cluster.server import Cluster as Simulated
from tests.simulated_cluster.server import Handler

from bedside.errors import BedsideError
from bedside.kube import history
from bedside.kube.asking import Caller
from bedside.kube.clock import Clock
from bedside.kube.cluster.access import Access
from bedside.kube.cluster.credentials import Wallet
from bedside.kube.cluster.session import Session
from bedside.kube.tree import objects
from bedside.process import Subprocess
from bedside.release.reading import open_release
from bedside.stages.deploy import expected
from bedside.stages.manifests import plans
from bedside.stages.rollback import rollback
from bedside.stages.rollouts import Choices, Cluster, Order, Proven, Watch, look, roll_out
from bedside.stages.status import Status, status, verify_cluster

NAME, NAMESPACE = "icu-test", "icu"
CREDENTIAL = "a caller's own key"

DEPLOY = """
[deploy]
namespace = "icu"
exposure = "none"

[deploy.replicas]
min = 3
max = 6

[deploy.resources]
memory = "{memory}"
"""

CONTAINER = {"memory": ("resources", "limits", "memory"), "image": ("image",)}


LEASE = 2_000.0
"""Simulated seconds after which a lock counts as left: long enough for a busy machine to renew it."""


class Leaping(Clock):
    """Leaps where somebody sleeps, so that nobody waits for a lock that was left or a server that is busy."""

    leapt = 0.0

    def now(self) -> float:
        return super().now() + self.leapt

    def sleep(self, seconds: float) -> None:
        self.leapt += seconds
        super().sleep(min(seconds, 1.0))


@dataclass
class World:
    """One scenario in the making: the cluster, and how the last command ended."""

    cluster: Simulated
    directory: Path
    error: BedsideError | None = None
    done: Proven | None = None
    said: list[str] = field(default_factory=list)
    choices: Choices = field(default_factory=Choices)
    orders: dict[str, Order] = field(default_factory=dict)
    clock: type[Clock] = Leaping
    lease: float = LEASE
    counter: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    # -- what is there before

    def runs(self, version: str) -> None:
        self.deploy(version)
        self.ends_well()
        self.cluster.seen.clear()

    def foreign(self, version: str) -> None:
        order = self.order(version)
        for item in order.objects:
            if item["kind"] in ("Namespace", "Deployment"):
                kind = {"Namespace": "v1/namespaces", "Deployment": DEPLOYMENTS}[item["kind"]]
                made = json.loads(json.dumps(item))
                made["metadata"]["labels"].pop("app.kubernetes.io/managed-by")
                if item["kind"] == "Deployment":
                    made["spec"]["replicas"] = 3
                with self.cluster.store.lock:
                    stored = self.cluster.store.put(kind, made)
                    if item["kind"] == "Deployment":
                        container = '{"name": "model"}'
                        path = ("spec", "template", "spec", "containers", container, "image")
                        self.cluster.store.owners[kind, NAMESPACE, NAME] = {"kubectl": {path}}
                assert stored
        self.cluster.settle()

    def pods(self, version: str, what: str) -> None:
        self.cluster.faults.pods.append(PodFault(cast("What", what), version))

    def pods_on(self, version: str, what: str, node: str) -> None:
        self.cluster.faults.pods.append(PodFault(cast("What", what), version, node))

    def room(self, count: str) -> None:
        self.cluster.faults.most_pods = int(count)

    def webhook(self, message: str) -> None:
        self.cluster.faults.webhook = message

    def denied(self, verb: str, resource: str) -> None:
        self.cluster.faults.denied.add((verb, resource))

    def unknown(self, group: str) -> None:
        self.cluster.faults.unknown.add(group)

    def warns(self, text: str) -> None:
        self.cluster.faults.warnings.append(text)

    def credential(self) -> None:
        self.cluster.faults.credential = CREDENTIAL

    def show_credential(self) -> None:
        self.choices = replace(self.choices, caller=Caller((("Authorization", f"Bearer {CREDENTIAL}"),)))

    def mend(self) -> None:
        faults = self.cluster.faults
        faults.pods.clear()
        faults.trouble.clear()
        faults.denied.clear()
        faults.most_pods, faults.webhook = None, ""

    def scale(self, count: str) -> None:
        self._change(lambda item: item["spec"].update(replicas=int(count)))
        self.cluster.settle()

    def change(self, what: str, value: str) -> None:
        def container(item: dict[str, Any]) -> None:
            *way, last = CONTAINER[what]
            here = item["spec"]["template"]["spec"]["containers"][0]
            for step in way:
                here = here[step]
            here[last] = value

        self._change(container)
        path = ("spec", "template", "spec", "containers", '{"name": "model"}', *CONTAINER[what])
        owners = self.cluster.store.owners[DEPLOYMENTS, NAMESPACE, NAME]
        owners["bedside"].discard(path)
        owners.setdefault("kubectl", set()).add(path)
        self.cluster.settle()

    def _change(self, change: Any) -> None:
        with self.cluster.store.lock:
            there = self.cluster.store.get(DEPLOYMENTS, NAMESPACE, NAME)
            assert there is not None
            self.cluster.store.update(DEPLOYMENTS, there, change)

    # -- the connection

    def drop_every(self, count: str) -> None:
        turns = itertools.count(1)
        self.cluster.faults.trouble.append(lambda handler: next(turns) % int(count) == 0 and _dropped(handler))

    def busy(self, method: str, code: str) -> None:
        met: set[str] = set()

        def trouble(handler: Handler) -> bool:
            asked = f"{handler.command} {handler.path}"
            if handler.command != method or asked in met:
                return False
            met.add(asked)
            reason = {"429": "TooManyRequests", "409": "Conflict"}.get(code, "InternalError")
            handler.status(int(code), reason, "try again later", {"retryAfterSeconds": 1})
            return True

        self.cluster.faults.trouble.append(trouble)

    def cut_watches(self, count: str) -> None:
        self.cluster.watch_events = int(count)

    def forget(self) -> None:
        def again() -> None:
            while not self.cluster.ended.wait(0.03):
                self.cluster.store.forget()

        threading.Thread(target=again, daemon=True).start()

    def lose(self, count: str) -> None:
        left = itertools.count(int(count), -1)
        self.cluster.faults.trouble.append(lambda handler: next(left) <= 0 and _dropped(handler))

    def found(self) -> None:
        self.cluster.faults.trouble.clear()

    # -- what is done

    def deploy(self, version: str) -> None:
        self._do(lambda session: self._roll_out(session, self.order(version), self.choices))

    def deploy_by_force(self, version: str) -> None:
        self._do(lambda session: self._roll_out(session, self.order(version), replace(self.choices, take_over=True)))

    def dry_run(self, version: str) -> None:
        def shown(session: Session) -> None:
            for difference in look(self.at(session), self.order(version), self.choices, self.watch)[1]:
                self.said += [
                    difference.title,
                    *(f"{one.path}: {one.before} -> {one.after}" for one in difference.changes),
                ]

        self._do(shown)

    def rollback(self, to: str | None = None) -> None:
        def back(session: Session) -> None:
            self.done = rollback(self.at(session), NAME, NAMESPACE, to, choices=self.choices, watch=self.watch)

        self._do(back)

    def _roll_out(self, session: Session, order: Order, choices: Choices) -> None:
        self.done = roll_out(self.at(session), order, choices, self.watch)

    def _do(self, action: Any) -> None:
        self.error, self.done, self.said = None, None, []
        with self.session() as session:
            try:
                action(session)
            except BedsideError as error:
                self.error = error

    @contextmanager
    def session(self) -> Iterator[Session]:
        access = Access("simulated", self.cluster.url)
        clock = Clock(self.cluster.speed)
        with Session(access, Wallet(access, Subprocess()), pause=clock.sleep) as session:
            yield session

    def at(self, session: Session) -> Cluster:
        return Cluster(session, self.clock(self.cluster.speed), self.lease)

    @property
    def watch(self) -> Watch:
        tell = self.said.append
        return Watch(step=tell, warning=tell, note=tell)

    def order(self, version: str) -> Order:
        """The release of a version; ``1.1.0+1Gi`` is 1.1.0 with another memory."""
        if version not in self.orders:
            self.orders[version] = self._made(version)
        return self.orders[version]

    def _made(self, version: str) -> Order:
        plain, _, memory = version.partition("+")
        settings = DEPLOY.format(memory=memory or "512Mi")
        root = self.directory / str(next(self.counter))
        release = projects.make(root, settings, name=NAME, version=plain, audit=None)
        plan = plans(release, projects.IMAGE)[0]
        due = expected(open_release(release), NAMESPACE)
        answers: Mapping[str, Any] = {
            pods.key(case.inputs): (case.expected, due.output.band(case.expected)) for case in due.cases
        }
        self.cluster.releases[due.digest] = pods.Release(due.digest, plain, answers)
        made = tuple(json.loads(json.dumps(item.plain())) for item in objects(plan))
        kept = tuple(item for item in made if item["kind"] not in ("PodMonitor", "PrometheusRule", "ConfigMap"))
        return Order(plan.name, plan.namespace, plan.contract.version, plan.image, kept, due)

    # -- what must hold

    def ends_well(self) -> None:
        assert self.error is None, f"{self.error} ({self.error.remedy})" if self.error else ""

    def ends_with(self, code: str) -> None:
        assert self.error is not None, "it ended well"
        assert self.error.exit_code == int(code), f"{type(self.error).__name__}: {self.error}"
        assert self.error.remedy, "there is no remedy"

    def says(self, text: str) -> None:
        everything = [
            *self.said,
            str(self.error or ""),
            *(item.message for item in getattr(self.error, "findings", ())),
        ]
        assert any(text in line for line in everything), everything

    def says_not(self, text: str) -> None:
        assert not any(text in line for line in [*self.said, str(self.error or "")])

    def advises(self, text: str) -> None:
        assert self.error is not None
        assert text in self.error.remedy, self.error.remedy

    def runs_alone(self, version: str) -> None:
        self.cluster.settle()
        found = {item["metadata"]["labels"]["model-version"] for item in self._pods()}
        assert found == {version}, found

    def agrees(self, version: str) -> None:
        self.cluster.settle()
        order = self.order(version)
        plain = version.partition("+")[0]
        deployment = self._deployment()
        template = deployment["spec"]["template"]
        assert deployment["metadata"]["labels"]["model-version"] == plain
        assert template["metadata"]["labels"]["model-version"] == plain
        assert template["metadata"]["annotations"]["bedside.dev/release-digest"] == order.expected.digest
        wanted = next(item for item in order.objects if item["kind"] == "Deployment")["spec"]["template"]["spec"]
        assert template["spec"]["containers"] == wanted["containers"]
        for pod in self._pods():
            assert pod["metadata"]["annotations"]["bedside.dev/release-digest"] == order.expected.digest

    def counts(self, count: str) -> None:
        assert len(self._pods()) == int(count)

    def nothing_left(self) -> None:
        assert self.cluster.get("Deployment", NAME) is None

    def untouched(self) -> None:
        changing = [
            item for item in self.cluster.seen if item[0] in ("PUT", "PATCH", "DELETE") and "dryRun" not in item[2]
        ]
        assert changing == []

    def record(self, version: str, state: str) -> None:
        with self.session() as session:
            found = [str(item.state) for item in history.read(session, NAMESPACE, NAME) if item.version == version]
        assert found[-1] == state, found

    def kept(self, count: str) -> None:
        with self.session() as session:
            assert len(history.read(session, NAMESPACE, NAME)) == int(count)

    def status(self, how: str) -> None:
        with self.session() as session:
            found: Status = status(session, NAME, NAMESPACE)
        assert found.is_well == (how == "well"), found

    def verified(self) -> None:
        with self.session() as session:
            served = verify_cluster(session, NAME, NAMESPACE, self.choices.caller)
        assert len(served) == len(self._pods())

    def not_verified(self) -> None:
        def proof(session: Session) -> None:
            verify_cluster(session, NAME, NAMESPACE, self.choices.caller)

        self._do(proof)
        self.ends_with("3")

    def container(self, what: str, value: str) -> None:
        here = self._deployment()["spec"]["template"]["spec"]["containers"][0]
        for step in CONTAINER[what]:
            here = here[step]
        assert here == value

    def _deployment(self) -> dict[str, Any]:
        found = self.cluster.get("Deployment", NAME)
        assert found is not None
        return found

    def _pods(self) -> list[dict[str, Any]]:
        return [pod for pod in self.cluster.all("Pod") if "deletionTimestamp" not in pod["metadata"]]


def _dropped(handler: Handler) -> bool:
    handler.drop()
    return True

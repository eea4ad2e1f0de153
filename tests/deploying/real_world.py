"""What the sentences of a scenario do with a real cluster: real images of a real release, in a namespace of their own.

Asked for by three variables, see `make test-cluster`. A release is packaged once; other versions are the same files
under another contract, so each has its own digest and its own image.
"""

import itertools
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from bedside import wiring
from bedside.cli.main import run
from bedside.errors import BedsideError
from bedside.image import layout as layouts
from bedside.kube import history
from bedside.kube.clock import Clock
from bedside.kube.cluster import requests
from bedside.kube.cluster.kinds import DEPLOYMENT, POD, Kind, Named
from bedside.kube.cluster.requests import Request
from bedside.kube.cluster.session import Session
from bedside.kube.tree import objects
from bedside.release.reading import open_release
from bedside.stages.assemble import assembled
from bedside.stages.deploy import expected
from bedside.stages.manifests import plans
from bedside.stages.rollback import rollback
from bedside.stages.rollouts import Choices, Cluster, Order, Proven, Watch, look, roll_out
from bedside.stages.status import status, verify_cluster
from bedside.wiring import clusters
from bedside_runtime import canonical
from bedside_runtime.contract import Auth, Contract, File, decode, encode

ICU = Path(__file__).parents[2] / "examples" / "icu-mortality"
NAME = "icu-mortality"
QUOTA = Kind("v1", "ResourceQuota", "resourcequotas")
NOTHING = f"sha256:{'0' * 64}"

DEPLOY = """
[deploy]
namespace = "{namespace}"
exposure = "none"
[deploy.replicas]
min = 3
max = 6
[deploy.resources]
cpu = "150m"
memory = "{memory}"
[deploy.monitoring]
enabled = false
"""


@dataclass
class Workshop:
    """Makes releases and their images; shared by all scenarios of a run."""

    directory: Path
    registry: str
    base: str
    images: dict[str, str] = field(default_factory=dict)

    def first(self) -> Path:
        """The release that was packaged."""
        project = self.directory / "project"
        if not project.exists():
            shutil.copytree(ICU, project, ignore=shutil.ignore_patterns("dist", "__pycache__"))
            assert run(["package", str(project)]) == 0
        return next((project / "dist").iterdir())

    def release(self, version: str, *, mismatch: bool = False, **changes: Any) -> Path:
        """The same model under another version; with ``mismatch``, a golden case expects what it does not answer.

        ``changes`` are of the contract; `auth` is of its part for serving.
        """
        target = self.directory / f"{version}{'-mismatch' if mismatch else ''}" / "dist" / f"{NAME}-{version}"
        if target.exists():
            return target
        shutil.copytree(self.first(), target)
        contract = decode((target / "contract.json").read_bytes())
        auth = changes.pop("auth", Auth(acknowledged="mesh terminates it"))
        serve = msgspec.structs.replace(contract.serve, self_check_seconds=1.0, drain_seconds=2.0, auth=auth)
        contract = msgspec.structs.replace(contract, version=version, serve=serve, **changes)
        if mismatch:
            contract = _mismatched(target, contract)
        data = encode(contract)
        (target / "contract.json").write_bytes(data)
        measured = json.loads((target / "measurements.json").read_bytes())
        (target / "measurements.json").write_text(json.dumps({**measured, "digest": canonical.digest(data)}))
        return target

    def image(self, release: Path) -> str:
        """The image of a release, in the registry; by digest."""
        digest = open_release(release).digest
        if digest not in self.images:
            layout, image = self.layout(release)
            tag = f"{self.registry}/icu/mortality:{digest[:12]}"
            plain = ["--plain-http"] if self.registry.startswith(("127.", "localhost")) else []
            assert run(["push", str(layout), tag, "--unproven", *plain]) == 0
            self.images[digest] = f"{self.registry}/icu/mortality@{image}"
        return self.images[digest]

    def layout(self, release: Path) -> tuple[Path, str]:
        """The image of a release in a layout, and its digest; without a proof, which one with a mismatch would fail."""
        directory = self.directory / f"{open_release(release).digest[:12]}.oci"
        layout = layouts.create(directory)
        if not layout.index().manifests:
            assembled(release, self.base, layout, wiring.builder())
        return directory, str(layout.find().digest)


def _mismatched(release: Path, contract: Contract) -> Contract:
    path = release / contract.golden.path
    first, *rest = path.read_text().splitlines()
    case = json.loads(first)
    path.write_text("\n".join([json.dumps({**case, "expected": case["expected"] / 2}), *rest]) + "\n")
    data = path.read_bytes()
    other = File(path=contract.golden.path, sha256=canonical.digest(data), size=len(data))
    files = tuple(other if file.path == other.path else file for file in contract.files)
    return msgspec.structs.replace(contract, files=files)


@dataclass
class RealWorld:
    """One scenario in the making, in a namespace of its own."""

    workshop: Workshop
    session: Session
    namespace: str
    error: BedsideError | None = None
    done: Proven | None = None
    said: list[str] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)
    applied: int = 0

    @property
    def cluster(self) -> Cluster:
        return Cluster(self.session, Clock())

    @property
    def watch(self) -> Watch:
        return Watch(
            step=self.said.append, warning=lambda text: self.said.append(f"warning: {text}"), note=self.said.append
        )

    # -- what is there before

    def runs(self, version: str) -> None:
        self.deploy(version)
        self.ends_well()
        self.says_not("warning: ")

    def pods(self, version: str, what: str) -> None:
        self.faults[version] = what

    def room(self, count: str) -> None:
        quota = {
            "apiVersion": QUOTA.api_version,
            "kind": QUOTA.name,
            "metadata": {"name": "room", "namespace": self.namespace},
            "spec": {"hard": {"pods": count}},
        }
        self.session.send(Request("POST", QUOTA.path(self.namespace), "make a quota", (), json.dumps(quota).encode()))
        time.sleep(5)  # the quota controller counts what is there

    def scale(self, count: str) -> None:
        self._patch({"spec": {"replicas": int(count)}})
        self._settle()

    def change(self, what: str, value: str) -> None:
        container = {"name": "model", "resources": {"limits": {what: value}, "requests": {what: value}}}
        item = {
            "apiVersion": DEPLOYMENT.api_version,
            "kind": DEPLOYMENT.name,
            "metadata": {"name": NAME},
            "spec": {"template": {"spec": {"containers": [container]}}},
        }
        query = (("fieldManager", "kubectl"), ("force", "true"))
        body = json.dumps(item).encode()
        self.session.send(Request("PATCH", self._deployment.path, "", query, body, "application/apply-patch+yaml"))
        self._settle()

    def mend(self) -> None:
        self.faults.clear()

    # -- what is done

    def deploy(self, version: str) -> None:
        self._do(lambda: self._roll_out(version, Choices()))

    def deploy_by_force(self, version: str) -> None:
        self._do(lambda: self._roll_out(version, Choices(take_over=True)))

    def dry_run(self, version: str) -> None:
        def shown() -> None:
            for item in look(self.cluster, self.order(version), Choices(), self.watch)[1]:
                self.said += [item.title, *(f"{one.path}: {one.before} -> {one.after}" for one in item.changes)]

        self._do(shown)

    def rollback(self, to: str | None = None) -> None:
        def back() -> None:
            self.done = rollback(self.cluster, NAME, self.namespace, to, watch=self.watch)

        self._do(back)

    def _roll_out(self, version: str, choices: Choices) -> None:
        self.done = roll_out(self.cluster, self.order(version), choices, self.watch)

    def _do(self, action: Any) -> None:
        self.error, self.done, self.said = None, None, []
        self.applied = self._generation()
        try:
            action()
        except BedsideError as error:
            self.error = error

    def order(self, version: str) -> Order:
        """The release of a version, with what is wrong with it; ``1.1.0+1Gi`` is 1.1.0 with another memory."""
        plain, _, memory = version.partition("+")
        fault = self.faults.get(plain, "")
        release = self.workshop.release(plain, mismatch=fault == "fails its golden replay")
        image = self.workshop.image(
            self.workshop.release("9.9.9") if fault == "answers as another release" else release
        )
        if fault == "image cannot be pulled":
            image = f"{image.partition('@')[0]}@{NOTHING}"
        settings = release.parent.parent / f"{self.namespace}{memory}.toml"
        text = DEPLOY.format(namespace=self.namespace, memory=memory or "512Mi")
        settings.write_text(f'schema = 1\n[model]\nname = "{NAME}"\n{text}')
        plan = plans(release, image, settings)[0]
        made = [json.loads(json.dumps(item.plain())) for item in objects(plan)]
        due = expected(open_release(release), self.namespace)
        if fault == "answers otherwise":
            due = replace(due, cases=tuple(replace(case, expected=float(case.expected) / 2) for case in due.cases))
        deployment = next(item for item in made if item["kind"] == "Deployment")
        _spoil(deployment["spec"]["template"]["spec"], fault)
        deployment["spec"]["progressDeadlineSeconds"] = 240
        return Order(plan.name, plan.namespace, plan.contract.version, plan.image, tuple(made), due)

    # -- what must hold

    def ends_well(self) -> None:
        assert self.error is None, f"{self.error} ({self.error.remedy})" if self.error else ""

    def ends_with(self, code: str) -> None:
        assert self.error is not None, "it ended well"
        assert self.error.exit_code == int(code), f"{type(self.error).__name__}: {self.error}"

    def says(self, text: str) -> None:
        everything = [*self.said, str(self.error or "")]
        assert any(text in line for line in everything), everything

    def says_not(self, text: str) -> None:
        assert not any(text in line for line in [*self.said, str(self.error or "")])

    def advises(self, text: str) -> None:
        assert self.error is not None
        assert text in self.error.remedy, self.error.remedy

    def runs_alone(self, version: str) -> None:
        self._settle()
        assert {item["metadata"]["labels"]["model-version"] for item in self._pods()} == {version}

    def agrees(self, version: str) -> None:
        self._settle()
        self.mend()
        order = self.order(version)
        deployment = self._found()
        template = deployment["spec"]["template"]
        wanted = next(item for item in order.objects if item["kind"] == "Deployment")
        assert deployment["metadata"]["labels"]["model-version"] == order.version
        assert template["metadata"]["annotations"] == wanted["spec"]["template"]["metadata"]["annotations"]
        assert template["spec"]["containers"][0]["image"] == order.image
        assert (
            template["spec"]["containers"][0]["resources"]
            == wanted["spec"]["template"]["spec"]["containers"][0]["resources"]
        )
        for pod in self._pods():
            assert pod["metadata"]["annotations"]["bedside.dev/release-digest"] == order.expected.digest

    def counts(self, count: str) -> None:
        assert len(self._pods()) == int(count)

    def nothing_left(self) -> None:
        assert self.session.find(requests.get(self._deployment)) is None

    def untouched(self) -> None:
        assert self._generation() == self.applied

    def record(self, version: str, state: str) -> None:
        found = [
            str(item.state) for item in history.read(self.session, self.namespace, NAME) if item.version == version
        ]
        assert found[-1] == state, found

    def kept(self, count: str) -> None:
        assert len(history.read(self.session, self.namespace, NAME)) == int(count)

    def status(self, how: str) -> None:
        found = status(self.session, NAME, self.namespace)
        assert found.is_well == (how == "well"), (found.drift, found.picture)

    def verified(self) -> None:
        served = verify_cluster(self.session, NAME, self.namespace, Choices().caller)
        assert len(served) == len(self._pods())

    def container(self, what: str, value: str) -> None:
        container = self._found()["spec"]["template"]["spec"]["containers"][0]
        assert container["resources"]["limits"][what] == value

    # -- the cluster

    @property
    def _deployment(self) -> Named:
        return Named(DEPLOYMENT, self.namespace, NAME)

    def _found(self) -> dict[str, Any]:
        return self.session.send(requests.get(self._deployment)).value

    def _generation(self) -> int:
        found = self.session.find(requests.get(self._deployment))
        return int(found["metadata"]["generation"]) if found else 0

    def _patch(self, patch: Mapping[str, Any]) -> None:
        self.session.send(requests.merge(self._deployment, patch))

    def _pods(self) -> list[dict[str, Any]]:
        items = self.session.send(requests.listing(POD, self.namespace)).value["items"]
        return [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]

    def _settle(self) -> None:
        until = time.monotonic() + 300
        while time.monotonic() < until:
            found = self._found()
            status, wanted = found.get("status") or {}, found["spec"]["replicas"]
            counts = {status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")}
            if counts == {wanted} and status.get("observedGeneration") == found["metadata"]["generation"]:
                return
            time.sleep(1)
        raise AssertionError(f"it does not come to rest: {found.get('status')}")


def _spoil(pod: dict[str, Any], fault: str) -> None:
    """Make what is wrong, in the specification of a pod."""
    container = pod["containers"][0]
    match fault:
        case "crashes":
            container["args"] = ["no-such-verb"]
        case "runs out of memory":
            container["resources"] = {
                part: {**values, "memory": "24Mi"} for part, values in container["resources"].items()
            }
        case "fits no node":
            container["resources"] = {
                part: {**values, "nvidia.com/gpu": "1"} for part, values in container["resources"].items()
            }
        case "finds no secret":
            pod["volumes"].append({"name": "keys", "secret": {"secretName": "not-there"}})
            container["volumeMounts"].append({"name": "keys", "mountPath": "/run/secrets/not-there", "readOnly": True})


NUMBERS = itertools.count(1)


@contextmanager
def world(workshop: Workshop) -> Iterator[RealWorld]:
    """A namespace of its own, deleted at the end."""
    namespace = f"bedside-test-{int(time.time()) % 100_000}-{next(NUMBERS)}"
    with clusters.cluster() as cluster:
        try:
            yield RealWorld(workshop, cluster.session, namespace)
        finally:
            cluster.session.send(requests.delete(requests.namespace_of(namespace)), missing=True)

"""One deployer at a time."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.simulated_cluster.server import Cluster, running

from bedside.errors import DeployRunning
from bedside.kube import lock
from bedside.kube.clock import Clock
from bedside.kube.cluster.access import Access
from bedside.kube.cluster.credentials import Wallet
from bedside.kube.cluster.session import Session
from bedside.kube.lock import Lock, locked
from bedside.process import Subprocess

SPEED = 20.0
LONG = 160.0
"""Simulated seconds of a lease that a busy machine renews in time: eight of ours."""

LEASES = "coordination.k8s.io/v1/leases"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with running() as made:
        made.store.put("v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "icu"}})
        yield made


@pytest.fixture
def session(cluster: Cluster) -> Iterator[Session]:
    access = Access("ward", cluster.url)
    with Session(access, Wallet(access, Subprocess()), pause=lambda _: None) as made:
        yield made


def _lease(cluster: Cluster) -> dict[str, Any]:
    found = cluster.get("Lease", "icu-test-deploy")
    assert found is not None
    return found


def _left(cluster: Cluster, holder: str) -> None:
    spec = {"holderIdentity": holder, "renewTime": "2026-11-25T00:00:00.000000Z"}
    metadata = {"name": "icu-test-deploy", "namespace": "icu"}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
    cluster.store.put(LEASES, lease)


def _check_for_ever(held: Lock) -> None:
    while True:
        held.check()
        time.sleep(0.01)


def test_it_is_held_renewed_and_given_back(cluster: Cluster, session: Session) -> None:
    with locked(session, "icu", "icu-test", Clock(SPEED), seconds=LONG) as held:
        first = _lease(cluster)["spec"]
        assert first["holderIdentity"].startswith(lock.holder().partition("/")[0])
        while _lease(cluster)["spec"]["renewTime"] == first["renewTime"]:
            held.check()
    assert _lease(cluster)["spec"]["holderIdentity"] == ""
    with locked(session, "icu", "icu-test", Clock(SPEED), seconds=10):
        pass


def test_one_that_was_left_on_another_machine_is_taken_when_its_time_is_up(cluster: Cluster, session: Session) -> None:
    _left(cluster, "somebody@elsewhere/1-abcdef01-x")
    clock, notes = Clock(SPEED), list[str]()
    began = clock.now()
    with locked(session, "icu", "icu-test", clock, seconds=20, on_wait=notes.append):
        assert clock.now() - began >= 20
    assert "somebody@elsewhere" in notes[0]


def test_one_that_is_renewed_is_never_taken(cluster: Cluster, session: Session) -> None:
    with (
        locked(session, "icu", "icu-test", Clock(SPEED), seconds=LONG),
        pytest.raises(DeployRunning, match="right now"),
        locked(session, "icu", "icu-test", Clock(SPEED), seconds=LONG),
    ):
        raise AssertionError
    assert _lease(cluster)["spec"]["holderIdentity"] == ""


def test_one_of_a_process_of_this_machine_that_is_gone_is_taken_at_once(cluster: Cluster, session: Session) -> None:
    code = "from bedside.kube import lock; print(lock.holder())"
    gone = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert lock.is_gone(gone)
    _left(cluster, gone)
    with locked(session, "icu", "icu-test", Clock(), seconds=3_600):
        pass


@pytest.mark.parametrize(
    "other", ["a@b/1-00000000-x", "a@b", "", f"a@b/{2**22 - 1}-00000000-x", lock.holder(), f"x/{os.getpid()}-"]
)
def test_nobody_else_is_taken_for_gone(other: str) -> None:
    assert not lock.is_gone(other)


def test_who_lost_it_goes_no_further(cluster: Cluster, session: Session) -> None:
    with locked(session, "icu", "icu-test", Clock(SPEED), seconds=LONG) as held:
        _left(cluster, "somebody@elsewhere/1-abcdef01-x")
        with pytest.raises(DeployRunning, match="somebody else holds it"):
            _check_for_ever(held)
    assert _lease(cluster)["spec"]["holderIdentity"] == "somebody@elsewhere/1-abcdef01-x", "it is left to them"


def test_who_could_not_renew_it_in_time_goes_no_further(cluster: Cluster, session: Session) -> None:
    with locked(session, "icu", "icu-test", Clock(SPEED), seconds=10) as held:
        cluster.faults.trouble.append(lambda handler: handler.command == "PUT" and (bool(handler.drop()) or True))
        with pytest.raises(DeployRunning, match="could not be renewed in time"):
            _check_for_ever(held)
        cluster.faults.trouble.clear()


def test_of_many_at_once_one_gets_it(cluster: Cluster) -> None:
    got, refused, inside = [], [], threading.Barrier(6, timeout=60)

    def work() -> None:
        access = Access("ward", cluster.url)
        with Session(access, Wallet(access, Subprocess()), pause=lambda _: None) as own:
            inside.wait()
            try:
                with locked(own, "icu", "icu-test", Clock(SPEED), seconds=LONG):
                    got.append(1)
                    over.wait(60)
            except DeployRunning:
                refused.append(1)
                if len(refused) == 5:
                    over.set()

    over = threading.Event()
    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert (len(got), len(refused)) == (1, 5)

"""A deploy that is killed at any moment: the cluster keeps what had arrived, and the same command ends it right."""

import itertools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tests.deploying.world import World
from tests.simulated_cluster.server import running

from bedside.errors import BedsideError, ClusterInterrupted
from bedside.kube.clock import Clock
from bedside.kube.cluster.access import Access
from bedside.kube.cluster.credentials import Wallet
from bedside.kube.cluster.requests import Request
from bedside.kube.cluster.session import Session
from bedside.process import Subprocess

FAST = 120.0
LONG = os.environ.get("BEDSIDE_FAULTS") == "long"


class Killed(BaseException):
    """kill -9: nothing is caught, nothing more leaves, as far as the cluster can see."""


class Mortal(Session):
    """Dies at its ``last`` request: it arrives, and its answer does not."""

    last = 10**9
    every = False
    counted = 0
    dead = False

    def _sent(self, request: Request, headers: httpx._types.HeaderTypes, timeout: httpx.Timeout) -> httpx.Response:
        if self.dead:
            self._die()
        response = super()._sent(request, headers, timeout)  # type: ignore[arg-type]
        if threading.current_thread() is threading.main_thread() and (self.every or _changes(request)):
            self.counted += 1
            if self.counted == self.last:
                self.dead = True
                response.close()
                self._die()
        return response

    def _die(self) -> None:
        if threading.current_thread() is threading.main_thread():
            raise Killed
        raise ClusterInterrupted("dead")


def _changes(request: Request) -> bool:
    stored = request.method in ("PUT", "PATCH", "POST", "DELETE") and "reviews" not in request.path
    return stored and ("dryRun", "All") not in request.query


@dataclass
class MortalWorld(World):
    last: int = 10**9
    every: bool = LONG
    counted: int = 0

    @contextmanager
    def session(self) -> Iterator[Session]:
        access = Access("simulated", self.cluster.url)
        with Mortal(access, Wallet(access, Subprocess()), pause=lambda _: None) as session:
            session.last, session.every = self.last, self.every
            yield session
            self.counted = session.counted

    def deploy_until(self, version: str, last: int) -> bool:
        """Deploy, and die at a request; whether it got that far."""
        self.last = last
        try:
            self.deploy(version)
        except Killed:
            return True
        finally:
            self.last = 10**9
        return False


@pytest.mark.faults
@pytest.mark.parametrize("other", [False, True] if LONG else [False])
def test_killed_at_every_request_and_run_again_it_ends_right(tmp_path: Path, other: bool) -> None:
    """Good releases and such that fail by turns; the long form has each of them at every request, reads too."""
    with running(FAST) as cluster:
        world = MortalWorld(cluster, tmp_path)
        world.runs("1.0.0")
        before, killed = "1.0.0", 0
        for turn in itertools.count(1):
            version, fails = f"1.{turn}.0", bool(turn % 2) is other
            if fails:
                world.pods(version, "answers otherwise")
            if not world.deploy_until(version, turn):
                break
            killed += 1
            world.deploy(version)
            if fails:
                world.ends_with("3")
                world.agrees(before)
            else:
                world.ends_well()
                world.agrees(before := version)
            world.status("well")
        assert killed > 10


@pytest.mark.faults
def test_killed_at_every_request_of_a_first_release_nothing_unproven_is_ever_taken_for_good(tmp_path: Path) -> None:
    for turn in itertools.count(1):
        with running(FAST) as cluster:
            world = MortalWorld(cluster, tmp_path / str(turn))
            world.pods("1.0.0", "answers otherwise")
            finished = not world.deploy_until("1.0.0", turn)
            world.deploy("1.0.0")
            world.ends_with("3")
            world.nothing_left()
            if finished:
                break
    assert turn > 10


def test_the_one_who_comes_second_is_told_who_is_at_work(tmp_path: Path) -> None:
    with running() as cluster:
        world = World(cluster, tmp_path, clock=Clock, lease=250.0)
        world.runs("1.0.0")
        world.pods("1.1.0", "never gets ready")
        second = World(cluster, tmp_path / "second", orders=world.orders, clock=Clock, lease=250.0)
        first = threading.Thread(target=lambda: world.deploy("1.1.0"))
        world.order("1.1.0")
        first.start()
        try:
            while cluster.get("Secret", "icu-test-release-2") is None:
                assert first.is_alive()
            second.deploy("1.1.0")
        finally:
            first.join(60)
        assert second.error is not None
        assert "right now" in str(second.error)
        assert second.error.exit_code == 1
        assert isinstance(world.error, BedsideError), "the first went on undisturbed"
        world.agrees("1.0.0")


def test_who_loses_the_lock_in_the_middle_changes_nothing_more(tmp_path: Path) -> None:
    """Somebody took over: bringing the last good release back now would undo what they do."""
    with running() as cluster:
        world = World(cluster, tmp_path, clock=Clock, lease=250.0)
        world.runs("1.0.0")
        world.pods("1.1.0", "never gets ready")
        first = threading.Thread(target=lambda: world.deploy("1.1.0"))
        world.order("1.1.0")
        first.start()
        while "waiting for the pods" not in world.said:
            assert first.is_alive()
        with cluster.store.lock:
            lease = cluster.store.get("coordination.k8s.io/v1/leases", "icu", "icu-test-deploy")
            assert lease is not None
            cluster.store.update(
                "coordination.k8s.io/v1/leases",
                lease,
                lambda item: item["spec"].update(holderIdentity="another@elsewhere"),
            )
            cluster.seen.clear()
        first.join(120)
        assert world.error is not None
        assert "the lock on this deployment was lost" in str(world.error)
        assert not any("not proven" in line for line in world.said), "it did not even try to bring something back"
        changed = [item for item in cluster.seen if item[0] in ("PATCH", "DELETE")]
        assert changed == []
        world.record("1.1.0", "pending")

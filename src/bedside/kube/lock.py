"""One deployer at a time: a Lease in the model's namespace, taken over only when it was not renewed for its whole time.

As client-go's leader election does it: whether a lease has run out is told by one's own clock, from the moment at
which its last renewal was first seen, so clocks of two machines need not agree; every write names the resourceVersion
that it replaces.
"""

import getpass
import hashlib
import os
import platform
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bedside.errors import BedsideError, ClusterFailed, DeployRunning
from bedside.kube.clock import Clock
from bedside.kube.cluster import requests
from bedside.kube.cluster.kinds import LEASE, Named
from bedside.kube.cluster.session import Session

SECONDS: Final = 30.0
"""After how many seconds without a renewal a lease has run out, where nothing else is asked for."""


def holder() -> str:
    """Return who this process is: person, machine, process; the machine by its boot and process namespace too."""
    try:
        person = getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in a container
        person = str(os.getuid())
    return f"{person}@{platform.node()}/{os.getpid()}-{_here()}-{secrets.token_hex(4)}"


def is_gone(other: str) -> bool:
    """Whether ``other``, a holder, was a process of this very machine that is there no more."""
    pid, _, rest = other.rpartition("/")[2].partition("-")
    if not pid.isdigit() or not _here() or rest.partition("-")[0] != _here():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _here() -> str:
    """What process ids of this machine count in; empty where that is not known."""
    try:
        booted = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        return hashlib.sha256(f"{booted}{Path('/proc/self/ns/pid').readlink()}".encode()).hexdigest()[:8]
    except OSError:
        return ""


class Lock:
    """The lease, while it is held. A thread renews it."""

    def __init__(self, session: Session, lease: dict[str, Any], clock: Clock, seconds: float) -> None:
        self._session, self._lease, self._clock, self._seconds = session, lease, clock, seconds
        self._renewed = clock.now()
        self._lost = ""
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._renewing, name="lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Refuse to go on where somebody else may have taken over.

        Raises:
            DeployRunning: The lease is not ours any more.
        """
        if not self._lost and self._clock.now() - self._renewed > self._seconds:
            self._lost = "it could not be renewed in time"
        if self._lost:
            raise DeployRunning(
                f"the lock on this deployment was lost: {self._lost}",
                remedy="Nothing more was changed. Look at `bedside status`, and run the command again.",
            )

    def release(self) -> None:
        """Let the next one in at once."""
        self._end.set()
        self._thread.join(10)
        if not self._lost:
            with suppress(BedsideError):  # it runs out by itself
                self._write("")

    def _renewing(self) -> None:
        while not self._end.wait(self._clock.real(self._seconds / 4)):
            try:
                self._write(self._lease["spec"]["holderIdentity"])
                self._renewed = self._clock.now()
            except ClusterFailed as error:
                if _replaced(error):
                    self._lost = "somebody else holds it"
                    return

    def _write(self, who: str) -> None:
        spec = {**self._lease["spec"], "holderIdentity": who, "renewTime": _now()}
        self._lease = self._session.send(requests.replace({**self._lease, "spec": spec})).value


@contextmanager
def locked(
    session: Session,
    namespace: str,
    name: str,
    clock: Clock,
    *,
    seconds: float = SECONDS,
    on_wait: Callable[[str], None] = lambda _: None,
) -> Iterator[Lock]:
    """Hold the lock on the deployments of ``name`` until the end of the block.

    Args:
        session: The cluster.
        namespace: Of the lease.
        name: Of the model.
        clock: Measures the time.
        seconds: After which a lease that is not renewed has run out.
        on_wait: Told for whom, and how long, is waited.

    Raises:
        DeployRunning: Somebody else holds it, and is alive.
    """
    lease = _take(session, Named(LEASE, namespace, f"{name}-deploy"), clock, seconds, on_wait)
    lock = Lock(session, lease, clock, seconds)
    try:
        yield lock
    finally:
        lock.release()


def _take(
    session: Session, what: Named, clock: Clock, seconds: float, on_wait: Callable[[str], None]
) -> dict[str, Any]:
    me = holder()
    seen, since = "", 0.0
    while True:
        found = session.find(requests.get(what))
        spec = (found or {}).get("spec") or {}
        other = spec.get("holderIdentity")
        if other:
            last = f"{other} {spec.get('renewTime')}"
            if seen and last != seen:
                raise DeployRunning(f"{other} deploys {what.name.removesuffix('-deploy')} right now")
            if not seen:
                seen, since = last, clock.now()
                if not is_gone(other):
                    on_wait(f"{other} has begun to deploy; waiting {seconds:g} s to see whether it is still at work")
            if clock.now() - since < seconds and not is_gone(other):
                clock.sleep(seconds / 15)
                continue
        try:
            return session.send(_claimed(found, what, me, seconds)).value
        except ClusterFailed as error:
            if not _replaced(error):
                raise
            seen = ""  # somebody was quicker; look again


def _claimed(found: dict[str, Any] | None, what: Named, me: str, seconds: float) -> requests.Request:
    now = _now()
    spec = {"holderIdentity": me, "leaseDurationSeconds": int(seconds), "acquireTime": now, "renewTime": now}
    if found is not None:
        return requests.replace({**found, "spec": spec})
    metadata = {"name": what.name, "namespace": what.namespace, "labels": {"app.kubernetes.io/managed-by": "bedside"}}
    lease = {"apiVersion": LEASE.api_version, "kind": LEASE.name, "metadata": metadata, "spec": spec}
    return requests.create(lease)


def _replaced(error: ClusterFailed) -> bool:
    """Whether an object was another one than the one that was written over."""
    return error.status == 409


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

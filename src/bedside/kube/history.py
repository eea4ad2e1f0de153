"""The records of a model in its namespace: read, begun, judged, pruned."""

from collections.abc import Sequence

from bedside.errors import ClusterFailed, DeployRunning
from bedside.kube import records
from bedside.kube.cluster import requests
from bedside.kube.cluster.kinds import SECRET, Named, named
from bedside.kube.cluster.session import Session
from bedside.kube.records import Record, State


def read(session: Session, namespace: str, name: str) -> tuple[Record, ...]:
    """Return every record, oldest first."""
    answer = session.find(requests.listing(SECRET, namespace, {records.OF: name})) or {}
    found = [records.decode(item) for item in answer.get("items") or () if item.get("type") == records.TYPE]
    return tuple(sorted(found, key=lambda item: item.revision))


def begin(session: Session, record: Record) -> None:
    """Keep a record that is not judged yet. One that arrived although its answer was lost is the same one.

    Raises:
        DeployRunning: Its revision is taken: somebody else began to deploy.
    """
    secret = records.encode(record)
    try:
        session.send(requests.create(secret))
    except ClusterFailed as error:
        if error.status != 409:
            raise
        there = session.send(requests.get(named(secret))).value
        if there.get("data") != secret["data"]:
            raise DeployRunning(f"somebody else began revision {record.revision} of {record.name}") from None


def judge(session: Session, record: Record, state: State, why: str = "") -> None:
    """Write down what became of a record."""
    what = Named(SECRET, record.namespace, records.secret_name(record.name, record.revision))
    session.send(requests.merge(what, records.change(state, why)))


def prune(session: Session, kept: Sequence[Record]) -> tuple[Record, ...]:
    """Delete the records that need not be kept, and return them."""
    gone = records.superfluous(kept)
    for record in gone:
        what = Named(SECRET, record.namespace, records.secret_name(record.name, record.revision))
        session.send(requests.delete(what), missing=True)
    return gone

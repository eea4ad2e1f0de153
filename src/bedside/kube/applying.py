"""Bringing objects into a cluster: judged by a dry run, applied in order, and what is no longer named taken away."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from bedside.kube import differences
from bedside.kube.cluster import requests
from bedside.kube.cluster.kinds import DEPLOYMENT, KEPT, Named, named
from bedside.kube.cluster.session import Session
from bedside.kube.differences import Difference

_OURS: Final = ("app.kubernetes.io/managed-by", "bedside")


def diff(
    session: Session,
    objects: Sequence[Mapping[str, Any]],
    *,
    force: bool = False,
    on_warning: Callable[[str], None] = lambda _: None,
) -> Iterator[Difference]:
    """Have the API server judge, default and admit every object without storing it; give what would change.

    Where the namespace is not there yet, nothing in it can be judged, and each object is new.

    Raises:
        AdmissionRefused, FieldsTaken: One would not be taken.
    """
    missing = {what.namespace for what in map(named, objects) if what.namespace} - _there(session, objects)
    for item in objects:
        what = named(item)
        before = session.find(requests.get(what))
        if what.namespace in missing or (what.kind.name == "Namespace" and before is None):
            yield Difference(what.title, is_new=True)
            continue
        answer = session.send(requests.apply(item, dry_run=True, force=force))
        for warning in answer.warnings:
            on_warning(f"{what.title}: {warning}")
        yield differences.compare(what.title, before, answer.value)


def _there(session: Session, objects: Sequence[Mapping[str, Any]]) -> set[str]:
    names = {what.namespace for what in map(named, objects) if what.namespace}
    return {name for name in names if session.find(requests.get(requests.namespace_of(name))) is not None}


def apply(
    session: Session,
    objects: Sequence[Mapping[str, Any]],
    *,
    force: bool = False,
    before_each: Callable[[], None] = lambda: None,
    on_step: Callable[[str], None] = lambda _: None,
    on_warning: Callable[[str], None] = lambda _: None,
) -> None:
    """Apply ``objects`` in their order, each whole or not at all.

    Args:
        session: The cluster.
        objects: As they are written.
        force: Take over fields that others own.
        before_each: Called before each; may raise to stop.
        on_step: Told what is applied.
        on_warning: Told what the API server warns of.

    Raises:
        AdmissionRefused, FieldsTaken: One is not taken; those before it are.
    """
    for item in objects:
        before_each()
        what = named(item)
        on_step(f"applying {what.title}")
        for warning in session.send(requests.apply(item, force=force)).warnings:
            on_warning(f"{what.title}: {warning}")


def orphans(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> tuple[Named, ...]:
    """Return what ``before`` names and ``after`` does not, without the kinds that are never deleted. Pure."""
    left = set(map(named, after))
    return tuple(what for what in map(named, before) if what not in left and what.kind.name not in KEPT)


def remove(
    session: Session, gone: Sequence[Named], before_each: Callable[[], None] = lambda: None
) -> tuple[Named, ...]:
    """Delete those of ``gone`` that are there and bedside's own, and return them."""
    removed = []
    for what in gone:
        found = session.find(requests.get(what))
        if found is None or not is_ours(found):
            continue
        before_each()
        session.send(requests.delete(what, found["metadata"]["uid"]), missing=True)
        removed.append(what)
    return tuple(removed)


def deployment(objects: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the Deployment among ``objects``. Pure."""
    return next(item for item in objects if item["kind"] == DEPLOYMENT.name)


def is_ours(item: Mapping[str, Any]) -> bool:
    """Whether bedside made an object that is in the cluster. Pure."""
    return (item["metadata"].get("labels") or {}).get(_OURS[0]) == _OURS[1]

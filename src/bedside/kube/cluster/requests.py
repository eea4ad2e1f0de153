"""Requests to an API server as values. Pure; `session` sends them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bedside.kube.cluster.kinds import NAMESPACE, POD, REVIEW, Kind, Named, named

MANAGER: Final = "bedside"
"""The field manager: which fields of an object are ours."""

WATCH_SECONDS: Final = 240
"""After how long the API server ends a watch, to be begun again where it stopped."""

Query = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Request:
    """One request. ``doing`` is what an error says was tried, after "to"."""

    method: str
    path: str
    doing: str
    query: Query = ()
    body: bytes | None = None
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Right:
    """Something that an account may be allowed to do."""

    verb: str
    kind: Kind
    namespace: str | None
    part: str = ""

    @property
    def title(self) -> str:
        """As a Role says it."""
        resource = f"{self.kind.resource}/{self.part}" if self.part else self.kind.resource
        return f"{self.verb} {resource}" + (f".{self.kind.group}" if self.kind.group else "")


def version() -> Request:
    """Ask which Kubernetes it is."""
    return Request("GET", "/version", "tell its version")


def resources(root: str) -> Request:
    """Ask which kinds a group and version holds; 404 where the cluster does not know it."""
    return Request("GET", root, f"list what {root} holds")


def get(what: Named) -> Request:
    """Ask for one object; 404 where there is none."""
    return Request("GET", what.path, f"read {what.title}")


def listing(kind: Kind, namespace: str | None, labels: Mapping[str, str] | None = None, more: Query = ()) -> Request:
    """Ask for all objects of a kind."""
    return Request("GET", kind.path(namespace), f"list {kind.resource}", (*_selected(labels), *more))


def watch(kind: Kind, namespace: str, labels: Mapping[str, str] | None, since: str) -> Request:
    """Ask to be told of every change after ``since``, a resourceVersion, one JSON document a line."""
    query = (
        *_selected(labels),
        ("watch", "true"),
        ("allowWatchBookmarks", "true"),
        ("resourceVersion", since),
        ("timeoutSeconds", str(WATCH_SECONDS)),
    )
    return Request("GET", kind.path(namespace), f"watch {kind.resource}", query)


def apply(item: Mapping[str, Any], *, dry_run: bool = False, force: bool = False) -> Request:
    """Server-side apply: the fields of ``item`` become as they stand here and ours; no other is touched.

    Args:
        item: A whole object as it is written.
        dry_run: Judge, admit and answer, and store nothing.
        force: Take over fields that another manager owns.
    """
    what = named(item)
    query = (("fieldManager", MANAGER), ("fieldValidation", "Strict"), ("force", "true" if force else "false"))
    doing = f"take {what.title}"
    body = json.dumps(item, ensure_ascii=False).encode()
    return Request("PATCH", what.path, doing, (*query, *_dry(dry_run)), body, "application/apply-patch+yaml")


def create(item: Mapping[str, Any]) -> Request:
    """Make an object; 409 where there is one."""
    what = named(item)
    return _stored("POST", what.kind.path(what.namespace), f"make {what.title}", item)


def replace(item: Mapping[str, Any]) -> Request:
    """Write an object over the one whose resourceVersion it holds; 409 where that has changed since."""
    what = named(item)
    return _stored("PUT", what.path, f"write {what.title}", item)


def merge(what: Named, patch: Mapping[str, Any]) -> Request:
    """Change fields of an object (RFC 7396)."""
    body = json.dumps(patch).encode()
    query = (("fieldManager", MANAGER),)
    return Request("PATCH", what.path, f"change {what.title}", query, body, "application/merge-patch+json")


def delete(what: Named, uid: str | None = None) -> Request:
    """Delete an object, where a ``uid`` is given only that very one; its dependants go after it."""
    options: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
    if uid is not None:
        options["preconditions"] = {"uid": uid}
    return Request("DELETE", what.path, f"delete {what.title}", (), json.dumps(options).encode())


def may(right: Right) -> Request:
    """Ask whether this account may do something."""
    attributes = {
        "verb": right.verb,
        "group": right.kind.group,
        "resource": right.kind.resource,
        **({"subresource": right.part} if right.part else {}),
        **({"namespace": right.namespace} if right.namespace else {}),
    }
    review = {"apiVersion": REVIEW.api_version, "kind": REVIEW.name, "spec": {"resourceAttributes": attributes}}
    return Request("POST", REVIEW.path(None), "say what this account may do", (), json.dumps(review).encode())


def who() -> Request:
    """Ask for whom the API server takes this account."""
    body = json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}).encode()
    return Request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", "say who asks", (), body)


def log(namespace: str, pod: str, container: str, *, lines: int, previous: bool) -> Request:
    """Ask for the last lines that a container wrote."""
    query = (("container", container), ("tailLines", str(lines)), ("previous", "true" if previous else "false"))
    return Request("GET", POD.path(namespace, pod, "log"), f"read the log of {pod}", query)


def port_forward(namespace: str, pod: str, port: int) -> Request:
    """Ask for a connection to a port of a pod; it is made inside of the pod's own network."""
    path = POD.path(namespace, pod, "portforward")
    return Request("GET", path, f"connect to port {port} of {pod}", (("ports", str(port)),))


def namespace_of(name: str) -> Named:
    """Return a namespace as an object."""
    return Named(NAMESPACE, None, name)


def _stored(method: str, path: str, doing: str, item: Mapping[str, Any]) -> Request:
    query = (("fieldManager", MANAGER), ("fieldValidation", "Strict"))
    return Request(method, path, doing, query, json.dumps(item, ensure_ascii=False).encode())


def _selected(labels: Mapping[str, str] | None) -> Query:
    return (("labelSelector", ",".join(f"{key}={value}" for key, value in labels.items())),) if labels else ()


def _dry(dry_run: bool) -> Query:
    return (("dryRun", "All"),) if dry_run else ()

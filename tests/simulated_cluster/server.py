"""The API server over HTTP, and the whole cluster."""

import base64
import copy
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from tests.simulated_cluster import applying, pods
from tests.simulated_cluster.controllers import DEPLOYMENTS, PODS, Controllers
from tests.simulated_cluster.faults import Faults
from tests.simulated_cluster.store import Event, Key, Store

from bedside.kube.cluster.kinds import KINDS, Kind

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TICK: Final = 0.012
_PATH: Final = re.compile(
    r"/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+/[^/]+))"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/.+))?/(?P<resource>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<part>[^/]+))?"
)
_REVIEWS: Final = {"selfsubjectaccessreviews", "selfsubjectreviews"}


class Refused(Exception):
    """An answer other than the object asked for."""

    def __init__(self, code: int, reason: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.details = code, reason, dict(details or {})


@dataclass(frozen=True)
class Place:
    """What a path names."""

    kind: Kind
    namespace: str
    name: str
    part: str

    @property
    def resource(self) -> str:
        return f"{self.kind.api_version}/{self.kind.resource}"

    @property
    def key(self) -> Key:
        return self.resource, self.namespace, self.name


class Cluster(ThreadingHTTPServer):
    """The server and everything behind it. Its time goes ``speed`` times as fast as ours."""

    daemon_threads = True

    def __init__(self, speed: float = 50.0) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.store, self.faults = Store(), Faults()
        self.controllers = Controllers(self.store, self.faults)
        self.releases: dict[str, pods.Release] = {}
        self.seen: list[tuple[str, str, str]] = []
        self.asked: list[tuple[str, str, int]] = []
        self.speed = speed
        self.ended = threading.Event()
        self.minor = "36"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def now(self) -> float:
        return time.monotonic() * self.speed

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke off is what these tests are about."""

    def get(self, kind: str, name: str, namespace: str = "icu") -> dict[str, Any] | None:
        found = self.store.get(f"{KINDS[kind].api_version}/{KINDS[kind].resource}", namespace, name)
        return copy.deepcopy(found)

    def all(self, kind: str, namespace: str = "icu") -> list[dict[str, Any]]:
        return copy.deepcopy(self.store.all(f"{KINDS[kind].api_version}/{KINDS[kind].resource}", namespace))

    def move(self) -> None:
        """Let the controllers work until the end."""
        while not self.ended.wait(_TICK):
            self.controllers.tick(self.now())

    def settle(self, seconds: float = 30.0) -> None:
        """Wait until every Deployment has only pods of its template, all ready."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with self.store.lock:
                status = [(item["spec"]["replicas"], item.get("status") or {}) for item in self.store.all(DEPLOYMENTS)]
                if all(
                    one.get("availableReplicas") == one.get("updatedReplicas") == one.get("replicas") == wanted
                    for wanted, one in status
                ):
                    return
            time.sleep(0.02)
        raise AssertionError("the simulated cluster does not come to rest")

    def release_of(self, pod: Mapping[str, Any]) -> pods.Release:
        digest = pod["metadata"]["annotations"]["bedside.dev/release-digest"]
        return self.releases[digest]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Cluster

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        pass

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the library's names

    # -- from the wire to an answer

    def _serve(self) -> None:
        self.url = urlsplit(self.path)
        self.query = {key: values[0] for key, values in parse_qs(self.url.query).items()}
        self.body = self.rfile.read(int(self.headers.get("content-length", 0)))
        with self.server.store.lock:
            self.server.seen.append((self.command, self.url.path, self.url.query))
            if any(trouble(self) for trouble in list(self.server.faults.trouble)):
                return
        try:
            self._route()
        except Refused as refused:
            self.status(refused.code, refused.reason, str(refused), refused.details)

    def _route(self) -> None:
        if self.url.path == "/version":
            self.answer(200, {"major": "1", "minor": self.server.minor, "gitVersion": f"v1.{self.server.minor}.2"})
            return
        root = re.fullmatch(r"/(?:api|apis)/(?:[^/]+/)?(v[^/]+)", self.url.path)
        if root:
            self._discover(self.url.path)
            return
        place = self._place()
        verb = self._verb(place)
        if (verb, place.kind.resource + (f"/{place.part}" if place.part else "")) in self.server.faults.denied:
            user, what = 'User "deployer" cannot', f'{verb} resource "{place.kind.resource}"'
            raise Refused(403, "Forbidden", f'{place.kind.resource} "{place.name}" is forbidden: {user} {what}')
        if verb == "watch":
            self._watch(place)
        elif place.part == "portforward":
            self._forward(place)
        else:
            with self.server.store.lock:
                code, document = getattr(self, f"_{verb}")(place)
            for look in list(self.server.faults.after):
                look(self)
            self.answer(code, document)

    def _place(self) -> Place:
        match = _PATH.fullmatch(self.url.path)
        if match is None:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        version, resource = match["core"] or match["group"], match["resource"]
        if resource in _REVIEWS:
            return Place(Kind(version, "Review", resource, namespaced=False), "", "", "")
        for kind in KINDS.values():
            if (kind.api_version, kind.resource) == (
                version,
                resource,
            ) and kind.group not in self.server.faults.unknown:
                return Place(kind, match["namespace"] or "", match["name"] or "", match["part"] or "")
        raise Refused(404, "NotFound", "the server could not find the requested resource")

    def _verb(self, place: Place) -> str:
        if place.kind.resource in _REVIEWS:
            return "review"
        if self.command == "GET":
            return "get" if place.name else "watch" if "watch" in self.query else "list"
        return {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}[self.command]

    def _discover(self, path: str) -> None:
        version = path.removeprefix("/api/").removeprefix("/apis/")
        kinds = [kind for kind in KINDS.values() if kind.api_version == version]
        if not kinds or kinds[0].group in self.server.faults.unknown:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        listed = [{"kind": kind.name, "name": kind.resource, "namespaced": kind.namespaced} for kind in kinds]
        self.answer(200, {"kind": "APIResourceList", "groupVersion": version, "resources": listed})

    # -- verbs

    def _review(self, place: Place) -> tuple[int, dict[str, Any]]:
        if place.kind.resource == "selfsubjectreviews":
            return 201, {"kind": "SelfSubjectReview", "status": {"userInfo": {"username": "deployer"}}}
        asked = json.loads(self.body)["spec"]["resourceAttributes"]
        resource = asked["resource"] + (f"/{asked['subresource']}" if "subresource" in asked else "")
        allowed = (asked["verb"], resource) not in self.server.faults.denied
        return 201, {"kind": "SelfSubjectAccessReview", "status": {"allowed": allowed}}

    def _get(self, place: Place) -> tuple[int, dict[str, Any]]:
        found = self.server.store.objects.get(place.key)
        if found is None:
            raise Refused(404, "NotFound", f'{place.kind.resource} "{place.name}" not found')
        return 200, found

    def _list(self, place: Place) -> tuple[int, dict[str, Any]]:
        items = [item for item in self.server.store.all(place.resource, place.namespace or None) if self._selects(item)]
        return 200, {
            "kind": f"{place.kind.name}List",
            "metadata": {"resourceVersion": str(self.server.store.version)},
            "items": items,
        }

    def _create(self, place: Place) -> tuple[int, dict[str, Any]]:
        item = json.loads(self.body)
        self._refuse_without_namespace(place)
        key = (place.resource, place.namespace, item["metadata"]["name"])
        if key in self.server.store.objects:
            raise Refused(409, "AlreadyExists", f'{place.kind.resource} "{key[2]}" already exists')
        return 201, self.server.store.put(place.resource, item)

    def _update(self, place: Place) -> tuple[int, dict[str, Any]]:
        item = json.loads(self.body)
        there = self._get(place)[1]
        if item["metadata"].get("resourceVersion") not in (None, there["metadata"]["resourceVersion"]):
            raise Refused(
                409, "Conflict", "the object has been modified; please apply your changes to the latest version"
            )
        return 200, self.server.store.put(place.resource, item)

    def _delete(self, place: Place) -> tuple[int, dict[str, Any]]:
        there = self._get(place)[1]
        wanted = (json.loads(self.body or b"{}").get("preconditions") or {}).get("uid")
        if wanted not in (None, there["metadata"]["uid"]):
            raise Refused(409, "Conflict", "Precondition failed: UID in precondition")
        self.server.store.delete(*place.key)
        return 200, {"kind": "Status", "status": "Success"}

    def _patch(self, place: Place) -> tuple[int, dict[str, Any]]:
        if self.headers["content-type"] == "application/merge-patch+json":
            after = _merged(self._get(place)[1], json.loads(self.body))
            return 200, self.server.store.put(place.resource, after)
        return self._apply(place, json.loads(self.body))

    def _apply(self, place: Place, item: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self._refuse_without_namespace(place)
        store, manager = self.server.store, self.query["fieldManager"]
        before = store.objects.get(place.key)
        try:
            after, owners = applying.apply(
                before, store.owners.get(place.key, {}), item, manager, self.query.get("force") == "true"
            )
        except applying.Conflict as conflict:
            raise Refused(409, "Conflict", _conflicts(conflict), {"causes": _causes(conflict)}) from None
        _default(place, after)
        if "dryRun" in self.query:
            return 200, after
        store.owners[place.key] = owners
        return (200 if before else 201), store.put(place.resource, after)

    def _refuse_without_namespace(self, place: Place) -> None:
        if place.kind.namespaced and self.server.store.get("v1/namespaces", "", place.namespace) is None:
            raise Refused(404, "NotFound", f'namespaces "{place.namespace}" not found')

    def _selects(self, item: dict[str, Any]) -> bool:
        selector = self.query.get("labelSelector", "")
        wanted = dict(part.split("=", 1) for part in selector.split(",")) if selector else {}
        return wanted.items() <= (item["metadata"].get("labels") or {}).items()

    # -- watch

    def _watch(self, place: Place) -> None:
        since = int(self.query["resourceVersion"])
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        store = self.server.store
        until = time.monotonic() + int(self.query["timeoutSeconds"]) / self.server.speed
        while not self.server.ended.is_set():
            with store.lock:
                if since < store.forgotten:
                    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
                    events = [Event(since, "ERROR", place.resource, gone)]
                else:
                    events = list(store.since(since, place.resource))
                if not events and time.monotonic() < until:
                    store.changed.wait(0.05)
                    continue
            for event in events:
                self._chunk({"type": event.type, "object": event.item}, event, place)
                since = event.version
            if time.monotonic() >= until or (events and events[-1].type == "ERROR"):
                break
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, document: dict[str, Any], event: Event, place: Place) -> None:
        metadata = event.item.get("metadata") or {}
        if event.type != "ERROR" and (
            place.namespace not in ("", metadata.get("namespace")) or not self._selects(event.item)
        ):
            return
        line = json.dumps(document).encode() + b"\n"
        self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")

    # -- port-forward

    def _forward(self, place: Place) -> None:
        port = int(self.query["ports"])
        if self.headers["accept"] != "*/*":
            raise Refused(406, "NotAcceptable", "only the following media types are accepted: */*")
        accept = base64.b64encode(hashlib.sha1(self.headers["sec-websocket-key"].encode() + _GUID).digest())
        self.send_response(101)
        for name, value in (
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", accept.decode()),
            ("Sec-WebSocket-Protocol", self.headers["sec-websocket-protocol"]),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        forwarded = pods.Forwarded(port)
        self.wfile.write(forwarded.begin())
        with self.server.store.lock:
            pod = self.server.store.get(PODS, place.namespace, place.name)
        fault = self.server.controllers.fault(pod) if pod else None
        what = fault.what if fault else ""
        if pod is None or "running" not in _state(pod) or what == "answers nobody":
            self.wfile.write(forwarded.refuse(f"dial tcp4 127.0.0.1:{port}: connect: connection refused"))
            return
        self._converse(forwarded, place, pod, what, port)

    def _converse(self, forwarded: pods.Forwarded, place: Place, pod: dict[str, Any], what: str, port: int) -> None:
        while not forwarded.closed:
            data = self.connection.recv(65536)
            if not data:
                return
            asked = forwarded.receive(data)
            if asked is not None:
                self.server.asked.append((place.name, asked.path, port))
                ready = any(
                    item["type"] == "Ready" and item["status"] == "True" for item in pod["status"]["conditions"]
                )
                release = self.server.release_of(pod)
                reply = pods.answer(asked, port, release, what, self.server.faults.credential, ready)
                self.wfile.write(forwarded.reply(*reply))
                return

    # -- answers

    def answer(self, code: int, document: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        body = json.dumps(document).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for warning in self.server.faults.warnings if self.command == "PATCH" else ():
            self.send_header("Warning", f'299 - "{warning}"')
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def status(self, code: int, reason: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        document = {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code}
        self.answer(code, {**document, "details": dict(details or {})})

    def drop(self) -> None:
        """End the connection without a word."""
        self.close_connection = True


def _state(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    statuses = (pod.get("status") or {}).get("containerStatuses") or [{}]
    return dict(statuses[0].get("state") or {})


def _merged(before: dict[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    after = copy.deepcopy(before)
    for name, value in patch.items():
        if value is None:
            after.pop(name, None)
        elif isinstance(value, dict):
            after[name] = _merged(after.get(name) or {}, value)
        else:
            after[name] = value
    return after


def _conflicts(conflict: applying.Conflict) -> str:
    said = "; ".join(f'conflict with "{who}": .{".".join(path)}' for path, who in conflict.found.items())
    return f"Apply failed with {len(conflict.found)} conflict(s): {said}"


def _causes(conflict: applying.Conflict) -> list[dict[str, str]]:
    return [
        {"reason": "FieldManagerConflict", "message": f'conflict with "{who}"', "field": f".{'.'.join(path)}"}
        for path, who in conflict.found.items()
    ]


def _default(place: Place, item: dict[str, Any]) -> None:
    """What the API server fills in."""
    if place.kind.name == "Deployment":
        item["spec"].setdefault("replicas", 1)
    if place.kind.name == "Namespace":
        item["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = item["metadata"]["name"]
    if place.namespace:
        item["metadata"].setdefault("namespace", place.namespace)


@contextmanager
def running(speed: float = 50.0) -> Iterator[Cluster]:
    cluster = Cluster(speed)
    threads = [
        threading.Thread(target=work, daemon=True) for work in (lambda: cluster.serve_forever(0.02), cluster.move)
    ]
    for thread in threads:
        thread.start()
    try:
        yield cluster
    finally:
        cluster.ended.set()
        cluster.shutdown()
        cluster.server_close()
        for thread in threads:
            thread.join(5)

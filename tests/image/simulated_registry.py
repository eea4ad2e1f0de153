"""A small real registry over HTTP, in memory, that fails where it is told to.

It follows the distribution specification far enough for pushes and pulls: uploads with resume, mounts, manifests that
are refused while a blob is missing, tags, the referrers API where switched on. It answers in threads of its own on a
free port of 127.0.0.1.
"""

import base64
import hashlib
import json
import re
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Seen:
    """One request as it came in."""

    method: str
    path: str
    authorization: str | None
    headers: dict[str, str]


@dataclass
class Repository:
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


Trouble = Callable[["Handler"], bool]
"""Looks at a request, before it is served, and says whether it has dealt with it."""


class Registry(ThreadingHTTPServer):
    """The server and what it holds."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, Repository] = {}
        self.uploads: dict[str, bytearray] = {}
        self.seen: list[Seen] = []
        self.trouble: list[Trouble] = []
        self.referrers_api = False
        self.password: tuple[str, str] | None = None
        self.tokens: set[str] | None = None
        self.token_uses = 1000
        self.lock = threading.Lock()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def repository(self, name: str) -> Repository:
        return self.repositories.setdefault(name, Repository())

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke off is what these tests are about."""

    def whole(self) -> bool:
        """Whether every tag names a manifest, and every manifest only what is there."""
        return all(
            tag in held.manifests and all(digest in held.blobs for digest in _named(held.manifests[tag][1]))
            for held in self.repositories.values()
            for tag in (*held.tags.values(), *held.manifests)
        )


def _named(manifest: bytes) -> Iterator[str]:
    value = json.loads(manifest)
    for item in (*value.get("layers", ()), *([value["config"]] if "config" in value else ())):
        yield item["digest"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Registry
    spent = False

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        pass

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_PATCH = do_GET  # noqa: N815 - the library's names

    def _serve(self) -> None:
        self.spent = False
        with self.server.lock:
            self.server.seen.append(
                Seen(self.command, self.path, self.headers.get("authorization"), dict(self.headers.items()))
            )
            if any(trouble(self) for trouble in list(self.server.trouble)):
                return
            url = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            if url.path == "/token":
                self._token(query)
            elif self.allowed():
                self.route(url.path, query)

    def body(self) -> bytes:
        self.spent = True
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def hang_up(self) -> None:
        """Drop the connection as a broken network does."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        if not self.spent:
            self.body()
        self.send_response_only(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def error(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        said = {"errors": [{"code": code, "message": f"text with {self.headers.get('authorization')}"}]}
        self.answer(status, headers, json.dumps(said).encode())

    def allowed(self) -> bool:
        given = self.headers.get("authorization", "")
        if self.server.tokens is not None:
            if given.removeprefix("Bearer ") in self.server.tokens and self.server.token_uses > 0:
                self.server.token_uses -= 1
                return True
            realm = f'Bearer realm="http://{self.server.host}/token",service="sim",scope="repository:icu:pull,push"'
            self.error(401, "UNAUTHORIZED", {"WWW-Authenticate": realm})
            return False
        if self.server.password is not None and given != _basic(*self.server.password):
            self.error(401, "UNAUTHORIZED", {"WWW-Authenticate": 'Basic realm="sim"'})
            return False
        return True

    def _token(self, query: dict[str, str]) -> None:
        if self.server.password is not None and self.headers.get("authorization") != _basic(*self.server.password):
            self.error(401, "UNAUTHORIZED")
            return
        token = uuid.uuid4().hex
        self.server.tokens = {token}
        self.server.token_uses = max(self.server.token_uses, 3)
        self.answer(200, {}, json.dumps({"token": token}).encode())

    def route(self, path: str, query: dict[str, str]) -> None:
        found = re.fullmatch(r"/v2/(.+?)/(blobs/uploads|blobs|manifests|referrers)/([^/]*)", path)
        if found is None:
            self.error(404, "NOT_FOUND")
            return
        held = self.server.repository(found[1])
        match found[2], self.command:
            case "blobs", "GET" | "HEAD":
                self.give_blob(held, found[3])
            case "blobs/uploads", "POST":
                self.begin(found[1], held, query)
            case "blobs/uploads", "PATCH" | "PUT" | "GET":
                self.upload(found[1], held, found[3], query)
            case "manifests", "GET" | "HEAD":
                self.give_manifest(held, found[3])
            case "manifests", "PUT":
                self.take_manifest(held, found[3])
            case "referrers", "GET" if self.server.referrers_api:
                self.give_referrers(held, found[3])
            case _:
                self.error(404, "UNSUPPORTED")

    def give_blob(self, held: Repository, digest: str) -> None:
        if digest not in held.blobs:
            self.error(404, "BLOB_UNKNOWN")
            return
        data = held.blobs[digest]
        asked = re.fullmatch(r"bytes=([0-9]+)-", self.headers.get("range", ""))
        if asked is None:
            self.answer(200, {"Docker-Content-Digest": digest}, data)
            return
        start = int(asked[1])
        self.answer(206, {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}, data[start:])

    def begin(self, name: str, held: Repository, query: dict[str, str]) -> None:
        source = self.server.repository(query["from"]).blobs if "from" in query else {}
        if query.get("mount") in source:
            held.blobs[query["mount"]] = source[query["mount"]]
            self.answer(201, {"Location": f"/v2/{name}/blobs/{query['mount']}"})
            return
        key = uuid.uuid4().hex
        self.server.uploads[key] = bytearray()
        self.answer(202, {"Location": f"/v2/{name}/blobs/uploads/{key}?state=secret"})

    def upload(self, name: str, held: Repository, key: str, query: dict[str, str]) -> None:
        if key not in self.server.uploads:
            self.error(404, "BLOB_UPLOAD_UNKNOWN")
            return
        data = self.server.uploads[key]
        where = {"Location": f"/v2/{name}/blobs/uploads/{key}?state=secret"}
        if self.command == "GET":
            self.answer(204, {**where, "Range": f"0-{max(len(data) - 1, 0)}"})
            return
        start = self.headers.get("content-range", f"{len(data)}-").partition("-")[0]
        if int(start) != len(data):
            self.error(416, "BLOB_UPLOAD_INVALID")
            return
        data.extend(self.body())
        if self.command == "PATCH":
            self.answer(202, {**where, "Range": f"0-{max(len(data) - 1, 0)}"})
        elif sha256(bytes(data)) != query["digest"]:
            self.error(400, "DIGEST_INVALID")
        else:
            held.blobs[query["digest"]] = bytes(self.server.uploads.pop(key))
            self.answer(201, {"Docker-Content-Digest": query["digest"]})

    def give_manifest(self, held: Repository, name: str) -> None:
        digest = held.tags.get(name, name)
        if digest not in held.manifests:
            self.error(404, "MANIFEST_UNKNOWN")
            return
        media_type, data = held.manifests[digest]
        self.answer(200, {"Content-Type": media_type, "Docker-Content-Digest": digest}, data)

    def take_manifest(self, held: Repository, name: str) -> None:
        data = self.body()
        digest = sha256(data)
        if not all(blob in held.blobs for blob in _named(data)):
            self.error(400, "MANIFEST_BLOB_UNKNOWN")
            return
        held.manifests[digest] = (self.headers["content-type"], data)
        if not name.startswith("sha256:"):
            held.tags[name] = digest
        subject = json.loads(data).get("subject")
        known = {"OCI-Subject": subject["digest"]} if subject and self.server.referrers_api else {}
        self.answer(201, {"Docker-Content-Digest": digest, **known})

    def give_referrers(self, held: Repository, digest: str) -> None:
        found = [
            {
                "mediaType": media_type,
                "digest": key,
                "size": len(data),
                "artifactType": json.loads(data).get("artifactType"),
            }
            for key, (media_type, data) in held.manifests.items()
            if json.loads(data).get("subject", {}).get("digest") == digest
        ]
        page = int(self.headers.get("x-page", 0)) or int(parse_qs(urlsplit(self.path).query).get("page", ["0"])[0])
        more = {"Link": f'</v2/icu/referrers/{digest}?page={page + 1}>; rel="next"'} if page + 1 < len(found) else {}
        body = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json"}
        body["manifests"] = found[page : page + 1]  # type: ignore[assignment]  # one a page, so that pages are read
        self.answer(200, more, json.dumps(body).encode())


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@contextmanager
def running() -> Iterator[Registry]:
    """Run a registry for the time of the ``with``."""
    registry = Registry()
    thread = threading.Thread(target=registry.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        registry.shutdown()
        registry.server_close()
        thread.join(5)


def numbered(number: int, act: Callable[[Handler], None], *, forever: bool = False) -> Trouble:
    """Trouble at the request with this number, counted from 0, and from there on where it is for ever."""
    count = iter(range(1_000_000))

    def trouble(handler: Handler) -> bool:
        here = next(count)
        if here == number or (forever and here > number):
            act(handler)
            return True
        return False

    return trouble


def matching(method: str, path: str, act: Callable[[Handler], None], *, times: int = 1) -> Trouble:
    """Trouble at the first requests whose method and path are these (regular expressions)."""
    left = [times]

    def trouble(handler: Handler) -> bool:
        if left[0] and re.fullmatch(method, handler.command) and re.search(path, handler.path):
            left[0] -= 1
            act(handler)
            return True
        return False

    return trouble


def drop_unread(handler: Handler) -> None:
    handler.hang_up()


def drop_unanswered(handler: Handler) -> None:
    """Do what was asked, and drop the connection instead of answering."""
    handler.wfile = _Nowhere()  # type: ignore[assignment]
    url = urlsplit(handler.path)
    handler.route(url.path, {key: values[0] for key, values in parse_qs(url.query).items()})
    handler.hang_up()


def drop_midway(handler: Handler) -> None:
    """Take half of the body, keep it as a registry does, and drop the connection."""
    half = int(handler.headers.get("content-length", 0)) // 2
    data = handler.rfile.read(half)
    key = urlsplit(handler.path).path.rpartition("/")[2]
    if handler.command == "PATCH" and key in handler.server.uploads:
        handler.server.uploads[key].extend(data)
    handler.hang_up()


def status(number: int, code: str = "UNKNOWN", headers: dict[str, str] | None = None) -> Callable[[Handler], None]:
    return lambda handler: handler.error(number, code, headers)


def altered(change: Callable[[bytes], bytes], *, cut: int = 0) -> Callable[[Handler], None]:
    """Answer with other bytes, or the length of the right ones and some fewer bytes."""

    def act(handler: Handler) -> None:
        real = handler.answer

        def answer(number: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
            if number not in (200, 206):
                real(number, headers, body)
            elif cut:
                handler.send_response_only(number)
                for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
                    handler.send_header(name, value)
                handler.end_headers()
                handler.wfile.write(body[: len(body) - cut])
                handler.hang_up()
            else:
                real(number, headers, change(body))

        handler.answer = answer  # type: ignore[method-assign]
        try:
            handler.route(urlsplit(handler.path).path, {})
        finally:
            del handler.answer

    return act


class _Nowhere:
    def write(self, data: bytes) -> int:
        return len(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    closed = False

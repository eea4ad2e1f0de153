"""What a cluster holds, kept up to date: list, watch from there; where it breaks, go on; where too old, list again.

As the API's own concept page says it ("Efficient detection of changes"): a watch goes on from the last
resourceVersion, also that of a bookmark; 410 Gone means that the server no longer remembers it, and everything is
listed anew.
"""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import httpx

from bedside.errors import BedsideError, ClusterInterrupted
from bedside.kube.cluster import refusals, requests
from bedside.kube.cluster.kinds import Kind
from bedside.kube.cluster.session import Session

_PAGE: Final = ("limit", "500")
_WAITS: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_GONE: Final = 410


class Gone(Exception):
    """The server no longer remembers the version that the watch stands at."""


class Mirror:
    """All objects of a kind in a namespace, as they are now; filled by a thread of its own."""

    def __init__(
        self, session: Session, kind: Kind, namespace: str, labels: Mapping[str, str] | None, tell: Callable[[], None]
    ) -> None:
        """See the class; ``tell`` is called after each change, from the mirror's thread."""
        self.kind = kind
        self._session, self._namespace, self._labels, self._tell = session, namespace, labels, tell
        self._held: dict[str, dict[str, Any]] = {}
        self._version = ""
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._open: httpx.Response | None = None
        self.failure: BedsideError | None = None
        self.lost: str = ""
        self.filled = False
        self._thread = threading.Thread(target=self._run, name=f"mirror-{kind.resource}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, also while the thread waits for a line."""
        self._stopped.set()
        with self._lock:
            if self._open is not None:
                _cut(self._open)
        self._thread.join(10)

    def items(self) -> tuple[dict[str, Any], ...]:
        """Return what there is now.

        Raises:
            BedsideError: It cannot be known any more; the API server refuses to tell.
        """
        if self.failure is not None:
            raise self.failure
        with self._lock:
            return tuple(self._held.values())

    def _run(self) -> None:
        failures = 0
        while not self._stopped.is_set():
            try:
                if not self._version:
                    self._relist()
                self.lost, failures = "", 0
                self._watch()
            except Gone:
                self._version = ""
            except ClusterInterrupted as error:
                if self._stopped.is_set():
                    return
                self.lost = str(error)
                self._tell()
                self._stopped.wait(max(_WAITS[min(failures, len(_WAITS) - 1)], min(error.after, 60.0)))
                failures += 1
            except BedsideError as error:
                self.failure = error
                self._tell()
                return

    def _relist(self) -> None:
        found: dict[str, dict[str, Any]] = {}
        more: requests.Query = (_PAGE,)
        while True:
            answer = self._session.send(requests.listing(self.kind, self._namespace, self._labels, more)).value
            for item in answer.get("items") or ():
                found[item["metadata"]["uid"]] = item
            token = answer["metadata"].get("continue")
            if not token:
                break
            more = (_PAGE, ("continue", token))
        with self._lock:
            self._held, self._version, self.filled = found, answer["metadata"]["resourceVersion"], True
        self._tell()

    def _watch(self) -> None:
        request = requests.watch(self.kind, self._namespace, self._labels, self._version)
        with self._session.lines(request, self._opened) as lines:
            for line in lines:
                if self._stopped.is_set():
                    return
                self._take(_event(line), request)

    def _take(self, event: dict[str, Any], request: requests.Request) -> None:
        item = event["object"]
        if event["type"] == "ERROR":
            if item.get("code") == _GONE:
                raise Gone
            body = json.dumps({"kind": "Status", **item}).encode()
            raise refusals.refusal(int(item.get("code", 500)), {}, body, request, self._session.access.context)
        with self._lock:
            self._version = item["metadata"]["resourceVersion"]
            if event["type"] == "DELETED":
                self._held.pop(item["metadata"]["uid"], None)
            elif event["type"] != "BOOKMARK":
                self._held[item["metadata"]["uid"]] = item
        if event["type"] != "BOOKMARK":
            self._tell()

    def _opened(self, response: httpx.Response) -> None:
        if response.status_code == _GONE:
            raise Gone
        with self._lock:
            self._open = response
        if self._stopped.is_set():
            _cut(response)


class Observed:
    """Several mirrors, and waiting for any of them to change."""

    def __init__(self) -> None:
        self._changed = threading.Event()
        self.mirrors: dict[str, Mirror] = {}

    def add(self, session: Session, kind: Kind, namespace: str, labels: Mapping[str, str] | None) -> None:
        """Watch all objects of ``kind`` with ``labels``."""
        self.mirrors[kind.name] = Mirror(session, kind, namespace, labels, self._changed.set)

    def items(self, kind: Kind) -> Sequence[dict[str, Any]]:
        """Return the objects of ``kind`` as they are now; errors as in `Mirror.items`."""
        return self.mirrors[kind.name].items()

    @property
    def filled(self) -> bool:
        """Whether every mirror has been listed once."""
        return all(mirror.filled for mirror in self.mirrors.values())

    @property
    def lost(self) -> str:
        """Why the cluster cannot be seen at the moment; empty while it can."""
        return next((mirror.lost for mirror in self.mirrors.values() if mirror.lost), "")

    def wait(self, seconds: float) -> None:
        """Return when something has changed since the last call, or after ``seconds``."""
        self._changed.wait(seconds)
        self._changed.clear()


@contextmanager
def observing(
    session: Session, namespace: str, kinds: Sequence[tuple[Kind, Mapping[str, str] | None]]
) -> Iterator[Observed]:
    """Watch objects of each of ``kinds`` with its labels, until the end of the block."""
    observed = Observed()
    for kind, labels in kinds:
        observed.add(session, kind, namespace, labels)
    for mirror in observed.mirrors.values():
        mirror.start()
    try:
        yield observed
    finally:
        for mirror in observed.mirrors.values():
            mirror.stop()


def _event(line: bytes) -> dict[str, Any]:
    """One line of a watch; half a line is a connection that broke."""
    try:
        event = json.loads(line)
        event["type"], event["object"]["kind"]
    except (ValueError, KeyError, TypeError):
        raise ClusterInterrupted("the API server dropped the connection in the middle of a line") from None
    return event  # type: ignore[no-any-return]


def _cut(response: httpx.Response) -> None:
    """End a connection that another thread reads from."""
    stream = response.extensions.get("network_stream")
    found = stream.get_extra_info("socket") if stream is not None else None
    if isinstance(found, socket.socket | ssl.SSLSocket):
        with suppress(OSError):
            found.shutdown(socket.SHUT_RDWR)

"""One blob to a registry, however often the way there breaks (distribution-spec, pushing blobs).

A small blob goes in one request. A large one goes as one stream, which every registry takes; where it is interrupted,
the registry is asked how far it came, and the rest follows. A registry that forgot the upload gets a new one.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import urlencode

from bedside.errors import RegistryDenied, RegistryFailed, RegistryInterrupted
from bedside.image.oci import Descriptor
from bedside.image.reference import Digest
from bedside.image.transport import WAITS, Answer, Body, Request, Session, failed

SMALL: Final = 1 << 20
"""Bytes of the largest blob that goes in one request."""

_PROGRESS: Final = 1 << 20
"""Bytes by which an upload must have come further for its attempts to be counted anew."""

_RANGE: Final = re.compile(r"(?:bytes=)?0-([0-9]{1,18})")
_FORGOTTEN: Final = frozenset({404, 409, 410, 416})
"""What a registry answers about an upload that it no longer knows; 400 too, where one is gone on with."""


class How(StrEnum):
    """How a blob came to be in a repository."""

    PRESENT = "present"
    MOUNTED = "mounted"
    SENT = "sent"


@dataclass(frozen=True, slots=True)
class Blob:
    """What is to be uploaded.

    Attributes:
        descriptor: What the registry must end up with.
        chunks: Its bytes, made anew for each attempt.
        mount_from: Repository of the same registry that may have it.
    """

    descriptor: Descriptor
    chunks: Callable[[], Iterator[bytes]]
    mount_from: str | None = None


@dataclass(frozen=True, slots=True)
class _Begun:
    """An upload that the registry knows: where it goes on, and how many bytes it has."""

    location: str
    offset: int = 0


class _Forgotten(RegistryInterrupted):
    """The registry does not know the upload any more."""


def holds(session: Session, repository: str, descriptor: Descriptor) -> bool:
    """Whether ``repository`` has the blob, of the size that it should have."""
    doing = f"say whether it has {descriptor.digest}"
    answer = session.send(Request("HEAD", f"/v2/{repository}/blobs/{descriptor.digest}", doing))
    if answer.status == 404:
        return False
    if answer.status != 200:
        raise failed(session.host, answer, doing)
    return answer.headers.get("content-length") in (None, str(descriptor.size))


class Upload:
    """The uploads of one repository."""

    def __init__(self, session: Session, repository: str, on_bytes: Callable[[int], None] = lambda _: None) -> None:
        """See the class.

        Args:
            session: With the registry.
            repository: Its path there.
            on_bytes: Told how many bytes further an upload came; fewer than none where it begins again.
        """
        self._session, self._repository, self._on_bytes = session, repository, on_bytes
        self._reached = 0

    def send(self, blob: Blob) -> How:
        """Bring ``blob`` into the repository.

        Raises:
            RegistryInterrupted: The connection broke again and again without coming further.
            RegistryFailed: The registry refuses the blob.
            ImageInvalid: The bytes at hand are not what their digest says; the registry has not got them.
        """
        # 1. Begin; a registry that has the blob in another repository mounts it, and that is all.
        # 2. Send the bytes that it has not got, and name the digest.
        # 3. Interrupted: wait; perhaps only the answer was lost, and it has the blob.
        # 4. Ask how far the upload came, or begin again, and go on with 2.
        # 5. Give up where it came no further several times.
        self._reached = 0
        begun = self._session.again(lambda: self._begin(blob))  # 1
        if begun is None:
            return How.MOUNTED
        waits, furthest = iter(WAITS), 0
        while True:
            try:
                self._finish(begun, blob)  # 2
            except RegistryInterrupted as error:
                wait = next(waits, None)
                if wait is None:
                    raise  # 5
                self._session.wait(wait, error)  # 3
                if holds(self._session, self._repository, blob.descriptor):
                    return How.SENT
                begun = self._where(begun, error) or self._anew(blob)  # 4
                if begun.offset >= furthest + _PROGRESS:
                    waits, furthest = iter(WAITS), begun.offset
            else:
                return How.SENT

    def _begin(self, blob: Blob) -> _Begun | None:
        """Begin an upload; ``None`` where the blob was mounted."""
        digest = blob.descriptor.digest
        url = f"/v2/{self._repository}/blobs/uploads/"
        if blob.mount_from is not None:
            mount = f"{url}?{urlencode({'mount': digest, 'from': blob.mount_from})}"
            try:
                answer = self._session.send_once(self._request("POST", mount, f"mount {digest}"))
            except RegistryDenied:  # not a reader of that repository: it is sent like any other
                answer = Answer(404, {}, b"")
            if answer.status == 201:
                return None
            if answer.status == 202:
                return self._begun(answer)
        answer = self._session.send_once(self._request("POST", url, f"begin the upload of {digest}"))
        if answer.status != 202:
            raise failed(self._session.host, answer, f"begin the upload of {digest}")
        return self._begun(answer)

    def _anew(self, blob: Blob) -> _Begun:
        """Begin again, and mount no more: the registry would have done so."""
        begun = self._session.again(lambda: self._begin(Blob(blob.descriptor, blob.chunks)))
        if begun is None:
            raise RegistryFailed(f"{self._session.host} mounts what it was not asked to mount")
        return begun

    def _finish(self, begun: _Begun, blob: Blob) -> None:
        """Send what is missing, and name the digest."""
        descriptor, digest = blob.descriptor, blob.descriptor.digest
        if descriptor.size <= SMALL and begun.offset == 0:
            self._complete(begun.location, digest, self._body(blob, 0), resumed=False)
            return
        location = begun.location
        if begun.offset < descriptor.size:
            headers = {"Content-Type": "application/octet-stream"}
            if begun.offset:
                headers["Content-Range"] = f"{begun.offset}-{descriptor.size - 1}"
            doing = f"take the bytes of {digest}"
            answer = self._session.send_once(
                self._request("PATCH", location, doing, headers, self._body(blob, begun.offset))
            )
            self._expect(answer, 202, doing, resumed=begun.offset > 0)
            location = self._begun(answer, location).location
        self._complete(location, digest, Body(0, lambda: iter(())), resumed=begun.offset > 0)

    def _complete(self, location: str, digest: Digest, body: Body, *, resumed: bool) -> None:
        doing = f"complete the upload of {digest}"
        url = f"{location}{'&' if '?' in location else '?'}{urlencode({'digest': digest})}"
        headers = {"Content-Type": "application/octet-stream"}
        answer = self._session.send_once(self._request("PUT", url, doing, headers, body))
        self._expect(answer, 201, doing, resumed=resumed)

    def _expect(self, answer: Answer, status: int, doing: str, *, resumed: bool) -> None:
        if answer.status in _FORGOTTEN or (resumed and answer.status == 400):
            raise _Forgotten(str(failed(self._session.host, answer, doing)))
        if answer.status != status:
            raise failed(self._session.host, answer, doing)

    def _where(self, begun: _Begun, error: RegistryInterrupted) -> _Begun | None:
        """Ask how far the upload came; ``None`` where the registry forgot it."""
        if isinstance(error, _Forgotten):
            return None
        answer = self._session.send(self._request("GET", begun.location, "say how far the upload came"))
        found = _RANGE.fullmatch(answer.headers.get("range", ""))
        if answer.status != 204 or found is None:
            return None
        last = int(found[1])
        return _Begun(self._begun(answer, begun.location).location, last + 1 if last else 0)

    def _begun(self, answer: Answer, before: str | None = None) -> _Begun:
        location = answer.headers.get("location")
        if location is None and before is None:
            raise RegistryFailed(f"{self._session.host} begins an upload without saying where it goes on")
        return _Begun(self._session.resolve(location or "", before) if location else str(before))

    def _body(self, blob: Blob, offset: int) -> Body:
        return Body(blob.descriptor.size - offset, lambda: self._counted(after(blob.chunks(), offset), offset))

    def _counted(self, chunks: Iterator[bytes], offset: int) -> Iterator[bytes]:
        """Pass ``chunks`` on, and tell how far the blob came with each."""
        self._reach(offset)
        for chunk in chunks:
            yield chunk
            self._reach(self._reached + len(chunk))

    def _reach(self, place: int) -> None:
        self._on_bytes(place - self._reached)
        self._reached = place

    def _request(
        self, method: str, url: str, doing: str, headers: dict[str, str] | None = None, body: Body | None = None
    ) -> Request:
        return Request(method, url, doing, headers or {}, body)


def after(chunks: Iterator[bytes], offset: int) -> Iterator[bytes]:
    """Leave the first ``offset`` bytes out; they are read, so that the digest is still compared."""
    for chunk in chunks:
        if offset >= len(chunk):
            offset -= len(chunk)
            continue
        yield chunk[offset:]
        offset = 0

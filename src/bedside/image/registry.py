"""A repository of a registry, in the words of the OCI distribution specification.

Nothing that a registry says is believed without its digest: manifests and blobs are hashed here, and a digest in a
header must be the one that the bytes have.
"""

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from bedside.errors import ImageInvalid, RegistryFailed, RegistryInterrupted
from bedside.image import layout, oci, uploading
from bedside.image.oci import Descriptor, Index
from bedside.image.reference import Digest, Reference
from bedside.image.shipment import Stored
from bedside.image.transport import WAITS, Answer, Body, Request, Session, failed

_ACCEPT: Final = ", ".join(sorted(oci.MANIFESTS | oci.INDEXES))
_NEXT: Final = re.compile(r"<([^<>]{1,2000})>\s*;\s*rel=\"?next\"?")
_MOST_PAGES: Final = 50
_ATTACH_ATTEMPTS: Final = 4


class Repository:
    """One repository, over a session with its registry."""

    def __init__(self, session: Session, name: str) -> None:
        self.session, self.name = session, name

    def reference(self, digest: Digest) -> Reference:
        """Return where ``digest`` is found."""
        return Reference(self.session.host, self.name, digest=digest)

    def find(self, name: str) -> Stored | None:
        """Return the manifest of a tag or digest, ``None`` where there is none.

        Raises:
            ImageInvalid: What came is not what the digest says, or no manifest or index.
        """
        doing = f"give the manifest {name}"
        answer = self.session.send(Request("GET", self._manifests(name), doing, {"Accept": _ACCEPT}))
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise failed(self.session.host, answer, doing)
        digest = self._digest(answer, name)
        media_type = answer.headers.get("content-type", "").partition(";")[0].strip()
        if media_type not in oci.MANIFESTS | oci.INDEXES:
            raise ImageInvalid(f"{self.session.host} gives {name} as {media_type[:100]!r}, which is no image of today")
        return Stored(Descriptor(media_type=media_type, digest=digest, size=len(answer.body)), answer.body)

    def get(self, name: str) -> Stored:
        """Return the manifest of a tag or digest.

        Raises:
            RegistryFailed: There is none.
        """
        stored = self.find(name)
        if stored is None:
            raise RegistryFailed(
                f"{self.session.host} has no {name} in {self.name}",
                remedy="Look at the name and the tag; a registry says the same where this account may not look.",
            )
        return stored

    def blob(self, descriptor: Descriptor) -> Iterator[bytes]:
        """Stream a blob; where the connection breaks, it goes on from there. Given as in `layout.compared`.

        Raises:
            ImageInvalid: The bytes are not what the digest says.
            RegistryInterrupted: The connection broke again and again without coming further.
        """
        return layout.compared(self._bytes(descriptor), descriptor)

    def put(self, stored: Stored, tag: str | None = None) -> bool:
        """Store a manifest under its digest or ``tag``; return whether its subject now lists it as a referrer.

        Raises:
            RegistryFailed: The registry refuses it.
        """
        descriptor = stored.descriptor
        doing = f"take the manifest {tag or descriptor.digest}"
        headers = {"Content-Type": descriptor.media_type}
        body = Body(len(stored.data), lambda: iter((stored.data,)))
        url = self._manifests(tag or descriptor.digest)
        answer = self.session.send(Request("PUT", url, doing, headers, body))
        if answer.status not in (200, 201, 202):
            raise failed(self.session.host, answer, doing)
        said = answer.headers.get("docker-content-digest", descriptor.digest)
        if said != descriptor.digest:
            raise ImageInvalid(f"{self.session.host} stored the manifest {descriptor.digest} under another digest")
        return "oci-subject" in answer.headers

    def attach(self, artifact: Stored) -> None:
        """Store an artifact and list it among the referrers of its subject.

        A registry with the referrers API lists it by itself. Elsewhere a tag ``sha256-...`` names an index of the
        referrers (distribution-spec, pushing manifests with subject); it is read again until the artifact is in it.

        Raises:
            ImageInvalid: The manifest has no subject.
        """
        manifest = oci.decode_manifest(artifact.data, artifact.descriptor.media_type)
        if manifest.subject is None:
            raise ImageInvalid(f"{artifact.descriptor.digest} is about no other manifest")
        if self.put(artifact):
            return
        entry = msgspec.structs.replace(
            artifact.descriptor,
            artifact_type=manifest.artifact_type or manifest.config.media_type,
            annotations=manifest.annotations,
        )
        tag = referrers_tag(manifest.subject.digest)
        for _ in range(_ATTACH_ATTEMPTS):
            before = self._tagged_index(tag)
            if any(item.digest == entry.digest for item in before.manifests):
                return
            data = oci.encode(msgspec.structs.replace(before, manifests=(*before.manifests, entry)))
            self.put(Stored(oci.describe(data, oci.INDEX), data), tag)
        raise RegistryFailed(f"the list of referrers {tag} is changed by others as fast as it is written")

    def referrers(self, digest: Digest, artifact_type: str | None = None) -> tuple[Descriptor, ...]:
        """Return what is attached to the manifest ``digest``, by the API or by the tag.

        Args:
            digest: The subject.
            artifact_type: Only what is of this type.
        """
        found = self._listed(digest)
        return tuple(item for item in found if artifact_type in (None, item.artifact_type))

    def _listed(self, digest: Digest) -> tuple[Descriptor, ...]:
        url: str | None = f"/v2/{self.name}/referrers/{digest}"
        found: list[Descriptor] = []
        for page in range(_MOST_PAGES):
            if url is None:
                return tuple(found)
            answer = self.session.send(Request("GET", url, "list referrers", {"Accept": oci.INDEX}))
            if answer.status in (404, 405) and page == 0:
                return self._tagged_index(referrers_tag(digest)).manifests
            if answer.status != 200:
                raise failed(self.session.host, answer, "list referrers")
            found.extend(oci.decode_index(answer.body).manifests)
            link = _NEXT.search(answer.headers.get("link", ""))
            url = self.session.resolve(link[1], self.session.resolve(url)) if link else None
        raise RegistryFailed(f"{self.session.host} lists referrers without end")

    def _tagged_index(self, tag: str) -> Index:
        stored = self.find(tag)
        if stored is None:
            return Index(media_type=oci.INDEX, manifests=())
        return oci.decode_index(stored.data, stored.descriptor.media_type)

    def _digest(self, answer: Answer, name: str) -> Digest:
        """Hash the manifest in ``answer``, and hold against it the digest asked for and the one in the header."""
        said = answer.headers.get("docker-content-digest")
        asked = Digest(name) if ":" in name else None
        computed = Digest.of(answer.body, asked.algorithm if asked is not None else "sha256")
        if asked is not None and computed != asked:
            raise ImageInvalid(f"{self.session.host} gives a manifest for {asked} that has the digest {computed}")
        if said is not None and said.partition(":")[0] == computed.algorithm and said != computed:
            raise ImageInvalid(f"{self.session.host} gives {name} with a digest that its bytes have not")
        return computed

    def _bytes(self, descriptor: Descriptor) -> Iterator[bytes]:
        waits, place, furthest = iter(WAITS), 0, 0
        while place < descriptor.size or descriptor.size == 0:
            try:
                for chunk in self._from(descriptor, place):
                    place += len(chunk)
                    yield chunk
            except RegistryInterrupted as error:
                if place >= furthest + layout.CHUNK:
                    waits, furthest = iter(WAITS), place
                wait = next(waits, None)
                if wait is None:
                    raise
                self.session.wait(wait, error)
            else:
                return

    def _from(self, descriptor: Descriptor, place: int) -> Iterator[bytes]:
        """Stream the bytes behind ``place``, whether the registry knows ranges or not."""
        doing = f"give {descriptor.digest}"
        headers = {"Range": f"bytes={place}-"} if place else {}
        url = f"/v2/{self.name}/blobs/{descriptor.digest}"
        with self.session.open(Request("GET", url, doing, headers)) as response:
            if response.status_code not in (200, 206):
                raise failed(self.session.host, Answer(response.status_code, response.headers, b""), doing)
            begun = place if response.status_code == 206 else 0
            if begun and not response.headers.get("content-range", "").startswith(f"bytes {place}-"):
                raise RegistryFailed(
                    f"{self.session.host} gives another part of {descriptor.digest} than was asked for"
                )
            yield from uploading.after(response.iter_raw(layout.CHUNK), place - begun)

    def _manifests(self, name: str) -> str:
        return f"/v2/{self.name}/manifests/{name}"


def referrers_tag(digest: Digest) -> str:
    """Return the tag that lists the referrers of ``digest`` where there is no API for it."""
    return f"{digest.algorithm[:32]}-{digest.hex[:64]}"

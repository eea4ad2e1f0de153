"""Names of images, ``host[:port]/repository[:tag][@digest]``, and the digests in them. Pure."""

import hashlib
import re
from dataclasses import dataclass, replace
from typing import Final

from bedside.errors import ReferenceInvalid

_LENGTHS: Final = {"sha256": 64, "sha512": 128}
"""Registered algorithms (image-spec, descriptor.md) and the hexadecimal digits that each has."""

_HOST: Final = re.compile(
    r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
    r"(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*(?::[0-9]{1,5})?"
    r"|\[[0-9a-fA-F:]+\](?::[0-9]{1,5})?"
)
_REPOSITORY: Final = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_LONGEST_NAME: Final = 255

_HUB: Final = "docker.io"
"""The registry that a name without a host stands for, as docker and podman read it."""


class Digest(str):
    """What bytes hash to, as text that was checked: ``sha256:...`` or ``sha512:...``."""

    __slots__ = ()

    def __new__(cls, text: str) -> "Digest":
        """Read ``algorithm:hex``.

        Raises:
            ReferenceInvalid: Another algorithm, another length, or not lowercase hexadecimal.
        """
        algorithm, _, digits = text.partition(":")
        if len(digits) != _LENGTHS.get(algorithm) or re.fullmatch("[0-9a-f]+", digits) is None:
            raise ReferenceInvalid(f"{text[:150]!r} is no digest")
        return super().__new__(cls, text)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> "Digest":
        """Return the digest of ``data``."""
        return cls(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")

    @property
    def algorithm(self) -> str:
        """``sha256`` or ``sha512``."""
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        """Lowercase hexadecimal digits, 64 or 128."""
        return self.partition(":")[2]


@dataclass(frozen=True, slots=True)
class Reference:
    """Where an image is, by tag or by digest or both; the digest then decides.

    Attributes:
        host: Name of the registry with its port, ``registry.example.org:5000``.
        repository: Path in it, ``icu/mortality``.
        tag: ``1.0.0``; ``None`` where none is named.
        digest: Digest of the manifest; ``None`` where none is named.
    """

    host: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        digest = f"@{self.digest}" if self.digest is not None else ""
        return f"{self.host}/{self.repository}{tag}{digest}"

    def at(self, digest: Digest) -> "Reference":
        """Return the same repository at ``digest``, without a tag: what manifests name."""
        return replace(self, tag=None, digest=digest)

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Read a reference as docker and podman do: without a host it is on Docker Hub.

        Raises:
            ReferenceInvalid: It does not follow the grammar; the message names the part.
        """
        rest, at, digest_text = text.partition("@")
        digest = Digest(digest_text) if at else None
        name, tag = _split_tag(rest)
        host, repository = _split_host(name)
        if _HOST.fullmatch(host) is None:
            raise ReferenceInvalid(f"{text[:300]!r}: {host!r} is no host")
        if _REPOSITORY.fullmatch(repository) is None or len(host) + len(repository) >= _LONGEST_NAME:
            raise ReferenceInvalid(f"{text[:300]!r}: {repository!r} is no repository; its letters are lowercase")
        if tag is not None and _TAG.fullmatch(tag) is None:
            raise ReferenceInvalid(f"{text[:300]!r}: {tag!r} is no tag")
        return cls(host, repository, tag, digest)


def _split_tag(text: str) -> tuple[str, str | None]:
    """Cut the tag off: what follows a colon behind the last slash."""
    colon = text.rfind(":")
    if colon <= text.rfind("/"):
        return text, None
    return text[:colon], text[colon + 1 :]


def _split_host(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and (first == "localhost" or any(mark in first for mark in ".:") or first != first.lower()):
        if first == _HUB and "/" not in rest:
            return _HUB, f"library/{rest}"
        return first, rest
    return _HUB, name if slash else f"library/{name}"

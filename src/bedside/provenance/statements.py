"""in-toto statements, version 1: what somebody says about an image, bound to its digest. Pure.

https://github.com/in-toto/attestation/tree/main/spec/v1
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bedside.errors import NotTrusted
from bedside_runtime import canonical

TYPE: Final = "https://in-toto.io/Statement/v1"

MEDIA_TYPE: Final = "application/vnd.in-toto+json"
"""Of a statement that nobody signed yet, as an artifact beside an image."""

PREDICATE_ANNOTATION: Final = "in-toto.io/predicate-type"
"""Annotation of such an artifact: what kind of statement it holds, as BuildKit names it."""

SBOM: Final = "https://cyclonedx.org/bom"
PROVENANCE: Final = "https://slsa.dev/provenance/v1"
SCAN: Final = "https://cosign.sigstore.dev/attestation/vuln/v1"
PROOF: Final = "https://in-toto.io/attestation/test-result/v0.1"
"""That an image answered every golden case before it had a name: `bedside build` leaves it, see `stages.record`."""

SIGNATURE: Final = "https://sigstore.dev/cosign/sign/v1"
"""What cosign 3 and later says of an image that it signs: nothing but that it signs it."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement about one or several things.

    Attributes:
        subjects: Digest of each, ``sha256:...``, with the name that it is called by.
        predicate_type: What kind of statement it is, a URI.
        predicate: What it says.
    """

    subjects: Mapping[str, str]
    predicate_type: str
    predicate: Mapping[str, Any]

    def about(self, digest: str) -> bool:
        """Whether ``digest`` is among its subjects."""
        return digest in self.subjects


def encode(digest: str, name: str, predicate_type: str, predicate: Mapping[str, Any]) -> bytes:
    """Return the canonical bytes of a statement about one thing.

    Args:
        digest: What it is about, ``sha256:...``.
        name: What that is called; for people, nobody compares it.
        predicate_type: What kind of statement it is.
        predicate: What it says.
    """
    algorithm, _, digits = digest.partition(":")
    return canonical.encode(
        {
            "_type": TYPE,
            "subject": [{"name": name, "digest": {algorithm: digits}}],
            "predicateType": predicate_type,
            "predicate": dict(predicate),
        }
    )


def wrapped(digest: str, name: str, predicate_type: str, document: bytes) -> bytes:
    """Return a statement whose predicate is a JSON document; see `encode`.

    Raises:
        NotTrusted: The document is no JSON object.
    """
    try:
        said = canonical.decode(document)
    except canonical.NotStrictJSON as error:
        raise NotTrusted(f"a document beside the image cannot be read: {error}") from None
    if not isinstance(said, dict):
        raise NotTrusted("a document beside the image is no JSON object")
    return encode(digest, name, predicate_type, said)


def decode(data: bytes) -> Statement:
    """Read a statement.

    Raises:
        NotTrusted: It is none of version 1.
    """
    try:
        said = canonical.decode(data)
    except canonical.NotStrictJSON as error:
        raise NotTrusted(f"a statement cannot be read: {error}") from None
    match said:
        case {"_type": str(kind), "subject": [*subjects], "predicateType": str(what), "predicate": dict(predicate)}:
            if kind == TYPE:
                return Statement(dict(_subject(item) for item in subjects), what, predicate)
    raise NotTrusted("a statement is none of in-toto, version 1")


def _subject(item: object) -> tuple[str, str]:
    match item:
        case {"digest": {"sha256": str(digits)}}:
            name = item.get("name", "") if isinstance(item, dict) else ""
            return f"sha256:{digits}", name if isinstance(name, str) else ""
    raise NotTrusted("a statement has a subject without a sha256")

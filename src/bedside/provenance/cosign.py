"""What cosign writes beside an image and looks for when it verifies. Pure: values to bytes and back.

Three forms, all read, all written:

- a *simple signing* payload (containers/image, atomic signature) that names repository and digest; the payloads of an
  image are the layers of the manifest that the tag ``sha256-<digest>.sig`` names (cosign, specs/SIGNATURE_SPEC.md);
- DSSE envelopes of in-toto statements, the layers of ``sha256-<digest>.att`` (specs/ATTESTATION_SPEC.md);
- Sigstore bundles 0.3, one a manifest whose subject is the image: what cosign 3 writes and looks for first.

Nothing here is uploaded to a transparency log: cosign is told so with ``--insecure-ignore-tlog``, and a hospital's
model does not appear in a public log because it was signed.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Final

from bedside.errors import NotTrusted
from bedside.provenance import dsse
from bedside.provenance.dsse import Envelope
from bedside.provenance.keys import PublicKey
from bedside_runtime import canonical

SIMPLE_SIGNING: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
DSSE: Final = "application/vnd.dsse.envelope.v1+json"
BUNDLE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"

SIGNATURE: Final = "dev.cosignproject.cosign/signature"
"""Annotation of a layer that holds a payload: its signature in base64; empty beside an envelope, which has its own."""

PREDICATE_TYPE: Final = "predicateType"
"""Annotation of a layer that holds an envelope."""

BUNDLE_CONTENT: Final = "dev.sigstore.bundle.content"
BUNDLE_PREDICATE_TYPE: Final = "dev.sigstore.bundle.predicateType"
"""Annotations of a bundle's manifest."""

_TYPE: Final = "cosign container image signature"


@dataclass(frozen=True, slots=True)
class Signed:
    """A simple signing payload and the signature over it.

    Attributes:
        payload: The bytes that were signed.
        signature: As the key made it.
    """

    payload: bytes
    signature: bytes

    def signed_by(self, key: PublicKey) -> bool:
        """Whether ``key`` made the signature."""
        return key.verifies(self.signature, self.payload)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a payload says: this digest, under this name.

    Attributes:
        digest: Of the image's manifest, ``sha256:...``.
        repository: Host and path that the image was signed for, without tag or digest.
    """

    digest: str
    repository: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """A Sigstore bundle with an envelope.

    Attributes:
        envelope: What was signed.
        data: The whole bundle; where it has a certificate, `keyless` verifies it.
        certified: Whether it names a certificate instead of a key.
    """

    envelope: Envelope
    data: bytes
    certified: bool


def payload(claim: Claim) -> bytes:
    """Return what is signed for an image in cosign's own form; the signature is over these bytes."""
    return canonical.encode(
        {
            "critical": {
                "identity": {"docker-reference": claim.repository},
                "image": {"docker-manifest-digest": claim.digest},
                "type": _TYPE,
            },
            "optional": None,
        }
    )


def claim(data: bytes) -> Claim:
    """Read a payload whose signature was verified.

    Raises:
        NotTrusted: It is none, or of another kind.
    """
    try:
        said = canonical.decode(data)
    except canonical.NotStrictJSON as error:
        raise NotTrusted(f"a signed payload cannot be read: {error}") from None
    match said:
        case {
            "critical": {
                "identity": {"docker-reference": str(reference)},
                "image": {"docker-manifest-digest": str(digest)},
                "type": str(kind),
            }
        } if kind == _TYPE:
            return Claim(digest, repository(reference))
    raise NotTrusted("a signed payload is not what cosign says of an image")


def repository(reference: str) -> str:
    """Return ``reference`` without tag and digest; cosign writes both kinds."""
    name = reference.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def annotation(signature: bytes) -> str:
    """Return a signature as an annotation holds it."""
    return base64.b64encode(signature).decode()


def from_annotation(data: bytes, text: str) -> Signed:
    """Read a payload and the annotation beside it.

    Raises:
        NotTrusted: The annotation is no base64.
    """
    try:
        return Signed(data, base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        raise NotTrusted("a signature is no base64") from None


def bundle(envelope: Envelope, key: PublicKey) -> bytes:
    """Return the canonical bytes of a bundle that names the key by its hint and brings no proof of a log."""
    return canonical.encode(
        {
            "mediaType": BUNDLE,
            "verificationMaterial": {"publicKey": {"hint": key.hint}, "tlogEntries": []},
            "dsseEnvelope": dsse.value(envelope),
        }
    )


def read_bundle(data: bytes) -> Bundle:
    """Read a bundle. Nothing of it is believed by that.

    Raises:
        NotTrusted: It is none with an envelope.
    """
    try:
        said: Any = canonical.decode(data)
    except canonical.NotStrictJSON as error:
        raise NotTrusted(f"a bundle cannot be read: {error}") from None
    match said:
        case {"mediaType": str(kind), "verificationMaterial": dict(material), "dsseEnvelope": envelope}:
            if kind.startswith("application/vnd.dev.sigstore.bundle"):
                return Bundle(dsse.of(envelope), data, "publicKey" not in material)
    raise NotTrusted("a bundle holds no envelope")

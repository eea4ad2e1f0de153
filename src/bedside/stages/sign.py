"""`bedside sign`: a release, or an image with what is known about it, under a key."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bedside.errors import ToolFailed, UsageError
from bedside.image import attached, oci
from bedside.image.attached import Beside, Place
from bedside.image.oci import Descriptor, ImageConfig, Manifest, RootFS
from bedside.provenance import cosign, dsse, release_signature, sbom, statements
from bedside.provenance.cosign import Bundle, Claim, Signed
from bedside.provenance.dsse import Envelope
from bedside.provenance.keyless import Keyless
from bedside.provenance.keys import Signer
from bedside.release.reading import Release, open_release
from bedside.stages import evidence
from bedside.stages.verify import check_files
from bedside_runtime import contract as seam
from bedside_runtime.signature import FILE_NAME as SIGNATURE


@dataclass(frozen=True, slots=True)
class SignedRelease:
    """A release with its contract.sig.

    Attributes:
        release: The release.
        path: Of contract.sig.
    """

    release: Release
    path: Path


@dataclass(frozen=True, slots=True)
class SignedImage:
    """An image that carries signatures.

    Attributes:
        digest: Of its manifest.
        repository: The name that it was signed for.
        statements: Predicate types of the statements that were signed with it.
    """

    digest: str
    repository: str
    statements: tuple[str, ...]


def sign_release(directory: Path, signer: Signer) -> SignedRelease:
    """Write contract.sig into the release in ``directory``; one that is there is replaced.

    Raises:
        VerificationFailed: The release is not what its contract says; nothing was signed.
        KeyInvalid: The key is of a kind that the format does not know.
        ToolFailed: The directory cannot be written, or a service that keeps the key fails.
    """
    release = open_release(directory)
    check_files(release)
    name = f"{release.contract.name}-{release.contract.version}"
    data = release_signature.sign(name, signed_files(release), signer)
    path = release.directory / SIGNATURE
    _replace(path, data)
    return SignedRelease(release, path)


def signed_files(release: Release) -> dict[str, str]:
    """Return what a signature of a release covers: the sha256 of contract.json and of every file that it names."""
    return {seam.FILE_NAME: release.digest, **{item.path: item.sha256 for item in release.contract.files}}


def sign_image(
    place: Place,
    repository: str,
    signer: Signer | Keyless,
    *,
    extra: Sequence[bytes] = (),
    own_statements: bool = True,
    on_step: Callable[[str], None] = lambda _: None,
) -> SignedImage:
    """Sign an image, and the statements about it.

    Args:
        place: Where it is.
        repository: Host and path that it is signed for.
        signer: A key, or who is signed in.
        extra: Statements to sign beside those that stand there.
        own_statements: Whether the unsigned statements beside the image are signed. Right for a layout on the machine
            that built it; in a registry anybody who may push could have put them there.
        on_step: Told what is being done.

    Raises:
        UsageError: One of ``extra`` is about another image.
        NotTrusted: A statement cannot be read.
        ToolFailed: The place, or a service that keeps the key, fails.
    """
    # 1. What stands there: statements to sign, and what this key signed already.
    # 2. Sign each statement, for cosign's .att and as a bundle.
    # 3. Sign the image itself, last: whatever is cut off before, no policy that asks for a signature is content.
    there = tuple(place.beside())  # 1
    payloads = [*_statements(place, there, extra, own=own_statements)]
    signing = _signing(place, there, signer)
    for payload in payloads:  # 2
        kind = statements.decode(payload).predicate_type
        on_step(f"signing the statement {kind}")
        signing.statement(payload, kind)
    on_step("signing the image")  # 3
    signing.image(repository)
    kinds = sorted({statements.decode(payload).predicate_type for payload in payloads})
    return SignedImage(place.descriptor.digest, repository, tuple(kinds))


def _statements(place: Place, there: Sequence[Beside], extra: Sequence[bytes], *, own: bool) -> Iterator[bytes]:
    digest = place.descriptor.digest
    for payload in extra:
        if not statements.decode(payload).about(digest):
            raise UsageError(f"a statement that was given is not about {digest}", remedy="Make it about this image.")
        yield payload
    if own:
        for item in there:
            yield from _unsigned(place, item)


def _unsigned(place: Place, item: Beside) -> Iterator[bytes]:
    """Give the statement that an artifact holds; an SBOM becomes one."""
    digest, name = place.descriptor.digest, evidence.subject_name(place.manifest.annotations)
    match item.manifest.artifact_type, item.manifest.layers:
        case (kind, (layer,)) if kind == statements.MEDIA_TYPE:
            payload = place.read(layer)
            if statements.decode(payload).about(digest):
                yield payload
        case (kind, (layer,)) if kind == sbom.MEDIA_TYPE:
            yield statements.wrapped(digest, name, statements.SBOM, place.read(layer))


class _Signing(Protocol):
    """Adds signatures beside an image."""

    def statement(self, payload: bytes, kind: str) -> None:
        """Sign a statement."""
        ...

    def image(self, repository: str) -> None:
        """Sign the image itself."""
        ...


def _signing(place: Place, there: Sequence[Beside], signer: Signer | Keyless) -> _Signing:
    if isinstance(signer, Signer):
        return _ByKey(place, there, signer)
    return _ByIdentity(place, signer)


class _ByKey:
    """Adds signatures of one key beside an image; what it signed already is not signed again."""

    def __init__(self, place: Place, there: Sequence[Beside], signer: Signer) -> None:
        self._place, self._signer = place, signer
        self._tagged = {item.suffix: item.manifest for item in there if item.suffix is not None}
        found = tuple(evidence.signatures(place, there))
        key = signer.public
        self._claims = {item.payload for item in found if isinstance(item, Signed) and item.signed_by(key)}
        self._envelopes = {item.payload: item for item in found if isinstance(item, Envelope) and item.signed_by(key)}
        bundles = (item.envelope for item in found if isinstance(item, Bundle))
        self._bundled = {envelope.payload for envelope in bundles if envelope.signed_by(key)}

    def statement(self, payload: bytes, kind: str) -> None:
        """Sign a statement, for those who look by tag and those who look by subject."""
        envelope = self._envelopes.get(payload)
        if envelope is None:
            envelope = dsse.sign(payload, self._signer)
            data = dsse.encode(envelope)
            annotations = {cosign.SIGNATURE: "", cosign.PREDICATE_TYPE: kind}
            self._append("att", oci.describe(data, cosign.DSSE, annotations=annotations), data)
        self._bundle(envelope, kind)

    def image(self, repository: str) -> None:
        """Sign the image itself, in both forms too; the tag comes last."""
        digest = self._place.descriptor.digest
        said = statements.encode(digest, repository, statements.SIGNATURE, {})
        if said not in self._bundled:
            self._bundle(dsse.sign(said, self._signer), statements.SIGNATURE)
        payload = cosign.payload(Claim(digest, repository))
        if payload not in self._claims:
            annotations = {cosign.SIGNATURE: cosign.annotation(self._signer.sign(payload))}
            self._append("sig", oci.describe(payload, cosign.SIMPLE_SIGNING, annotations=annotations), payload)

    def _bundle(self, envelope: Envelope, kind: str) -> None:
        if envelope.payload in self._bundled:
            return
        _attach_bundle(self._place, cosign.bundle(envelope, self._signer.public), kind)

    def _append(self, suffix: str, layer: Descriptor, data: bytes) -> None:
        """Add a layer to what the tag names. The manifest is an image's in form: that is how cosign keeps them."""
        before = self._tagged.get(suffix)
        layers = (*(before.layers if before is not None else ()), layer)
        rootfs = RootFS(diff_ids=tuple(item.digest for item in layers))
        config = oci.encode(ImageConfig(architecture="", os="", rootfs=rootfs))
        described = oci.describe(config, oci.CONFIG)
        manifest = Manifest(media_type=oci.MANIFEST, config=described, layers=layers)
        self._place.name(suffix, manifest, ((described, config), (attached.bare(layer), data)))
        self._tagged[suffix] = manifest


class _ByIdentity:
    """Adds keyless bundles, the one form in which certificate and proof of the log have a place."""

    def __init__(self, place: Place, signer: Keyless) -> None:
        self._place, self._signer = place, signer

    def statement(self, payload: bytes, kind: str) -> None:
        """Sign a statement."""
        _attach_bundle(self._place, self._signer.bundle(payload), kind)

    def image(self, repository: str) -> None:
        """Sign the image itself."""
        said = statements.encode(self._place.descriptor.digest, repository, statements.SIGNATURE, {})
        _attach_bundle(self._place, self._signer.bundle(said), statements.SIGNATURE)


def _attach_bundle(place: Place, data: bytes, kind: str) -> None:
    annotations = {cosign.BUNDLE_CONTENT: "dsse-envelope", cosign.BUNDLE_PREDICATE_TYPE: kind}
    place.attach(*attached.artifact(place.descriptor, cosign.BUNDLE, data, cosign.BUNDLE, annotations))


def _replace(path: Path, data: bytes) -> None:
    staged = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        staged.write_bytes(data)
        staged.replace(path)
    except OSError as error:
        raise ToolFailed(f"{path} cannot be written: {error.strerror}") from None
    finally:
        staged.unlink(missing_ok=True)

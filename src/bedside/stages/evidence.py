"""What stands beside an image, read for a judgement. Nothing is believed here; what cannot be read says nothing."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from bedside.errors import NotTrusted
from bedside.image import attached, plan
from bedside.image.attached import Beside, InLayout, Place
from bedside.image.oci import Descriptor
from bedside.provenance import cosign, dsse, statements
from bedside.provenance.cosign import Bundle, Signed
from bedside.provenance.dsse import Envelope
from bedside.provenance.trust import Evidence

VERSION: Final = "org.opencontainers.image.version"
"""Annotation that names the version of an image."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something that says it is a signature and is none."""

    digest: str


Found: TypeAlias = Signed | Envelope | Bundle | Unreadable


def subject_name(annotations: Mapping[str, str]) -> str:
    """Return what statements call an image: its model and version."""
    return ":".join(annotations[key] for key in (plan.MODEL, VERSION) if key in annotations) or "image"


def leave_statement(place: InLayout, payload: bytes) -> None:
    """Put a statement that nobody signed beside an image, in place of an earlier one of the same kind."""
    kind = statements.decode(payload).predicate_type
    manifest, contents = attached.artifact(
        place.descriptor,
        statements.MEDIA_TYPE,
        payload,
        statements.MEDIA_TYPE,
        {statements.PREDICATE_ANNOTATION: kind},
    )
    place.replace(statements.MEDIA_TYPE, lambda data: _kind(data) == kind, manifest, contents)


def _kind(data: bytes) -> str | None:
    try:
        return statements.decode(data).predicate_type
    except NotTrusted:
        return None


def signatures(place: Place, there: Iterable[Beside]) -> Iterator[Found]:
    """Give every signature among what stands beside an image."""
    for item in there:
        for layer in item.manifest.layers:
            if item.suffix is None and layer.media_type != cosign.BUNDLE:
                continue  # not a signature: an SBOM, a statement that nobody signed
            try:
                yield _signature(place, layer)
            except NotTrusted:
                yield Unreadable(layer.digest)


def _signature(place: Place, layer: Descriptor) -> Found:
    match layer.media_type:
        case cosign.SIMPLE_SIGNING:
            return cosign.from_annotation(place.read(layer), layer.annotations.get(cosign.SIGNATURE, ""))
        case cosign.DSSE:
            return dsse.decode(place.read(layer))
        case cosign.BUNDLE:
            return cosign.read_bundle(place.read(layer))
    return Unreadable(layer.digest)


def of_image(place: Place) -> tuple[Evidence, tuple[Bundle, ...]]:
    """Return what was found about an image, and the bundles that somebody has to verify with a certificate."""
    found = tuple(signatures(place, tuple(place.beside())))
    certified = tuple(item for item in found if isinstance(item, Bundle) and item.certified)
    signed: list[Signed | Envelope] = []
    for item in found:
        match item:
            case Bundle(envelope, _, False):
                signed.append(envelope)
            case Signed() | Envelope():
                signed.append(item)
    annotations = place.manifest.annotations
    collected = Evidence(
        digest=place.descriptor.digest,
        model=annotations.get(plan.MODEL),
        version=annotations.get(VERSION),
        repository=place.repository,
        signatures=tuple(signed),
        unreadable=sum(isinstance(item, Unreadable) for item in found),
    )
    return collected, certified

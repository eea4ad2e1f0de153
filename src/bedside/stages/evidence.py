"""What stands beside an image, read for a judgement. Nothing is believed here; what cannot be read says nothing."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from bedside.errors import NotTrusted
from bedside.image import plan
from bedside.image.attached import Beside, Place
from bedside.image.oci import Descriptor
from bedside.provenance import cosign, dsse
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


def signatures(place: Place, there: Iterable[Beside]) -> Iterator[Found]:
    """Give every signature among what stands beside an image."""
    for item in there:
        if item.suffix is None and item.manifest.artifact_type != cosign.BUNDLE:
            continue
        for layer in item.manifest.layers:
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

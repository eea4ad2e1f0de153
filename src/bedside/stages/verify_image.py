"""`bedside verify IMAGE`: everything that `bedside build` showed about an image, recomputed and shown again."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedside.errors import VerificationFailed
from bedside.image.containment import Limits
from bedside.image.hosts import Host
from bedside.image.layout import Layout
from bedside.image.oci import Descriptor
from bedside.image.reference import Digest
from bedside.stages.inspected import inspected
from bedside.stages.limits import UNMEASURED
from bedside.stages.proof import Proof, prove


@dataclass(frozen=True, slots=True)
class VerifiedImage:
    """An image that is what its release says.

    Attributes:
        release: Name and version of the release in it, ``icu-mortality 1.0.0``.
        release_digest: Its digest, 64 hexadecimal digits.
        digest: Of the image's manifest.
        files: How many files of the release were compared.
        proof: What was seen in a container; ``None`` where only digests were asked for.
        notes: In what this proof and the record beside the image differ, and what is no failure.
    """

    release: str
    release_digest: str
    digest: Digest
    files: int
    proof: Proof | None
    notes: tuple[str, ...] = ()


def verify_image(
    layout: Layout,
    descriptor: Descriptor,
    host: Host | None,
    *,
    digest: str | None = None,
    record: Mapping[str, Any] | None = None,
    held_to: Limits | None = None,
    model: Path | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> VerifiedImage:
    """Prove that an image is what was validated.

    Args:
        layout: Where its blobs are.
        descriptor: Of its manifest.
        host: Runs the container of the proof; ``None`` compares only.
        digest: The release digest that it must have.
        record: What the record beside it measured, where there is one.
        held_to: What it may use; by default what the record says.
        model: The model file, where the image does not carry it.
        on_step: Told what is being done.

    Raises:
        VerificationFailed: Anything differs; the findings say exactly what.
        ToolFailed: Something outside failed.
    """
    # 1. Every blob, the config, every file and every distribution are what the release in the image says.
    # 2. In a container it answers every golden case, is held as it should be, stops, and refuses a changed model.
    # 3. The record that came with it is held against what was seen here. It is believed in nothing.
    with inspected(layout, descriptor, digest=digest, on_step=on_step) as image:  # 1
        contract = image.release.contract
        proof = None
        if host is not None:
            on_step(f"bringing it into {host.name}")
            with host.holding(layout, descriptor) as held:
                limits = held_to or _recorded(record) or UNMEASURED
                proof = prove(image, held, host.name, limits, model=model, on_step=on_step)  # 2
        notes = tuple(_notes(record, proof)) if proof is not None else ()  # 3
        return VerifiedImage(contract.ref, image.release.digest, descriptor.digest, len(contract.files), proof, notes)


def _recorded(record: Mapping[str, Any] | None) -> Limits | None:
    match record:
        case {"limits": {"memoryBytes": int(memory), "cpus": int() | float() as cpus}}:
            return Limits(memory, float(cpus))
    return None


def _notes(record: Mapping[str, Any] | None, proof: Proof) -> Iterator[str]:
    """Say how the proof of then and that of now differ.

    Raises:
        VerificationFailed: The record is of other distributions than are in the image.
    """
    if record is None:
        yield "no record of a proof lies beside it"
        return
    then, now = record.get("environment"), proof.seen["environment"]
    if not isinstance(then, dict):
        yield "the record beside it does not say in which environment it was proven"
        return
    if then.get("distributions") != now["distributions"]:
        raise VerificationFailed(
            "the record beside the image is of other distributions than are in it",
            remedy="Find out where the record comes from; build the image again from its release.",
        )
    for what in ("python", "machine", "libc", "blas", "threads"):
        if then.get(what) != now[what]:
            yield f"{what}: proven with {then.get(what)}, here is {now[what]}"

"""The verification record of an image: an in-toto statement that says what was proven, where and when.

The predicate is in-toto's own for test results, so that policies that read it need to know nothing of bedside; what
was measured stands beside it, in a member whose name is a type URI, as extensions are written.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from bedside import __version__
from bedside.errors import GateRefused
from bedside.image.attached import InLayout, Place
from bedside.provenance import statements
from bedside.stages.evidence import leave_statement
from bedside.stages.inspected import Inspected
from bedside.stages.proof import CHECKS, Proof

PREDICATE: Final = statements.PROOF
MEASURED: Final = "https://bedside.dev/attestation/image-proof/v1"
"""The member with what was measured."""


def statement(image: Inspected, proof: Proof) -> bytes:
    """Return the statement about ``image``, as canonical JSON."""
    return statements.encode(str(image.descriptor.digest), image.name, PREDICATE, _predicate(image, proof))


def leave(image: Inspected, proof: Proof) -> None:
    """Put the record beside the image, in the layout where it lies, in the place of an earlier one.

    Raises:
        ToolFailed: The disk took no more.
    """
    leave_statement(InLayout(image.layout, image.descriptor), statement(image, proof))


def read(place: Place) -> Mapping[str, Any] | None:
    """Return what the newest record beside an image measured; ``None`` where there is none that is about it.

    Nothing of it is believed: a proof that is repeated is held against it, and says where they differ.
    """
    every = (said.get(MEASURED) for said in _records(place))
    return max((measured for measured in every if isinstance(measured, dict)), key=_time, default=None)


def demand(place: Place) -> None:
    """Refuse an image that nobody proved, before it is signed or pushed.

    This guards against a mistake. Whoever may write beside the image could have written a record too: what counts for
    somebody else is the record that a trusted key signed, which a trust policy demands.

    Raises:
        GateRefused: No record beside it says that it passed, or one says that it failed.
    """
    results = {str(said.get("result")) for said in _records(place)}
    if results != {"PASSED"}:
        what = "a record beside it says that its proof failed" if results else "no record of a proof lies beside it"
        raise GateRefused(
            f"{place.descriptor.digest} is not proven: {what}",
            remedy="Build it with `bedside build`, which starts the image and asks it every golden case.",
        )


def _records(place: Place) -> Iterator[Mapping[str, Any]]:
    """Give what each record says that is about the image."""
    for beside in place.beside():
        if beside.manifest.annotations.get(statements.PREDICATE_ANNOTATION) != PREDICATE:
            continue
        if len(beside.manifest.layers) != 1:
            continue
        said = statements.decode(place.read(beside.manifest.layers[0]))
        if said.about(str(place.descriptor.digest)):
            yield said.predicate


def _time(measured: Mapping[str, Any]) -> str:
    return str(measured.get("time", ""))


def _predicate(image: Inspected, proof: Proof) -> dict[str, Any]:
    contract = image.release.contract
    replayed, confinement = proof.seen["replayed"], proof.seen["confinement"]
    golden = next(item for item in contract.files if item.path == contract.golden.path)
    return {
        "result": "PASSED",
        "configuration": [
            {"name": "contract.json", "digest": {"sha256": image.release.digest}},
            {"name": golden.path, "digest": {"sha256": golden.sha256}},
        ],
        "passedTests": list(CHECKS),
        "warnedTests": [],
        "failedTests": [],
        MEASURED: {
            "bedside": __version__,
            "host": proof.host,
            "time": proof.time,
            "release": contract.ref,
            "golden": {
                "cases": replayed["cases"],
                "tolerance": contract.golden.tolerance,
                "largestDifference": replayed["largest_difference"],
            },
            "seconds": dict(proof.seconds),
            "limits": {"memoryBytes": proof.limits.memory, "cpus": proof.limits.cpus},
            "memoryPeakBytes": confinement["memory_peak"],
            "confinement": confinement,
            "environment": proof.seen["environment"],
        },
    }

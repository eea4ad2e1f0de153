"""`bedside push`."""

from datetime import UTC, datetime
from pathlib import Path

import click

from bedside import wiring
from bedside.cli import console
from bedside.image.attached import InLayout
from bedside.image.layout import Layout, open_layout
from bedside.image.oci import Descriptor
from bedside.image.reference import Reference
from bedside.image.uploading import How
from bedside.stages import record
from bedside.stages import trust as trusting
from bedside.stages.push import Pushed, Watch, push
from bedside.wiring import signing


@click.command
@click.argument("layout", type=click.Path(path_type=Path))
@click.argument("reference")
@click.option("--image", help="Which image, by name or digest, where the layout holds several.")
@click.option("--ca-file", type=click.Path(path_type=Path), help="PEM certificates to believe beside the system's.")
@click.option("--move-tag", is_flag=True, help="Let a tag that is no version go from another image to this one.")
@click.option("--plain-http", is_flag=True, help="Talk without TLS; for a registry on this machine only.")
@click.option("--trust", type=click.Path(path_type=Path), help="Trust policy that the image must satisfy: trust.toml.")
@click.option("--unproven", is_flag=True, help="Push what nobody proved, such as a base; it is said every time.")
@click.option("--json", "as_json", is_flag=True, help="Write the result to stdout as JSON.")
def command(
    layout: Path,
    reference: str,
    image: str | None,
    ca_file: Path | None,
    move_tag: bool,
    plain_http: bool,
    trust: Path | None,
    unproven: bool,
    as_json: bool,
) -> None:
    """Push the image in LAYOUT, with its signatures and statements, to REFERENCE.

    REFERENCE is HOST/REPOSITORY:TAG. An image without the record of its proof, which `bedside build` leaves beside it,
    is refused before anything is sent. Layers that the registry has are not sent. The tag is written last, after the
    image was read back by digest; a tag that names another image is left alone. With --trust nothing is sent of an
    image that the policy does not trust in that repository. Interrupted: run it again. Prints
    HOST/REPOSITORY@sha256:..., which is what manifests name. Credentials are those of `podman login` or `docker login`.
    """
    target = Reference.parse(reference)
    opened = open_layout(layout)
    if unproven:
        console.note("warning: nothing shows that this image answers as validated")
    else:
        record.demand(InLayout(opened, opened.find(image)))
    if trust is not None:
        _demand(opened, opened.find(image), target, trust)
    reached = wiring.repository(target, ca_file=ca_file, plain_http=plain_http, on_wait=console.note)
    with reached as repository, console.transfer() as watch:
        pushed = push(opened, opened.find(image), target, repository, move_tag=move_tag, watch=Watch(*watch))
    sent = sum(item.how is How.SENT for item in pushed.blobs)
    console.done(
        f"{target}: {sent} of {len(pushed.blobs)} blobs sent, {pushed.bytes_sent / 1e6:.1f} MB; read back by digest"
    )
    if as_json:
        console.result(_document(pushed))
    else:
        console.line(str(pushed.reference))


def _demand(layout: Layout, image: Descriptor, target: Reference, trust: Path) -> None:
    """Judge the image as it will be judged where it is going; nothing is sent of one that is not trusted there."""
    place = InLayout(layout, image, str(Reference(target.host, target.repository)))
    verdict = trusting.demand(place, trusting.read_policy(trust), datetime.now(UTC), signing.identifies)
    for item in trusting.notes(verdict):
        console.note(f"warning: {item.message}. {item.remedy} [{item.rule}]")


def _document(pushed: Pushed) -> dict[str, object]:
    return {
        "reference": str(pushed.reference),
        "digest": pushed.reference.digest,
        "tag": pushed.tag,
        "bytes_sent": pushed.bytes_sent,
        "blobs": [
            {"digest": item.blob.digest, "media_type": item.blob.media_type, "size": item.blob.size, "how": item.how}
            for item in pushed.blobs
        ],
        "attached": list(pushed.attached),
    }

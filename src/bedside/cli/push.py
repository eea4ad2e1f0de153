"""`bedside push`."""

from pathlib import Path

import click

from bedside import wiring
from bedside.cli import console
from bedside.image.layout import open_layout
from bedside.image.reference import Reference
from bedside.image.uploading import How
from bedside.stages.push import Pushed, Watch, push


@click.command
@click.argument("layout", type=click.Path(path_type=Path))
@click.argument("reference")
@click.option("--image", help="Which image, by name or digest, where the layout holds several.")
@click.option("--ca-file", type=click.Path(path_type=Path), help="PEM certificates to believe beside the system's.")
@click.option("--move-tag", is_flag=True, help="Let a tag that is no version go from another image to this one.")
@click.option("--plain-http", is_flag=True, help="Talk without TLS; for a registry on this machine only.")
@click.option("--json", "as_json", is_flag=True, help="Write the result to stdout as JSON.")
def command(
    layout: Path,
    reference: str,
    image: str | None,
    ca_file: Path | None,
    move_tag: bool,
    plain_http: bool,
    as_json: bool,
) -> None:
    """Push the image in LAYOUT, with its signatures and statements, to REFERENCE.

    REFERENCE is HOST/REPOSITORY:TAG. Layers that the registry has are not sent. The tag is written last, after the
    image was read back by digest; a tag that names another image is left alone. Interrupted: run it again. Prints
    HOST/REPOSITORY@sha256:..., which is what manifests name. Credentials are those of `podman login` or `docker login`.
    """
    target = Reference.parse(reference)
    opened = open_layout(layout)
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

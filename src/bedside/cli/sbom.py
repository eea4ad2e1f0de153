"""`bedside sbom`."""

import sys
from pathlib import Path

import click

from bedside import wiring
from bedside.cli import console
from bedside.stages.sbom import leave_sbom, sbom_of


@click.command
@click.argument("target")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the document to this file.")
@click.option("--image", help="Which image, by name or digest, where the layout holds several.")
@click.option("--ca-file", type=click.Path(path_type=Path), help="PEM certificates to believe beside the system's.")
@click.option("--plain-http", is_flag=True, help="Talk without TLS; for a registry on this machine only.")
def command(target: str, output: Path | None, image: str | None, ca_file: Path | None, plain_http: bool) -> None:
    """Write what TARGET is made of as CycloneDX 1.6: the layout of an image, or HOST/REPOSITORY@sha256:....

    Packages of the operating system, Python distributions, and the model with its card, with their licenses. The same
    image gives the same bytes. In a layout the document is left beside the image too, where scanners look for it;
    `bedside sign` signs it, and `bedside push` takes it along.
    """
    opened = wiring.whole_image(target, name=image, ca_file=ca_file, plain_http=plain_http, on_wait=console.note)
    with opened as (layout, descriptor):
        document = sbom_of(layout, descriptor)
        if Path(target).exists():
            leave_sbom(layout, descriptor, document)
    if output is not None:
        output.write_bytes(document)
        console.done(f"{descriptor.digest}: {output}")
    else:
        sys.stdout.write(document.decode() + "\n")

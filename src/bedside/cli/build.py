"""`bedside build`."""

import os
from pathlib import Path

import click

from bedside import wiring
from bedside.cli import console
from bedside.errors import UsageError
from bedside.image import layout as layouts
from bedside.image.plan import DEFAULT_BASE
from bedside.release.reading import open_release
from bedside.stages.build import Assembled, assembled


@click.command
@click.argument("release", type=click.Path(path_type=Path))
@click.option("--base", "source", default=DEFAULT_BASE, show_default=True, help="REFERENCE@sha256:..., layout or tar.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Layout to write to; <release>.oci by default.")
@click.option("--ca-file", type=click.Path(path_type=Path), help="PEM certificates to believe beside the system's.")
@click.option("--plain-http", is_flag=True, help="Talk to the base's registry without TLS; on this machine only.")
@click.option("--json", "as_json", is_flag=True, help="Write the result to stdout as JSON.")
def command(
    release: Path,
    source: str,
    output: Path | None,
    ca_file: Path | None,
    plain_http: bool,
    as_json: bool,
) -> None:
    """Build the image of RELEASE, on a base that is named by digest.

    The base is HOST/REPOSITORY@sha256:..., an image layout, an OCI or docker archive, or the tar of a root file system.
    The image is written to an OCI layout. SOURCE_DATE_EPOCH is the time that it carries.
    """
    opened = open_release(release)
    contract = opened.contract
    target = output or opened.directory.parent / f"{contract.name}-{contract.version}.oci"
    builder = wiring.builder(ca_file=ca_file, plain_http=plain_http)
    with console.steps() as on_step:
        built = assembled(release, source, layouts.create(target), builder, epoch=_epoch(), on_step=on_step)
    _show(built)
    console.done(f"{contract.ref}: {target}")
    if as_json:
        console.result(_document(built, target))
    else:
        console.line(built.descriptor.digest)


def _epoch() -> int:
    said = os.environ.get("SOURCE_DATE_EPOCH", "0")
    if not said.isdigit():
        raise UsageError(f"SOURCE_DATE_EPOCH is {said!r}", remedy="Set it to whole seconds since 1970, or unset it.")
    return int(said)


def _show(built: Assembled) -> None:
    rows = [
        (
            item.name,
            f"{item.descriptor.size / 1e6:.1f} MB",
            f"{item.unpacked / 1e6:.1f} MB",
            "as before" if item.cached else "built",
            item.descriptor.digest[:19],
        )
        for item in built.layers
    ]
    console.table("Layers", ("layer", "packed", "unpacked", "", "digest"), rows)
    console.note(f"  {sum(item.unpacked for item in built.layers) / 1e6:.0f} MB unpacked in all")


def _document(built: Assembled, target: Path) -> dict[str, object]:
    return {
        "digest": built.descriptor.digest,
        "layout": str(target),
        "release": f"sha256:{built.release.digest}",
        "base": built.base.base.digest,
        "unpacked": sum(item.unpacked for item in built.layers),
        "layers": [
            {
                "name": item.name,
                "digest": item.descriptor.digest,
                "size": item.descriptor.size,
                "unpacked": item.unpacked,
                "cached": item.cached,
            }
            for item in built.layers
        ],
    }

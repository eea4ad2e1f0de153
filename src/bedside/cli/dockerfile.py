"""`bedside dockerfile`."""

from pathlib import Path

import click

from bedside import wiring
from bedside.cli import console
from bedside.errors import ToolFailed
from bedside.image import dockerfile
from bedside.image.plan import DEFAULT_DOCKERFILE_BASE
from bedside.stages.dockerfile import rendered


@click.command
@click.argument("release", type=click.Path(path_type=Path))
@click.option("--base", "source", default=DEFAULT_DOCKERFILE_BASE, show_default=True, help="REFERENCE@sha256:...")
@click.option("--installer", help="Image that installs, by digest, where the base has no shell; the base by default.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write; stdout by default.")
@click.option("--ca-file", type=click.Path(path_type=Path), help="PEM certificates to believe beside the system's.")
@click.option("--plain-http", is_flag=True, help="Talk to the base's registry without TLS; on this machine only.")
def command(
    release: Path, source: str, installer: str | None, output: Path | None, ca_file: Path | None, plain_http: bool
) -> None:
    """Print the Dockerfile of RELEASE. No engine is needed; the base is looked into, so that it fits.

    Anybody can build it by hand with the command that is printed. `bedside build --engine podman` builds the same and
    proves what comes out before it gets a name.
    """
    made = rendered(release, source, wiring.builder(ca_file=ca_file, plain_http=plain_http), installer=installer)
    if output is None:
        console.line(made.text.rstrip("\n"))
        return
    try:
        output.write_text(made.text, encoding="utf-8")
    except OSError as error:
        raise ToolFailed(f"{output} cannot be written: {error.strerror}") from None
    console.done(f"{made.plan.contract.ref}: {output}")
    for line in dockerfile.commands(made.plan, str(output), str(release)):
        console.line(line)

"""`bedside fetch`."""

from pathlib import Path

import click

from bedside import wiring
from bedside.cli import console
from bedside.stages.fetch import fetch


@click.command
@click.argument("release", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Write the result to stdout as JSON.")
def command(release: Path, as_json: bool) -> None:
    """Bring the model of RELEASE from object storage to its place in the release.

    It is needed here to serve, to predict, to verify and to build. A fetch that was cut off goes on where it ended,
    and the file gets its name only with the size and sha256 that the release records. Who asks is what the environment
    says: AWS_*, GOOGLE_* and AZURE_* variables, or the identity of this machine.
    """
    tools = wiring.tools()
    with console.steps() as on_step:
        fetched = fetch(
            release,
            runner=tools.runner,
            environments=tools.environments,
            on_step=on_step,
            on_progress=on_step.progress,
        )
    there = f", {fetched.kept / 1e6:.1f} MB of it were here" if fetched.kept else ""
    console.done(f"{fetched.release.contract.ref}: {fetched.size / 1e6:.1f} MB{there}")
    if as_json:
        console.result({"file": str(fetched.release.model), "size": fetched.size, "kept": fetched.kept})
    else:
        console.line(str(fetched.release.model))

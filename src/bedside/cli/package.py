"""`bedside package`."""

from pathlib import Path
from typing import Any

import click

from bedside import wiring
from bedside.cli import console
from bedside.stages.package import package


@click.command
@click.argument("directory", type=click.Path(path_type=Path), default=".")
@click.option("--upgrade", is_flag=True, help="Resolve anew instead of keeping the versions in requirements.lock.")
@click.option("--json", "as_json", is_flag=True, help="Write the result to stdout as JSON.")
def command(directory: Path, upgrade: bool, as_json: bool) -> None:
    """Write the release of the project in DIRECTORY to its dist/ folder.

    Refused, with nothing written, unless every golden case is answered as the validation study recorded it, in
    a fresh environment made from the hashed lock.
    """
    tools = wiring.tools()
    with console.steps() as on_step:
        packaged = package(directory, runner=tools.runner, uv=tools.uv, upgrade=upgrade, on_step=on_step)
    release, measured = packaged.release, packaged.measured
    console.done(f"{release.contract.ref}: {_proof(measured)}")
    console.note(f"  {release.directory}")
    for note in packaged.notes:
        console.note(f"  note: {note.message} [{note.rule}]. {note.remedy}")
    if as_json:
        console.result({"directory": str(release.directory), "digest": f"sha256:{release.digest}", **measured})
    else:
        console.line(f"sha256:{release.digest}")


def _proof(measured: dict[str, Any]) -> str:
    return f"{measured['cases']} golden cases, largest difference {measured['largest_difference']:g}"

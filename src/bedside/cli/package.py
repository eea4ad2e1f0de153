"""`bedside package`."""

from pathlib import Path
from typing import Any

import click

from bedside import wiring
from bedside.cli import console
from bedside.stages.package import package
from bedside_runtime.contract import Engine


@click.command
@click.argument("directory", type=click.Path(path_type=Path), default=".")
@click.option("--upgrade", is_flag=True, help="Resolve anew instead of keeping the versions in requirements.lock.")
@click.option("--keep-model", is_flag=True, help="Leave a model that was fetched from object storage in the release.")
@click.option("--json", "as_json", is_flag=True, help="Write the result to stdout as JSON.")
def command(directory: Path, upgrade: bool, keep_model: bool, as_json: bool) -> None:
    """Write the release of the project in DIRECTORY to its dist/ folder.

    Refused, with nothing written, unless every golden case is answered as the validation study recorded it, in
    a fresh environment made from the hashed lock.
    """
    tools = wiring.tools()
    with console.steps() as on_step:
        packaged = package(
            directory,
            runner=tools.runner,
            uv=tools.uv,
            upgrade=upgrade,
            keep_model=keep_model,
            on_step=on_step,
            on_progress=on_step.progress,
        )
    release, measured = packaged.release, packaged.measured
    console.done(f"{release.contract.ref}: {_proof(measured)}")
    console.note(f"  {release.directory}")
    console.note(f"  engine: {_engine(release.contract.engine, measured['engines'])}")
    for note in packaged.notes:
        console.note(f"  note: {note.message} [{note.rule}]. {note.remedy}")
    if as_json:
        found = [{"rule": note.rule, "message": note.message, "remedy": note.remedy} for note in packaged.notes]
        console.result(
            {"directory": str(release.directory), "digest": f"sha256:{release.digest}", **measured, "findings": found}
        )
    else:
        console.line(f"sha256:{release.digest}")


def _engine(engine: Engine, considered: list[dict[str, Any]]) -> str:
    """Say which engine computes, how fast it is, and why no other does."""
    times = {item["name"]: item["microseconds"] for item in considered}
    said = f"{engine.name}, {times[engine.name]:g} microseconds a row"
    if engine.proof is not None:
        proof = engine.proof
        said += f" (native {times['native']:g}), proven on {proof.inputs:,} inputs"
        said += f", largest difference {proof.largest_difference:g}"
    return "; ".join([said, *(item["reason"] for item in considered if item["reason"])])


def _proof(measured: dict[str, Any]) -> str:
    return f"{measured['cases']} golden cases, largest difference {measured['largest_difference']:g}"

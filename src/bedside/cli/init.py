"""`bedside init`."""

from pathlib import Path

import click

from bedside import wiring
from bedside.cli import console
from bedside.stages.init import init


@click.command
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--from", "model", type=click.Path(path_type=Path), required=True, help="The trained model's file.")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The cohort, a CSV with headings.")
@click.option("--target", help="The outcome's column: it names the output and is never an input.")
@click.option("--version", default="1.0.0", show_default=True, help="The model's version.")
def command(directory: Path, model: Path, data: Path, target: str | None, version: str) -> None:
    """Write a project to DIRECTORY: bedside.toml, golden cases, a model card, requirements.

    Run it in the environment that the model was trained in. What the model and the cohort show is written down; what
    only you can answer is left visibly open.
    """
    runner = wiring.tools().runner
    with console.steps() as on_step:
        written = init(
            directory, model=model, data=data, target=target, runner=runner, version=version, on_step=on_step
        )
    console.done(f"{written.directory}: {written.inputs} inputs, {written.cases} golden cases")
    console.note(
        f"  {written.cases} rows of the cohort were copied into golden.jsonl: review them, the data are yours."
    )
    console.note("  Their expected values come from the model itself: they prove reproduction, not clinical validity.")
    console.note(f"  {written.questions} questions are left open for you; each is marked OPEN QUESTION.")
    console.note(f"  Next: bedside package {written.directory}")

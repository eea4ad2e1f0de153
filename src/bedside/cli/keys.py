"""`bedside keys`."""

from datetime import datetime
from pathlib import Path

import click

from bedside.cli import console
from bedside.stages.keys import new_key


@click.command
@click.argument("name")
@click.option("--file", type=click.Path(path_type=Path, dir_okay=False), help="Add the line to this file of API keys.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="Last day (UTC) on which the key is taken.")
def command(name: str, file: Path | None, until: datetime | None) -> None:
    """Make an API key for NAME, and the line of api-keys.txt that admits it.

    The key goes to stdout and is kept nowhere: hand it to its holder now. The line holds its SHA-256 alone. One name
    may have several keys, so that one can be exchanged: add the new one, hand it over, then remove the old line.
    """
    made = new_key(name, last=until.date() if until is not None else None, file=file)
    if file is None:
        console.note(f"add this line to api-keys.txt:\n{made.line}")
    else:
        console.done(f"{file} admits {len(made.names)} key(s), {made.names.count(name)} of {name}")
    console.line(made.key)

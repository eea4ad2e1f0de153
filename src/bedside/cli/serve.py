"""`bedside serve`."""

from pathlib import Path

import click

from bedside import process, wiring
from bedside.cli import console
from bedside.stages.serve import command as serve_command


@click.command
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--port", default=8080, show_default=True, help="Public port; 0 takes a free one.")
@click.option("--admin-port", default=8081, show_default=True, help="Metrics and probes; 0 takes a free one.")
@click.option("--digest", help="The release digest that it must have.")
def command(target: Path, port: int, admin_port: int, digest: str | None) -> None:
    """Serve the release in TARGET on 127.0.0.1, with its own runtime in its own locked environment.

    The process listens at once and is ready only after the golden cases pass here. Stop it with Ctrl-C or SIGTERM.
    """
    tools = wiring.tools()
    with console.steps() as on_step:
        line = serve_command(
            target,
            environments=tools.environments,
            port=port,
            admin_port=admin_port,
            digest=digest,
            on_step=on_step,
        )
    if port:
        console.done(f"serving on http://127.0.0.1:{port} (POST /predict, GET /readyz, GET /model); Ctrl-C stops it")
    process.replace(line)

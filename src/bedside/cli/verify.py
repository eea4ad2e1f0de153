"""`bedside verify`."""

from pathlib import Path

import click

from bedside import wiring
from bedside.cli import console
from bedside.stages.verify import verify


@click.command
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--digest", help="The release digest that it must have.")
@click.option("--digests-only", is_flag=True, help="Compare files only; do not run the golden cases.")
@click.option("--json", "as_json", is_flag=True, help="Write the result to stdout as JSON.")
def command(target: Path, digest: str | None, digests_only: bool, as_json: bool) -> None:
    """Recompute and compare everything about the release in TARGET.

    Every file is compared with its recorded size and sha256, nothing may be missing or added, and the release's
    own runtime answers every golden case in the locked environment. Exit code 3 where anything differs.
    """
    tools = wiring.tools()
    with console.steps() as on_step:
        verified = verify(
            target,
            runner=tools.runner,
            environments=tools.environments,
            digest=digest,
            replay=not digests_only,
            on_step=on_step,
        )
    release, measured = verified.release, verified.measured
    proof = f", {measured['cases']} golden cases answered as validated" if measured is not None else ""
    console.done(f"{release.contract.ref}: {len(release.contract.files)} files compared{proof}")
    if as_json:
        console.result(
            {
                "name": release.contract.name,
                "version": release.contract.version,
                "digest": f"sha256:{release.digest}",
                "replay": measured,
            }
        )
    else:
        console.line(f"sha256:{release.digest}")

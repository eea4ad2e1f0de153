"""`bedside rollback`."""

from pathlib import Path

import click

from bedside.cli import console, rollouts
from bedside.release.reading import open_release
from bedside.stages.deploy import expected
from bedside.stages.rollback import rollback
from bedside.wiring import clusters


@click.command
@click.argument("name")
@click.argument("to", required=False)
@click.option("-n", "--namespace", help="By default the model's name.")
@click.option(
    "--release", type=click.Path(path_type=Path), help="Its directory, where the record keeps no golden case."
)
@click.option("--timeout", type=click.FloatRange(min=1), help="Seconds; computed from the release where left out.")
@rollouts.caller_options
@rollouts.cluster_options
@click.option("--json", "as_json", is_flag=True, help="Write the result to stdout as JSON.")
def command(
    name: str,
    to: str | None,
    namespace: str | None,
    release: Path | None,
    timeout: float | None,
    kubeconfig: Path | None,
    context: str | None,
    as_json: bool,
    **asked: Path | None,
) -> None:
    """Bring back a release of NAME that was proven before: TO is its revision, version or digest.

    Left out, it is the one that was good before the one that runs. Its manifests are applied as they were recorded:
    labels, configuration and model agree again; and its pods answer golden cases before the command ends.
    """
    known = expected(open_release(release), namespace or name) if release is not None else None
    with (
        clusters.cluster(kubeconfig=kubeconfig, context=context, on_wait=console.note) as cluster,
        rollouts.watched() as watch,
    ):
        chosen = rollouts.choices(rollouts.caller(**asked), take_over=True, timeout=timeout)
        proven = rollback(cluster, name, namespace or name, to, choices=chosen, watch=watch, known=known)
    rollouts.say_proven(proven)
    if as_json:
        console.result(rollouts.proven_document(proven))
    else:
        console.line(proven.record.digest)

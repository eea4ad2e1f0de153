"""`bedside deploy`."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import click

from bedside import wiring
from bedside.cli import console, rollouts
from bedside.image.attached import InRegistry
from bedside.image.bases import Repositories
from bedside.image.reference import Reference
from bedside.image.registry import Repository
from bedside.kube.differences import Difference
from bedside.kube.plan import Environment
from bedside.stages import trust as trusting
from bedside.stages.deploy import Proofs, What, deploy, preview
from bedside.stages.verify import verify
from bedside.wiring import clusters, signing


@click.command
@click.argument("release", type=click.Path(path_type=Path))
@click.option("--image", required=True, help="The image by digest, HOST/REPOSITORY@sha256:...")
@click.option("--environment", type=click.Choice(["production", "staging"]), default="production", show_default=True)
@click.option("--settings", type=click.Path(path_type=Path), help="The bedside.toml with [deploy].")
@click.option("--dry-run", is_flag=True, help="Show what would change, as the cluster judges it, and change nothing.")
@click.option("--trust", type=click.Path(path_type=Path), help="Trust policy that release and image must satisfy.")
@click.option("--timeout", type=click.FloatRange(min=1), help="Seconds; computed from the release where left out.")
@click.option("--take-over", is_flag=True, help="Take fields that other field managers own.")
@click.option(
    "--digests-only", is_flag=True, help="Verify the release by its digests; do not run the golden cases here."
)
@click.option("--ca-file", type=click.Path(path_type=Path), help="PEM certificates to believe for the registry.")
@click.option("--plain-http", is_flag=True, help="Talk to the registry without TLS; for one on this machine only.")
@rollouts.caller_options
@rollouts.cluster_options
@click.option("--json", "as_json", is_flag=True, help="Write the result to stdout as JSON.")
def command(
    release: Path,
    image: str,
    environment: Environment,
    settings: Path | None,
    dry_run: bool,
    trust: Path | None,
    timeout: float | None,
    take_over: bool,
    digests_only: bool,
    ca_file: Path | None,
    plain_http: bool,
    as_json: bool,
    kubeconfig: Path | None,
    context: str | None,
    **asked: Path | None,
) -> None:
    """Deploy RELEASE by its image, and return when it is proven there.

    Release and image are verified first. What changes is shown, then applied (server-side apply). It has succeeded
    when every new pod has been ready for long enough and has answered a golden case as this release. Where it
    cannot, the last good release is brought back whole, and the command ends with the reason: 1 the cluster does not
    admit it, 3 what runs there is not what was validated, 4 anything else. Interrupted at any moment: run it again.

    Pods are asked through port-forward of the API server. Where they ask for credentials, those come from a file or
    from the variable BEDSIDE_CREDENTIAL, never from an argument.
    """
    what = What(release, image, environment, settings)
    proofs = Proofs(_release(digests_only, trust), _repositories(ca_file, plain_http), _image(trust))
    with (
        clusters.cluster(kubeconfig=kubeconfig, context=context, on_wait=console.note) as cluster,
        rollouts.watched() as watch,
    ):
        chosen = rollouts.choices(rollouts.caller(**asked), take_over, timeout)
        if dry_run:
            _show(preview(what, cluster, proofs, chosen, watch), as_json)
            return
        proven = deploy(what, cluster, proofs, chosen, watch)
    rollouts.say_proven(proven)
    if as_json:
        console.result(rollouts.proven_document(proven))
    else:
        console.line(proven.record.digest)


def _release(digests_only: bool, trust: Path | None) -> Callable[[Path], None]:
    """Verify a release, and that it is signed as the policy asks."""
    tools = wiring.tools()

    def prove(directory: Path) -> None:
        found = verify(directory, runner=tools.runner, environments=tools.environments, replay=not digests_only)
        if trust is not None:
            trusting.demand_release(found.release, trusting.read_policy(trust), datetime.now(UTC))

    return prove


def _image(trust: Path | None) -> Callable[[Reference, Repository], None] | None:
    """Judge the signatures and statements of an image."""
    if trust is None:
        return None
    policy = trusting.read_policy(trust)

    def judge(reference: Reference, repository: Repository) -> None:
        place = InRegistry(repository, repository.get(str(reference.digest)))
        trusting.demand(place, policy, datetime.now(UTC), signing.identifies)

    return judge


def _repositories(ca_file: Path | None, plain_http: bool) -> Repositories:
    return lambda named: wiring.repository(named, ca_file=ca_file, plain_http=plain_http, on_wait=console.note)


def _show(differences: tuple[Difference, ...], as_json: bool) -> None:
    if all(item.is_empty for item in differences):
        console.done("nothing would change")
    if as_json:
        console.result({"changes": rollouts.difference_documents(differences)})

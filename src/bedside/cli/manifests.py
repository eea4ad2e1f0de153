"""`bedside manifests`."""

from pathlib import Path

import click

from bedside.cli import console
from bedside.stages.manifests import manifests


@click.command
@click.argument("release", type=click.Path(path_type=Path))
@click.option("--image", required=True, help="The image by digest, HOST/REPOSITORY@sha256:...")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Directory to write.")
@click.option("--settings", type=click.Path(path_type=Path), help="The bedside.toml with [deploy].")
@click.option("--json", "as_json", is_flag=True, help="Write the result to stdout as JSON.")
def command(release: Path, image: str, output: Path, settings: Path | None, as_json: bool) -> None:
    """Write everything that RELEASE needs in a cluster: a kustomize base and an overlay for each environment.

    Numbers are computed from the release and from what packaging measured, and the YAML says from what. The
    settings are [deploy] of the project in whose dist/ the release lies, or of --settings. A directory that this
    command wrote before is replaced whole. Apply with `bedside deploy`, or with kubectl apply --server-side -k.
    """
    written = manifests(release, image, output, settings=settings)
    first = written.plans[0]
    places = ", ".join(f"{plan.place.environment} in {plan.namespace}" for plan in written.plans)
    console.done(f"{first.contract.ref}: {len(written.files)} files; {places}")
    if as_json:
        console.result(
            {
                "directory": str(written.directory),
                "release": f"sha256:{first.digest}",
                "image": first.image,
                "files": list(written.files),
            }
        )
    else:
        console.line(str(written.directory))

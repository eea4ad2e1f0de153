"""`bedside verify`."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from bedside import wiring
from bedside.cli import console, rollouts
from bedside.image.containment import Limits
from bedside.image.layout import Layout
from bedside.image.oci import Descriptor
from bedside.provenance.trust import Verdict
from bedside.release.reading import open_release
from bedside.stages import limits
from bedside.stages import trust as trusting
from bedside.stages.deploy import expected
from bedside.stages.status import verify_cluster
from bedside.stages.verify import verify
from bedside.stages.verify_image import verify_image
from bedside.wiring import clusters, signing
from bedside_runtime.contract import FILE_NAME


@click.command
@click.argument("target")
@click.option("--digest", help="The release digest that it must have.")
@click.option("--digests-only", is_flag=True, help="Compare files only; do not run the golden cases.")
@click.option("--trust", type=click.Path(path_type=Path), help="Trust policy that it must satisfy: trust.toml.")
@click.option("--cluster", is_flag=True, help="TARGET runs in a cluster: its name, or the release directory.")
@click.option("-n", "--namespace", help="With --cluster: where; by default the model's name.")
@rollouts.caller_options
@rollouts.cluster_options
@click.option("--image", help="Which image, by name or digest, where a layout holds several.")
@click.option(
    "--prove-with",
    type=click.Choice(["auto", "podman", "docker", "runc", "crun"]),
    default="auto",
    show_default=True,
    help="What runs the container in which an image is proven.",
)
@click.option("--model", type=click.Path(path_type=Path), help="The model file of an image that does not carry it.")
@click.option("--memory", help="What an image may use while it is proven, 512Mi; by default what its record says.")
@click.option("--cpus", type=float, default=1.0, show_default=True, help="Cores, where --memory is given.")
@click.option("--ca-file", type=click.Path(path_type=Path), help="PEM certificates to believe beside the system's.")
@click.option("--plain-http", is_flag=True, help="Talk without TLS; for a registry on this machine only.")
@click.option("--json", "as_json", is_flag=True, help="Write the result to stdout as JSON.")
def command(
    target: str,
    digest: str | None,
    digests_only: bool,
    trust: Path | None,
    cluster: bool,
    image: str | None,
    prove_with: str,
    model: Path | None,
    memory: str | None,
    cpus: float,
    ca_file: Path | None,
    plain_http: bool,
    as_json: bool,
    **reached: Any,  # noqa: ANN401 - the options of a cluster, as they are
) -> None:
    """Recompute and compare everything about TARGET: a release, an image, with --cluster what runs.

    Every file of a release is compared with its recorded size and sha256, nothing may be missing or added, and its
    own runtime answers every golden case in the locked environment. With --trust, it must be signed as the policy asks.
    An image is named by the directory of its layout, by its name in podman or docker, or as
    HOST/REPOSITORY@sha256:...: config, files and distributions are compared with the release in it, and the proof that
    `bedside build` made is made again. With --trust, its signatures and statements are judged instead. With --cluster,
    every running pod must name the release and image of its manifest, and answer a golden case as that release.
    Exit code 3 where anything differs.
    """
    if cluster:
        _running(target, as_json=as_json, **reached)
        return
    options: dict[str, Any] = {"name": image, "ca_file": ca_file, "plain_http": plain_http, "on_wait": console.note}
    if _is_release(target):
        _release(Path(target), digest, trust, replay=not digests_only, as_json=as_json)
    elif trust is not None:
        _judged(target, trust, options, as_json=as_json)
    else:
        held_to = None if memory is None else Limits(limits.memory(memory), cpus)
        asked = None if digests_only else (prove_with, held_to)
        with wiring.any_image(target, **options) as (layout, descriptor, beside):
            _image(layout, descriptor, beside, digest, asked, model, as_json=as_json)


def _release(directory: Path, digest: str | None, trust: Path | None, *, replay: bool, as_json: bool) -> None:
    """Prove a release in its own locked environment."""
    tools = wiring.tools()
    with console.steps() as on_step:
        verified = verify(
            directory,
            runner=tools.runner,
            environments=tools.environments,
            digest=digest,
            replay=replay,
            on_step=on_step,
        )
    release, measured = verified.release, verified.measured
    if trust is not None:
        verdict = trusting.demand_release(release, trusting.read_policy(trust), datetime.now(UTC))
        _noted(verdict)
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


def _judged(target: str, trust: Path, options: dict[str, Any], *, as_json: bool) -> None:
    """Judge signatures and statements of an image."""
    with wiring.place(target, **options) as place:
        policy, now = trusting.read_policy(trust), datetime.now(UTC)
        verdict = trusting.demand(place, policy, now, signing.identifies)
    _trusted(str(place.descriptor.digest), verdict, as_json=as_json)


def _is_release(target: str) -> bool:
    """Whether a release is meant: a directory that is no image layout, or a path that leads nowhere."""
    if (Path(target) / "oci-layout").is_file():
        return False
    return Path(target).exists() or target.startswith(("/", ".", "~"))


def _image(
    layout: Layout,
    descriptor: Descriptor,
    beside: Mapping[str, Any] | None,
    digest: str | None,
    asked: tuple[str, Limits | None] | None,
    model: Path | None,
    *,
    as_json: bool,
) -> None:
    """Prove an image again; with nothing ``asked``, only compare."""
    host = wiring.host(asked[0]) if asked is not None else None
    held_to = asked[1] if asked is not None else None
    with console.steps() as on_step:
        found = verify_image(
            layout, descriptor, host, digest=digest, record=beside, held_to=held_to, model=model, on_step=on_step
        )
    for note in found.notes:
        console.note(f"  note: {note}")
    proof = found.proof
    shown = f", {proof.cases} golden cases answered in {proof.host}" if proof is not None else ""
    console.done(f"{found.release}: the image is what its release says, {found.files} files compared{shown}")
    if as_json:
        console.result(
            {
                "release": found.release,
                "release_digest": f"sha256:{found.release_digest}",
                "digest": found.digest,
                "proof": None if proof is None else {"host": proof.host, "cases": proof.cases, **proof.seen},
                "notes": list(found.notes),
            }
        )
    else:
        console.line(found.digest)


def _trusted(digest: str, verdict: Verdict, *, as_json: bool) -> None:
    _noted(verdict)
    kinds = sorted({item.predicate_type for item in verdict.statements})
    console.done(f"{digest} is trusted: signed by {', '.join(verdict.signers) or 'nobody'}, {len(kinds)} statements")
    if as_json:
        console.result({"digest": digest, "signers": list(verdict.signers), "statements": kinds})
    else:
        console.line(digest)


def _noted(verdict: Verdict) -> None:
    for item in trusting.notes(verdict):
        console.note(f"warning: {item.message}. {item.remedy} [{item.rule}]")


def _running(
    target: str,
    *,
    namespace: str | None,
    kubeconfig: Path | None,
    context: str | None,
    as_json: bool,
    **asked: Path | None,
) -> None:
    """Prove what runs in a cluster."""
    release = open_release(Path(target)) if (Path(target) / FILE_NAME).is_file() else None
    name = release.contract.name if release is not None else target
    where = namespace or name
    wanted = expected(release, where) if release is not None else None
    caller = rollouts.caller(**asked)
    with (
        clusters.cluster(kubeconfig=kubeconfig, context=context, on_wait=console.note) as cluster,
        console.steps() as on_step,
    ):
        served = verify_cluster(cluster.session, name, where, caller, wanted=wanted, on_pod=on_step)
    digest = served[0].pod.release
    console.done(f"{name}: {len(served)} pods, each answered a golden case as {digest[:19]}")
    if as_json:
        pods = [{**rollouts.pod_document(item.pod), "case": item.case} for item in served]
        console.result({"name": name, "digest": digest, "pods": pods})
    else:
        console.line(digest)

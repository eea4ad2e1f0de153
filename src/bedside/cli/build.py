"""`bedside build`."""

import os
from pathlib import Path

import click

from bedside import wiring
from bedside.cli import console
from bedside.errors import UsageError
from bedside.image import layout as layouts
from bedside.image import plan
from bedside.image.engines import DIALECTS, Engine
from bedside.release.reading import open_release
from bedside.stages.build import Means, Named, build, check
from bedside.stages.dockerfile import Wanted

ASSEMBLED = "assembled"


@click.command
@click.argument("release", type=click.Path(path_type=Path))
@click.option("--base", "source", help="REFERENCE@sha256:..., layout or tar that the image stands on.")
@click.option(
    "--engine",
    "wanted_engine",
    type=click.Choice(["auto", ASSEMBLED, *DIALECTS]),
    default="auto",
    show_default=True,
    help="What builds; auto takes the first engine that is there, else assembles without one.",
)
@click.option("--installer", help="Image that installs, by digest, where the base has no shell; with an engine only.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Layout to write to; <release>.oci by default.")
@click.option(
    "--prove-with",
    type=click.Choice(["auto", "podman", "docker", "runc", "crun"]),
    default="auto",
    show_default=True,
    help="What runs the container of the proof.",
)
@click.option("--check", "check_it", is_flag=True, help="Build twice, elsewhere and later, and compare; keep nothing.")
@click.option("--no-cache", is_flag=True, help="Build every layer anew.")
@click.option("--ca-file", type=click.Path(path_type=Path), help="PEM certificates to believe beside the system's.")
@click.option("--plain-http", is_flag=True, help="Talk to the base's registry without TLS; on this machine only.")
@click.option("--json", "as_json", is_flag=True, help="Write the result to stdout as JSON.")
def command(
    release: Path,
    source: str | None,
    wanted_engine: str,
    installer: str | None,
    output: Path | None,
    prove_with: str,
    check_it: bool,
    no_cache: bool,
    ca_file: Path | None,
    plain_http: bool,
    as_json: bool,
) -> None:
    """Build the image of RELEASE, prove it in a container, and only then name it.

    The image stands on a base that is named by digest: HOST/REPOSITORY@sha256:..., or for an assembled image also an
    image layout, an OCI or docker archive, or the tar of a root file system. It is written to an OCI layout, with the
    record of its proof beside it. SOURCE_DATE_EPOCH is the time that it carries; by default the date in the model card.
    """
    opened = open_release(release)
    contract = opened.contract
    engine = _engine(wanted_engine, source)
    certificates, pip_conf = wiring.installing()
    wanted = Wanted(_epoch(), not no_cache, installer, certificates, pip_conf, ca_file, plain_http)
    base = source or plan.default_base(contract, through_engine=engine is not None)
    builder = wiring.builder(ca_file=ca_file, plain_http=plain_http)
    if check_it:
        with console.steps() as on_step:
            same = check(release, base, builder, engine, wanted, on_step=on_step)
        console.done(f"{contract.ref}: two builds, one digest")
        console.line(same.descriptor.digest)
        return
    means = Means(builder, engine, wiring.host(prove_with))
    target = output or opened.directory.parent / f"{contract.name}-{contract.version}.oci"
    with console.steps() as on_step:
        named = build(release, base, layouts.create(target), means, wanted, on_step=on_step)
    _show(named)
    console.done(f"{named.name}: {target}")
    if as_json:
        console.result(_document(named, target))
    else:
        console.line(named.built.descriptor.digest)


def _engine(wanted: str, source: str | None) -> Engine | None:
    """Return what builds; a base that is a file of this machine is for assembling."""
    local = source is not None and Path(source.partition("@")[0]).exists()
    if local and wanted in DIALECTS:
        raise UsageError(
            f"{wanted} takes its base from a registry, and {source} is a file of this machine",
            remedy="Name HOST/REPOSITORY@sha256:...; or assemble the image: --engine assembled.",
        )
    return None if local else wiring.engine(wanted)


def _epoch() -> int | None:
    said = os.environ.get("SOURCE_DATE_EPOCH")
    if said is None:
        return None
    if not said.isdigit():
        raise UsageError(f"SOURCE_DATE_EPOCH is {said!r}", remedy="Set it to whole seconds since 1970, or unset it.")
    return int(said)


def _show(named: Named) -> None:
    built, proof = named.built, named.proof
    rows = [
        (
            item.name,
            f"{item.descriptor.size / 1e6:.1f} MB",
            f"{item.unpacked / 1e6:.1f} MB",
            {True: "as before", False: "built", None: ""}[item.cached],
            item.descriptor.digest[:19],
        )
        for item in built.layers
    ]
    console.table("Layers", ("layer", "packed", "unpacked", "", "digest"), rows)
    packed = sum(item.descriptor.size for item in built.layers) / 1e6
    unpacked = sum(item.unpacked for item in built.layers) / 1e6
    console.note(f"  {unpacked:.0f} MB unpacked in all, {packed:.0f} MB to pull")
    if built.base.tools:
        console.note(f"  the base brings {', '.join(built.base.tools)}; a distroless base brings none of them")
    took = {part: f"{seconds:.1f} s" for part, seconds in named.seconds.items()}
    console.note(
        f"  built in {took['building']}, inspected in {took['inspection']}, described in {took['sbom']}, "
        f"proven in {took['proof']}"
    )
    console.note(
        f"  proven in {proof.host}: {proof.cases} golden cases over HTTP, ready in {proof.seconds['start']:.1f} s, "
        f"{proof.memory_peak / 2**20:.0f} of {proof.limits.memory / 2**20:.0f} MiB; a flipped bit is refused"
    )


def _document(named: Named, target: Path) -> dict[str, object]:
    built, proof = named.built, named.proof
    return {
        "name": named.name,
        "digest": built.descriptor.digest,
        "layout": str(target),
        "release": f"sha256:{built.release.digest}",
        "base": built.base.base.digest,
        "way": built.way,
        "unpacked": sum(item.unpacked for item in built.layers),
        "layers": [
            {
                "name": item.name,
                "digest": item.descriptor.digest,
                "size": item.descriptor.size,
                "unpacked": item.unpacked,
                "cached": item.cached,
            }
            for item in built.layers
        ],
        "seconds": dict(named.seconds),
        "proof": {
            "host": proof.host,
            "cases": proof.cases,
            "seconds": dict(proof.seconds),
            "memory_peak": proof.memory_peak,
        },
    }

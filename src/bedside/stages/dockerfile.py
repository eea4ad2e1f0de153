"""`bedside dockerfile`: the Dockerfile of a release; and the image of one, built through an engine."""

import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bedside.errors import UsageError
from bedside.image import bases, contents, dockerfile, listings, plan
from bedside.image.bases import FoundBase
from bedside.image.engines import Engine, Recipe
from bedside.image.layout import Layout
from bedside.image.listings import Lister
from bedside.image.oci import Descriptor
from bedside.image.plan import Base, ImagePlan
from bedside.image.reference import Digest, Reference
from bedside.release.reading import Release, open_release
from bedside.stages.assemble import Builder, Built, BuiltLayer, find_base, planned_image
from bedside.stages.sbom import leave_provenance
from bedside.stages.verify import check_files


@dataclass(frozen=True, slots=True)
class Wanted:
    """How an image is built.

    Attributes:
        epoch: Seconds since 1970 that it carries as its time; the release's own where none is given.
        use_cache: Whether layers and steps that were done before are taken.
        installer: The image that installs, by digest, where the base has no shell; only for an engine.
        certificates: PEM certificates that installing believes; only for an engine.
        pip_conf: Text of the pip.conf that names the index; only for an engine.
        ca_file: Certificates to believe beside the system's, for the registry of the base.
        plain_http: Whether to talk to that registry without TLS.
    """

    epoch: int | None = None
    use_cache: bool = True
    installer: str | None = None
    certificates: Path | None = None
    pip_conf: str = ""
    ca_file: Path | None = None
    plain_http: bool = False


@dataclass(frozen=True, slots=True)
class Rendered:
    """A Dockerfile that was not built yet.

    Attributes:
        text: The Dockerfile.
        plan: What it builds.
        release: Of what; its directory is the context.
        base: What it stands on.
    """

    text: str
    plan: ImagePlan
    release: Release
    base: FoundBase


def rendered(
    directory: Path, source: str, builder: Builder, *, installer: str | None = None, epoch: int | None = None
) -> Rendered:
    """Return the Dockerfile of the release in ``directory``.

    Args:
        directory: A release.
        source: Its base, ``HOST/REPOSITORY@sha256:...``; looked into, so that Python and platform fit.
        builder: Effects.
        installer: The image that installs, by digest; the base itself where none is named.
        epoch: Seconds since 1970 that the image carries as its time; the release's own where none is given.

    Raises:
        VerificationFailed: The release is not what was validated.
        UsageError: The base or the installer is not named by digest in a registry, or the base does not fit.
    """
    release = open_release(directory)
    check_files(release)
    for name in (source, *((installer,) if installer is not None else ())):
        _refuse_file(name)
    found = find_base(release, source, builder)
    planned = planned_image(release, found.base, epoch)
    base = _exactly(found)
    installing = bases.pinned(installer, builder.repositories) if installer is not None else base
    return Rendered(dockerfile.render(planned, base, installing), planned, release, found)


def drafted(release: Release) -> str:
    """Return the Dockerfile of a release over the usual bases, without looking for them: their digests are all zeros.

    Other bases change the names in it and no instruction; what they bring is judged in the image.

    Raises:
        UsageError: No image can be made of a release of this machine.
        SpecInvalid: It carries CUDA for CPUs, or none for GPUs.
    """
    digest = Digest(f"sha256:{'0' * 64}")
    base, installer = (Reference.parse(name).at(digest) for name in (plan.DEFAULT_BASE, plan.DEFAULT_DOCKERFILE_BASE))
    interpreter = f"/usr/bin/python{plan.minor(release.contract)}"
    return dockerfile.render(planned_image(release, Base(digest, interpreter, base)), base, installer)


def _refuse_file(source: str) -> None:
    if Path(source.partition("@")[0]).exists():
        raise UsageError(
            f"{source} is a file of this machine, and a Dockerfile takes its images from a registry",
            remedy="Name HOST/REPOSITORY@sha256:...; or assemble the image, without an engine.",
        )


def _exactly(found: FoundBase) -> Reference:
    """Return the reference of the very manifest that was looked into, where an index was named."""
    reference = found.base.reference
    if reference is None:
        raise UsageError("the base has no name in a registry")
    return reference.at(found.base.digest)


def built(
    directory: Path,
    source: str,
    layout: Layout,
    builder: Builder,
    engine: Engine,
    wanted: Wanted,
    *,
    on_step: Callable[[str], None] = lambda _: None,
) -> Built:
    """Build the image of the release in ``directory`` through ``engine``, without a name, and bring it into ``layout``.

    Args:
        directory: A release.
        source: Its base, by digest in a registry.
        layout: Where the image goes.
        builder: Effects.
        engine: What builds.
        wanted: How.
        on_step: Told what is being done, and each step that the engine begins.

    Raises:
        VerificationFailed: The release is not what was validated.
        UsageError: The base or the installer is not named by digest in a registry, or the base does not fit.
        ToolFailed: The engine failed; nothing has a name.
    """
    # 1. The Dockerfile of the plan, as anybody would print it.
    # 2. The engine builds it; certificates and index are secrets that one step sees.
    # 3. What it built is copied into the layout, under its digest alone; beside it, from what and by whom.
    on_step(f"looking into the base {source}")  # 1
    made = rendered(directory, source, builder, installer=wanted.installer, epoch=wanted.epoch)
    with tempfile.TemporaryDirectory(prefix="bedside-dockerfile-") as work:
        path = Path(work, "Dockerfile")
        path.write_text(made.text, encoding="utf-8")
        recipe = Recipe(
            dockerfile=path,
            context=made.release.directory,
            secrets=dict(_secrets(wanted, Path(work))),
            epoch=plan.seconds(made.plan.created),
            use_cache=wanted.use_cache,
            ca_file=wanted.ca_file,
            plain_http=wanted.plain_http,
        )
        on_step(f"building with {engine.name}")  # 2
        image = engine.build(recipe, lambda line: _tell(line, on_step))
    on_step(f"copying the image out of {engine.name}")  # 3
    try:
        descriptor = _annotated(layout, engine.export(image, layout), made.plan)
    except BaseException:
        engine.remove(image)
        raise
    layout.add(descriptor)
    leave_provenance(layout, descriptor, made.release, "dockerfile")
    lister = builder.listings if wanted.use_cache else listings.read
    layers = tuple(_layers(made, layout, descriptor, lister))
    return Built(engine.name, made.plan, made.release, made.base, descriptor, layers)


def _annotated(layout: Layout, descriptor: Descriptor, planned: ImagePlan) -> Descriptor:
    """Write the manifest again with the plan's annotations, which a Dockerfile cannot say; the config stays."""
    manifest = layout.manifest(descriptor)
    return layout.write_document(msgspec.structs.replace(manifest, annotations=dict(planned.annotations)))


def _tell(line: str, on_step: Callable[[str], None]) -> None:
    """Pass on the lines with which an engine begins a step: ``STEP 2/5: RUN ...``, ``#7 [installer 2/2] RUN ...``."""
    found = re.match(r"(?:\[\d+/\d+\] )?STEP \d+/\d+: (.*)|#\d+ (\[[\w ]+ ?\d+/\d+\] .*)", line)
    if found is not None:
        on_step((found[1] or found[2])[:100])


def _secrets(wanted: Wanted, work: Path) -> Iterator[tuple[str, Path]]:
    if wanted.certificates is not None:
        yield "ca", wanted.certificates
    if wanted.pip_conf:
        path = work / "pip.conf"
        path.touch(mode=0o600)  # an address of an index may hold a password
        path.write_text(wanted.pip_conf, encoding="utf-8")
        yield "pip", path


def _layers(made: Rendered, layout: Layout, descriptor: Descriptor, lister: Lister) -> Iterator[BuiltLayer]:
    manifest = layout.manifest(descriptor)
    diff_ids = layout.config(manifest).rootfs.diff_ids
    unpacked = contents.read(layout, manifest, diff_ids, lister=lister).unpacked
    below = len(made.base.manifest.layers)
    own = [layer.name for layer in made.plan.layers]
    squashed = len(manifest.layers) - below != len(own)
    names = ["base"] * below + (["application"] * (len(manifest.layers) - below) if squashed else own)
    for name, layer, size in zip(names, manifest.layers, unpacked, strict=True):
        yield BuiltLayer(name, layer, size, cached=None)

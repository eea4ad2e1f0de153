"""`bedside build`: from a release to an image that has a name because it was proven."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bedside.image import listings
from bedside.image.containment import Limits
from bedside.image.engines import Engine
from bedside.image.hosts import Host
from bedside.image.layout import Layout
from bedside.release.reading import model_file, open_release
from bedside.stages import dockerfile, limits, record, reproduce
from bedside.stages.assemble import Builder, Built, assembled
from bedside.stages.dockerfile import Wanted
from bedside.stages.inspected import inspected
from bedside.stages.proof import Proof, prove
from bedside.stages.sbom import leave_sbom, sbom_of


@dataclass(frozen=True, slots=True)
class Named:
    """An image that was proven, and so has its name.

    Attributes:
        built: The image.
        name: Its name in the layout, and in the engine that proved it.
        proof: What was seen.
        seconds: How long each part took: ``building``, ``inspection``, ``sbom``, ``proof``.
    """

    built: Built
    name: str
    proof: Proof
    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Means:
    """What an image is built and proven with.

    Attributes:
        builder: Effects of building.
        engine: Builds from the Dockerfile; ``None`` assembles the image without an engine.
        host: Runs the container of the proof.
    """

    builder: Builder
    engine: Engine | None
    host: Host


def build(
    directory: Path,
    source: str,
    layout: Layout,
    means: Means,
    wanted: Wanted | None = None,
    *,
    held_to: Limits | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> Named:
    """Build the image of the release in ``directory``, prove it, and name it in ``layout``.

    Args:
        directory: A release.
        source: Its base.
        layout: Where the image goes.
        means: What builds and proves it.
        wanted: How it is built.
        held_to: What it may use while it is proven; by default what its pods may.
        on_step: Told what is being done.

    Raises:
        VerificationFailed: The release is not what was validated, or the image is not, or does not answer so.
        UsageError: The base is none, or does not fit.
        ToolFailed: Something outside failed.
        Whatever it is, nothing has a name then that had none before.
    """
    # 0. A model that the image does not carry is here: without it nothing could be proven.
    # 1. Build it, assembled or by an engine. It lies in the layout under its digest, and has no name.
    # 2. Hold its config and every file of it against the release.
    # 3. Prove it in a container.
    # 4. Beside it: the record of the proof, and what it is made of.
    # 5. Only now it gets its name: in the layout, and where the proof ran.
    watch, wanted = _Watch(), wanted or Wanted()
    model = model_file(open_release(directory))  # 0
    built = _built(directory, source, layout, means.builder, means.engine, wanted, on_step)  # 1
    watch.ends("building")
    lister = means.builder.listings if wanted.use_cache else listings.read
    with inspected(layout, built.descriptor, digest=built.release.digest, lister=lister, on_step=on_step) as image:  # 2
        watch.ends("inspection")
        on_step("describing what it is made of")
        document = sbom_of(layout, built.descriptor, image.contents)
        watch.ends("sbom")
        on_step(f"bringing it into {means.host.name}")
        with means.host.holding(layout, built.descriptor) as held:
            may_use = held_to or limits.of_release(built.release)
            proof = prove(image, held, means.host.name, may_use, model=model, on_step=on_step)  # 3
            watch.ends("proof")
            record.leave(image, proof)  # 4
            leave_sbom(layout, built.descriptor, document)
            layout.add(built.descriptor, image.name)  # 5
            held.keep(image.name)
            return Named(built, image.name, proof, watch.seconds)


class _Watch:
    """Says how long each part took, one after the other."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self.seconds: dict[str, float] = {}

    def ends(self, part: str) -> None:
        now = time.monotonic()
        self.seconds[part], self._since = round(now - self._since, 3), now


def check(
    directory: Path,
    source: str,
    builder: Builder,
    engine: Engine | None = None,
    wanted: Wanted | None = None,
    *,
    on_step: Callable[[str], None] = lambda _: None,
) -> Built:
    """Build the image of the release in ``directory`` twice, with no cache, and compare; nothing is kept or named.

    Raises:
        GateRefused: The two differ; the message names the layer and the first file.
    """
    fresh = replace(wanted or Wanted(), use_cache=False)
    return reproduce.check(
        directory,
        lambda release, layout: _built(release, source, layout, builder, engine, fresh, on_step),
        on_step=on_step,
    )


def _built(
    directory: Path,
    source: str,
    layout: Layout,
    builder: Builder,
    engine: Engine | None,
    wanted: Wanted,
    on_step: Callable[[str], None],
) -> Built:
    if engine is not None:
        return dockerfile.built(directory, source, layout, builder, engine, wanted, on_step=on_step)
    return assembled(
        directory,
        source,
        layout,
        builder,
        epoch=wanted.epoch,
        use_cache=wanted.use_cache,
        on_step=on_step,
    )

"""An image of a release without any engine: the reproducible reference; see `image.plan` for what is in it.

The layers are kept in a cache by what decides their bytes, so that a new model moves its own layer alone.
"""

import hashlib
import json
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, assert_never

from packaging.utils import canonicalize_name

from bedside.errors import UsageError, VerificationFailed
from bedside.image import bases, bytecode, installed, layers, plan
from bedside.image.assembly import assemble
from bedside.image.bases import FoundBase, Repositories
from bedside.image.layer_cache import LayerCache
from bedside.image.layers import Directory, Entries, File, Layer
from bedside.image.layout import Layout
from bedside.image.listings import ListingCache
from bedside.image.oci import Descriptor
from bedside.image.plan import Base, Compiled, Copied, ImagePlan, Installed, PlannedLayer, Volume
from bedside.locking import accelerators, lockfile, runtime_wheel
from bedside.locking import uv as resolver
from bedside.locking.uv import Uv
from bedside.release.reading import Release, describe, open_release
from bedside.stages.sbom import leave_provenance
from bedside.stages.verify import check_files
from bedside_runtime.contract import File as ReleaseFile
from bedside_runtime.signature import FILE_NAME as SIGNATURE

CARD: Final = "model_card.json"

_FORMAT: Final = 3
"""Raised whenever the same plan gives other bytes than before; part of every layer's key."""


@dataclass(frozen=True, slots=True)
class BuiltLayer:
    """One layer of a built image.

    Attributes:
        name: ``base``, or a layer of the plan.
        descriptor: Of its blob.
        unpacked: Bytes of its files.
        cached: Whether it was there already; ``None`` where only the engine knows.
    """

    name: str
    descriptor: Descriptor
    unpacked: int
    cached: bool | None


@dataclass(frozen=True, slots=True)
class Built:
    """An image in a layout, not proven and without a name.

    Attributes:
        way: ``assembled``, or the engine that built it from the Dockerfile.
        plan: What it is.
        release: Of what.
        base: What it stands on.
        descriptor: Of its manifest.
        layers: From the base up.
    """

    way: str
    plan: ImagePlan
    release: Release
    base: FoundBase
    descriptor: Descriptor
    layers: tuple[BuiltLayer, ...]


@dataclass(frozen=True, slots=True)
class Builder:
    """The effects that assembling needs.

    Attributes:
        uv: Installs the lock.
        cache: Layers and bases that were built or fetched before.
        repositories: Opens the repository of a base.
    """

    uv: Uv
    cache: Layout
    repositories: Repositories

    @property
    def listings(self) -> ListingCache:
        """What layers that were read before hold."""
        return ListingCache(self.cache.directory / "listings")


def assembled(
    directory: Path,
    source: str,
    layout: Layout,
    builder: Builder,
    *,
    epoch: int | None = None,
    use_cache: bool = True,
    on_step: Callable[[str], None] = lambda _: None,
) -> Built:
    """Write the image of the release in ``directory`` into ``layout``, without a name.

    Args:
        directory: A release.
        source: Its base; see `bases.find`.
        layout: Where the image goes.
        builder: Effects.
        epoch: Seconds since 1970 that the image carries as its time; the release's own where none is given.
        use_cache: Whether layers that were built before are taken.
        on_step: Told what is being done.

    Raises:
        VerificationFailed: The release is not what was validated, or the lock does not give what it names.
        UsageError: The base is none, or does not fit.
        ToolFailed: Something outside failed; what was written has no name.
    """
    # 1. The release is what was validated: nothing of another one gets into an image.
    # 2. The base, by digest; its Python is the one that the release needs.
    # 3. The plan. From here on nothing is decided any more.
    # 4. Each layer, from the cache or anew; each file of the release is compared once more as it is written.
    # 5. Config and manifest, and beside them from what and by whom. The image has no name: that comes with the proof.
    on_step("comparing every file of the release")  # 1
    release = open_release(directory)
    check_files(release)
    on_step(f"looking into the base {source}")  # 2
    found = find_base(release, source, builder)
    planned = planned_image(release, found.base, epoch)  # 3
    laying = _Laying(planned, release, found, builder, use_cache=use_cache, on_step=on_step)
    built = laying.every()  # 4
    on_step("writing the image")  # 5
    descriptor = assemble(planned, [layer for layer, _ in built], builder.cache, found, layout)
    layout.add(descriptor)
    leave_provenance(layout, descriptor, release, "assembled")
    return Built("assembled", planned, release, found, descriptor, tuple(_listed(planned, found, built)))


def _listed(planned: ImagePlan, found: FoundBase, built: Sequence[tuple[Layer, bool]]) -> Iterator[BuiltLayer]:
    for below, unpacked in zip(found.manifest.layers, found.unpacked, strict=True):
        yield BuiltLayer("base", below, unpacked, cached=True)
    for item, (layer, cached) in zip(planned.layers, built, strict=True):
        yield BuiltLayer(item.name, layer.descriptor, layer.unpacked, cached)


def find_base(release: Release, source: str, builder: Builder) -> FoundBase:
    """Bring the base of a release's image and look into it; see `bases.find`."""
    wanted = plan.platform(release.contract)
    python = plan.minor(release.contract)
    found = bases.find(source, wanted, python, builder.cache, builder.repositories, lister=builder.listings)
    if found.cuda:
        raise UsageError(
            f"the base {source} carries CUDA: {found.cuda[0]}",
            remedy="Name a base without it, such as python:3.11-slim: wheels bring the CUDA that they were built for.",
        )
    return found


def planned_image(release: Release, base: Base, epoch: int | None = None) -> ImagePlan:
    """Return the plan of a release on a base; its time is the release's own where no ``epoch`` is given."""
    card = release.directory / CARD
    own = plan.card_time(card.read_bytes() if card.is_file() else b"{}")
    lock = release.lock.read_text(encoding="utf-8")
    accelerators.check(lockfile.parse(lock), release.contract.accelerator, release.lock.name)
    return plan.plan(
        release.contract,
        release.digest,
        base=base,
        dependencies=lockfile.without(lock, runtime_wheel.DISTRIBUTION),
        runtime=lockfile.only(lock, runtime_wheel.DISTRIBUTION),
        epoch=own if epoch is None else epoch,
        signature=_signature(release),
    )


def _signature(release: Release) -> ReleaseFile | None:
    """Return contract.sig as it lies there now, ``None`` where nobody signed the release."""
    path = release.directory / SIGNATURE
    if not path.is_file() or path.is_symlink():
        return None
    found = describe(SIGNATURE, path)
    return ReleaseFile(path=SIGNATURE, sha256=found.sha256, size=found.size)


def key(item: PlannedLayer, planned: ImagePlan) -> str:
    """Return the digest of everything that decides the bytes of a layer."""
    decides: Mapping[str, object]
    match item:
        case Installed(name, lock):
            environment = planned.contract.environment
            decides = {
                "layer": name,
                "lock": lock,
                "prune": hashlib.sha256(installed.PRUNE.read_bytes()).hexdigest(),
                "python": plan.minor(planned.contract),
                "platform": resolver.platform(environment.machine, environment.libc),
                "interpreter": [planned.base.interpreter, environment.python],
            }
        case Compiled(name, modules):
            decides = {
                "layer": name,
                "modules": modules,
                "base": planned.base.digest,
                "installed": [key(other, planned) for other in planned.layers if isinstance(other, Installed)],
            }
        case Volume(name, path):
            decides = {"layer": name, "path": path, "owner": plan.USER, "mode": plan.VOLUME_MODE}
        case Copied(name, files):
            decides = {"layer": name, "files": [[file.path, file.sha256, file.size] for file in files]}
        case _:
            assert_never(item)
    written = {"format": _FORMAT, "zlib": zlib.ZLIB_RUNTIME_VERSION, "level": layers.LEVEL, "time": layers.TIME}
    return hashlib.sha256(json.dumps({**decides, **written}, sort_keys=True).encode()).hexdigest()


class _Laying:
    """Laying the layers of a plan on each other, each from the cache or anew."""

    def __init__(
        self,
        planned: ImagePlan,
        release: Release,
        found: FoundBase,
        builder: Builder,
        *,
        use_cache: bool,
        on_step: Callable[[str], None],
    ) -> None:
        self._planned, self._release, self._found, self._builder = planned, release, found, builder
        self._use_cache, self._on_step = use_cache, on_step
        self._installed: list[Descriptor] = []

    def every(self) -> list[tuple[Layer, bool]]:
        """Return every layer, and whether it was there already."""
        return [self._layer(item) for item in self._planned.layers]

    def _layer(self, item: PlannedLayer) -> tuple[Layer, bool]:
        cache = self._builder.cache
        if self._use_cache:
            layer, cached = LayerCache(cache).layer(key(item, self._planned), lambda _: self._build(item))
        else:
            layer, cached = self._build(item), False
        if isinstance(item, Installed):
            self._installed.append(layer.descriptor)
        return layer, cached

    def _build(self, item: PlannedLayer) -> Layer:
        self._on_step(f"building the layer {item.name}")
        with tempfile.TemporaryDirectory(prefix="bedside-layer-") as work:
            return layers.write(self._entries(item, Path(work)), self._builder.cache)

    def _entries(self, item: PlannedLayer, work: Path) -> Entries:
        planned, builder = self._planned, self._builder
        match item:
            case Installed("dependencies"):
                own = installed.interpreter(planned.base, planned.contract)
                return {**own, **self._install(item, work)}
            case Installed():
                return self._install(item, work)
            case Compiled(_, modules):
                runner = builder.uv.runner
                return bytecode.entries(planned, modules, self._found, builder.cache, self._installed, runner, work)
            case Volume(_, path):
                return {path.lstrip("/"): Directory(plan.USER, plan.VOLUME_MODE)}
            case Copied(_, files):
                return {
                    f"{plan.RELEASE}/{file.path}".lstrip("/"): File(
                        self._release.directory / file.path, sha256=file.sha256
                    )
                    for file in files
                }
            case _:
                assert_never(item)

    def _install(self, item: Installed, work: Path) -> Entries:
        environment = self._planned.contract.environment
        target, lock = work / "site-packages", work / "requirements.lock"
        lock.write_text(item.lock, encoding="utf-8")
        words = resolver.platform(environment.machine, environment.libc)
        uv = self._builder.uv
        uv.install(target, plan.minor(self._planned.contract), words, lock, self._release.wheels)
        _only_what_is_locked(item, target)
        installed.prune(target, uv.runner)
        return installed.entries(target, self._planned.site_packages)


def _only_what_is_locked(item: Installed, target: Path) -> None:
    """Compare the distributions that were installed with those that the lock names.

    Raises:
        VerificationFailed: One is missing, of another version, or not locked.
    """
    locked = {(entry.name, entry.version) for entry in lockfile.parse(item.lock)}
    there = {(canonicalize_name(name), version) for name, version in installed.distributions(target)}
    if locked != there:
        differing = ", ".join(sorted(f"{name} {version}" for name, version in locked ^ there))
        raise VerificationFailed(
            f"what was installed is not what the lock names: {differing}",
            remedy="Package the release again on the platform that it is for.",
        )

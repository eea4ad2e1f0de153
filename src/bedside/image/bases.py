"""Base images: from a registry by digest, an image layout, an archive, or the tar of a root file system.

Whatever form it comes in, it ends as a manifest in a layout. What is there already is not fetched or converted
again. A tag is refused: what it names tomorrow is another image than what was proven today.
"""

import hashlib
import zlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from bedside.errors import ReferenceInvalid, UsageError
from bedside.image import archive, contents, layers, listings, oci, pulling
from bedside.image.contents import Contents
from bedside.image.layout import CHUNK, Layout, open_layout
from bedside.image.listings import Lister
from bedside.image.oci import Descriptor, Execution, History, ImageConfig, Manifest, Platform, RootFS
from bedside.image.plan import Base
from bedside.image.reference import Reference
from bedside.image.registry import Repository

SEARCH: Final = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
"""Where programs are looked for in an image that does not say it itself."""

TOOLS: Final = ("sh", "bash", "dash", "busybox", "apt", "apt-get", "apk", "dnf", "pip", "pip3", "curl", "wget")
"""Programs that a production image is better without; an image says which of them its base brings."""

_FORMAT: Final = 2
"""Raised whenever the same file becomes another image than before: what an earlier bedside kept is not taken then."""

Repositories: TypeAlias = Callable[[Reference], AbstractContextManager[Repository]]


@dataclass(frozen=True, slots=True)
class FoundBase:
    """A base image that is in a layout.

    Attributes:
        base: What the plan needs to know of it.
        layout: Where its blobs are.
        manifest: Its manifest.
        config: Its config.
        tools: Those of `TOOLS` that it brings.
        cuda: CUDA libraries that it brings.
        unpacked: Bytes of the files of each of its layers.
    """

    base: Base
    layout: Layout
    manifest: Manifest
    config: ImageConfig
    tools: tuple[str, ...]
    cuda: tuple[str, ...]
    unpacked: tuple[int, ...]


def find(
    source: str,
    platform: Platform,
    python: str,
    cache: Layout,
    repositories: Repositories,
    *,
    lister: Lister = listings.read,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> FoundBase:
    """Bring the base image ``source`` and look into it.

    Args:
        source: ``HOST/REPOSITORY@sha256:...``; or the path of an image layout (``DIR``, ``DIR@sha256:...``), of an OCI
            or docker archive, or of the tar of a root file system.
        platform: What it must run on.
        python: The Python that it must bring, ``3.11``.
        cache: Where what is fetched or converted is kept.
        repositories: Opens the repository of a reference.
        lister: Lists a layer; a cache takes what it listed before.
        on_bytes: Told of the bytes that came from a registry.

    Raises:
        UsageError: It is named by a tag, is not there, runs on another platform, or has no such Python.
        ImageInvalid: It is not what its digest says.
        RegistryFailed: The registry failed.
    """
    layout, descriptor, reference = _bring(source, platform, cache, repositories, on_bytes)
    descriptor, manifest = layout.image(descriptor, platform)
    config = layout.config(manifest)
    if not config.platform.runs(platform):
        raise UsageError(f"the base {source} is for {config.platform}; the release needs {platform}")
    there = contents.read(layout, manifest, config.rootfs.diff_ids, lister=lister)
    programs = _programs(there, config)
    interpreter = programs.get(f"python{python}")
    if interpreter is None:
        raise UsageError(
            f"the base {source} has no Python {python} on its PATH",
            remedy=f"Choose a base with Python {python}, the version that the golden cases passed on.",
        )
    base = Base(descriptor.digest, interpreter, reference, config.config.env or (f"PATH={':'.join(SEARCH)}",))
    tools = tuple(name for name in TOOLS if name in programs)
    return FoundBase(base, layout, manifest, config, tools, contents.cuda(there), there.unpacked)


def _bring(
    source: str,
    platform: Platform,
    cache: Layout,
    repositories: Repositories,
    on_bytes: Callable[[int], None],
) -> tuple[Layout, Descriptor, Reference | None]:
    name, _, digest = source.partition("@")
    path = Path(name)
    if path.is_dir():
        layout = open_layout(path)
        return layout, layout.find(digest or None), None
    if path.is_file():
        return cache, _archive(path, platform, cache), None
    reference = pinned(source, repositories)
    held = _held(cache, reference)
    if held is not None:
        return cache, held, reference
    with repositories(reference) as repository:
        return (
            cache,
            pulling.pull(repository, reference, cache, platform, name=str(reference), on_bytes=on_bytes),
            reference,
        )


def _held(cache: Layout, reference: Reference) -> Descriptor | None:
    for item in cache.index().manifests:
        if item.annotations.get(oci.REF_NAME) == str(reference):
            return item
    return None


def pinned(source: str, repositories: Repositories) -> Reference:
    """Read a reference that has a digest.

    Raises:
        UsageError: It is none, or names a tag; the remedy says what that names today.
    """
    try:
        reference = Reference.parse(source)
    except ReferenceInvalid as error:
        raise UsageError(
            f"the base {source!r} is no file, no image layout and no reference: {error}", remedy=error.remedy
        ) from None
    if reference.digest is not None:
        return reference
    with repositories(reference) as repository:
        today = repository.get(reference.tag or "latest").descriptor.digest
    raise UsageError(
        f"the base {source} is named by a tag, which may name another image tomorrow",
        remedy=f"Name what it names today: --base {reference.at(today)}",
    )


def _archive(path: Path, platform: Platform, cache: Layout) -> Descriptor:
    """Bring the image in a tar file into ``cache``; named by what decides its bytes, so that it is made once."""
    how = f"{_FORMAT}-{zlib.ZLIB_RUNTIME_VERSION}-{layers.LEVEL}"
    name = f"file-{_sha256(path)}-{str(platform).replace('/', '-')}-{how}"
    for item in cache.index().manifests:
        if item.annotations.get(oci.REF_NAME) == name:
            return item
    found = archive.read(path, cache) or _root_file_system(path, platform, cache)
    cache.add(found, name)
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _root_file_system(path: Path, platform: Platform, cache: Layout) -> Descriptor:
    """Make an image of one layer from the tar of a root file system, as mmdebstrap and `docker export` write it."""
    with path.open("rb") as file:
        layer, diff_id = layers.compress(iter(lambda: file.read(CHUNK), b""), cache)
    config = ImageConfig(
        architecture=platform.architecture,
        os=platform.os,
        rootfs=RootFS(diff_ids=(diff_id,)),
        config=Execution(env=(f"PATH={':'.join(SEARCH)}",)),
        history=(History(created_by="the tar of a root file system"),),  # without it buildah counts the layers wrong
    )
    return cache.write_document(Manifest(media_type=oci.MANIFEST, config=cache.write_document(config), layers=(layer,)))


def _programs(there: Contents, config: ImageConfig) -> Mapping[str, str]:
    """Return the programs on the PATH of an image by name, as the first directory that has one shows it."""
    path = next((item[5:] for item in config.config.env if item.startswith("PATH=")), ":".join(SEARCH)).split(":")
    found: dict[str, str] = {}
    for directory in path:
        for name in there.below(there.resolved(directory)):
            if "/" not in name:
                found.setdefault(name, f"{directory}/{name}")
    return found

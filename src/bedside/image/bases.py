"""Base images: from a registry by digest, an image layout, an archive, or the tar of a root file system.

Whatever form it comes in, it ends as a manifest in a layout. What is there already is not fetched or converted
again. A tag is refused: what it names tomorrow is another image than what was proven today.
"""

import hashlib
import json
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, TypeAlias

from bedside.errors import ImageInvalid, ReferenceInvalid, UsageError
from bedside.image import layers, oci, pulling
from bedside.image.layout import CHUNK, Layout, open_layout
from bedside.image.oci import Descriptor, Execution, ImageConfig, Manifest, Platform, RootFS
from bedside.image.plan import Base
from bedside.image.reference import Reference
from bedside.image.registry import Repository

SEARCH: Final = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
"""Where programs are looked for in an image that does not say it itself."""

TOOLS: Final = ("sh", "bash", "dash", "busybox", "apt", "apt-get", "apk", "dnf", "pip", "pip3", "curl", "wget")
"""Programs that a production image is better without; an image says which of them its base brings."""

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
        unpacked: Bytes of the files of each of its layers.
    """

    base: Base
    layout: Layout
    manifest: Manifest
    config: ImageConfig
    tools: tuple[str, ...]
    unpacked: tuple[int, ...]


def find(
    source: str,
    platform: Platform,
    python: str,
    cache: Layout,
    repositories: Repositories,
    *,
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
    there = _entries(layout, manifest)
    programs = _programs(there, config)
    interpreter = programs.get(f"python{python}")
    if interpreter is None:
        raise UsageError(
            f"the base {source} has no Python {python} on its PATH",
            remedy=f"Choose a base with Python {python}, the version that the golden cases passed on.",
        )
    base = Base(descriptor.digest, interpreter, reference, config.config.env or (f"PATH={':'.join(SEARCH)}",))
    return FoundBase(
        base, layout, manifest, config, tuple(name for name in TOOLS if name in programs), tuple(there.unpacked)
    )


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
    reference = _pinned(source, repositories)
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


def _pinned(source: str, repositories: Repositories) -> Reference:
    """Read a reference that has a digest; for a tag, say what it names today."""
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
    """Bring the image in a tar file into ``cache``; named by the file's digest, so that it is converted once."""
    name = f"file-{_sha256(path)}-{str(platform).replace('/', '-')}"
    for item in cache.index().manifests:
        if item.annotations.get(oci.REF_NAME) == name:
            return item
    try:
        with tarfile.open(path) as tar:
            there = {member.name.removeprefix("./") for member in tar}
            if "oci-layout" in there:
                found = _oci_archive(tar, cache)
            elif "manifest.json" in there:
                found = _docker_archive(tar, cache)
            else:
                found = _root_file_system(path, platform, cache)
    except tarfile.TarError as error:
        raise ImageInvalid(f"{path} is no tar file: {error}", remedy="Name an archive or an image layout.") from None
    cache.add(found, name)
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _docker_archive(tar: tarfile.TarFile, cache: Layout) -> Descriptor:
    """Convert what `docker save` and `podman save` write: its config as it is, its layers compressed."""
    listed = _json(tar, "manifest.json")
    if not isinstance(listed, list) or len(listed) != 1:
        raise ImageInvalid("the archive does not hold exactly one image", remedy="Save one image in an archive.")
    config = _member(tar, listed[0]["Config"]).read()
    diff_ids = oci.decode_config(config).rootfs.diff_ids
    descriptors = []
    for name, expected in zip(listed[0]["Layers"], diff_ids, strict=True):
        descriptor, diff_id = layers.compress(_chunks(_member(tar, name)), cache)
        if diff_id != expected:
            raise ImageInvalid(f"the layer {name} of the archive is {diff_id}; its config says {expected}")
        descriptors.append(descriptor)
    return cache.write_document(
        Manifest(media_type=oci.MANIFEST, config=cache.write(config, oci.CONFIG), layers=tuple(descriptors))
    )


def _oci_archive(tar: tarfile.TarFile, cache: Layout) -> Descriptor:
    """Copy the blobs of an OCI archive; each gets its name only where its digest is right."""
    index = oci.decode_index(_member(tar, "index.json").read())
    images = [item for item in index.manifests if item.artifact_type is None]
    if len(images) != 1:
        raise ImageInvalid("the archive does not hold exactly one image", remedy="Save one image in an archive.")
    _copy(tar, images[0], cache)
    return images[0]


def _copy(tar: tarfile.TarFile, item: Descriptor, cache: Layout) -> None:
    cache.write_stream(_chunks(_member(tar, f"blobs/{item.digest.algorithm}/{item.digest.hex}")), item)
    if item.media_type in oci.INDEXES:
        for child in cache.index(item).manifests:
            _copy(tar, child, cache)
    if item.media_type in oci.MANIFESTS:
        manifest = cache.manifest(item)
        for child in (manifest.config, *manifest.layers):
            _copy(tar, child, cache)


def _root_file_system(path: Path, platform: Platform, cache: Layout) -> Descriptor:
    """Make an image of one layer from the tar of a root file system, as mmdebstrap and `docker export` write it."""
    with path.open("rb") as file:
        layer, diff_id = layers.compress(_chunks(file), cache)
    config = ImageConfig(
        architecture=platform.architecture,
        os=platform.os,
        rootfs=RootFS(diff_ids=(diff_id,)),
        config=Execution(env=(f"PATH={':'.join(SEARCH)}",)),
    )
    return cache.write_document(Manifest(media_type=oci.MANIFEST, config=cache.write_document(config), layers=(layer,)))


def _member(tar: tarfile.TarFile, name: str) -> Any:  # noqa: ANN401 - a file object of tarfile
    for spelled in (name, f"./{name}"):
        try:
            file = tar.extractfile(spelled)
        except KeyError:
            continue
        if file is not None:
            return file
    raise ImageInvalid(f"the archive has no {name}")


def _json(tar: tarfile.TarFile, name: str) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return json.loads(_member(tar, name).read())
    except ValueError as error:
        raise ImageInvalid(f"{name} of the archive cannot be read: {error}") from None


def _chunks(file: Any) -> Iterator[bytes]:  # noqa: ANN401 - a file object of tarfile
    return iter(lambda: file.read(CHUNK), b"")


def _programs(there: "_Tree", config: ImageConfig) -> Mapping[str, str]:
    """Return the programs on the PATH of an image by name, as the first directory that has one shows it."""
    path = next((item[5:] for item in config.config.env if item.startswith("PATH=")), ":".join(SEARCH)).split(":")
    real = {directory: _resolved(directory, there) for directory in path}
    found: dict[str, str] = {}
    for directory in path:
        for name in there.children(real[directory]):
            found.setdefault(name, f"{directory}/{name}")
    return found


class _Tree:
    """The names in an image: every entry with the target of a symbolic link, as the layers leave it."""

    def __init__(self) -> None:
        self.entries: dict[str, str | None] = {}
        self.unpacked: list[int] = []

    def apply(self, name: str, link: str | None) -> None:
        """Take one entry of a layer, a whiteout among them (image-spec, layer.md)."""
        directory, _, last = name.rpartition("/")
        if last == ".wh..wh..opq":
            self._remove(directory, itself=False)
        elif last.startswith(".wh."):
            self._remove(f"{directory}/{last[4:]}".lstrip("/"), itself=True)
        else:
            self.entries[name] = link

    def _remove(self, name: str, *, itself: bool) -> None:
        gone = [entry for entry in self.entries if entry.startswith(f"{name}/") or (itself and entry == name)]
        for entry in gone:
            del self.entries[entry]

    def children(self, directory: str) -> list[str]:
        prefix = f"{directory}/"
        return [
            name[len(prefix) :] for name in self.entries if name.startswith(prefix) and "/" not in name[len(prefix) :]
        ]


def _entries(layout: Layout, manifest: Manifest) -> _Tree:
    tree = _Tree()
    for layer in manifest.layers:
        tree.unpacked.append(0)
        for member, _ in layers.members(layout, layer):
            tree.unpacked[-1] += member.size
            if re.search(r"(^|/)s?bin(/|$)", member.name) or member.name.rpartition("/")[2].startswith(".wh."):
                tree.apply(member.name, member.linkname if member.issym() else None)
    return tree


def _resolved(directory: str, there: _Tree) -> str:
    """Follow the one link that bases have here: /bin to /usr/bin."""
    name = directory.strip("/")
    target = there.entries.get(name)
    if target is None:
        return name
    return target.strip("/") if target.startswith("/") else str(PurePosixPath(name).parent / target).removeprefix("./")

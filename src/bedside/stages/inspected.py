"""An image held against the release in it, without running anything of it."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from bedside.errors import ImageInvalid, VerificationFailed
from bedside.image import contents, judging, listings, plan
from bedside.image.contents import Contents
from bedside.image.judging import Locked
from bedside.image.layout import Layout
from bedside.image.listings import Lister
from bedside.image.oci import Descriptor, ImageConfig, Manifest
from bedside.locking import lockfile
from bedside.release.reading import Release, open_release
from bedside.stages.sbom import describes
from bedside.stages.verify import check_files


@dataclass(frozen=True, slots=True)
class Inspected:
    """An image whose config and files are what the plan of its release says.

    Attributes:
        layout: Where its blobs are.
        descriptor: Of its manifest.
        manifest: Its manifest.
        config: Its config.
        contents: What lies in it.
        release: The release in it, copied out of its layers; its directory is there for the time of the ``with``.
    """

    layout: Layout
    descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig
    contents: Contents
    release: Release

    @property
    def name(self) -> str:
        """What the image is called once it was proven."""
        return f"{self.release.contract.name}:{plan.tag(self.release.contract.version)}"


@contextmanager
def inspected(
    layout: Layout,
    descriptor: Descriptor,
    *,
    digest: str | None = None,
    lister: Lister = listings.read,
    on_step: Callable[[str], None] = lambda _: None,
) -> Iterator[Inspected]:
    """Compare everything about an image that can be compared without running it.

    Args:
        layout: Where its blobs are.
        descriptor: Of its manifest.
        digest: The release digest that it must have, 64 hexadecimal digits, with or without ``sha256:``.
        lister: Lists a layer. A cache of listings is for who has just built the image, not for who doubts it.
        on_step: Told what is being done.

    Raises:
        ImageInvalid: A blob is not what its digest says, or there is no release in it.
        VerificationFailed: It differs from what its release says; the findings say exactly in what.
    """
    # 1. Every blob is what its digest says; each layer is what the config says that it is.
    # 2. The release comes out of the layers; every file of it is the one that was validated.
    # 3. Config, owners, modes, distributions and libraries are what the plan of that release says.
    on_step("reading every layer")  # 1
    manifest = layout.manifest(descriptor)
    config = layout.config(manifest)
    there = contents.read(
        layout,
        manifest,
        config.rootfs.diff_ids,
        hashed=lambda path: "/site-packages/" in path,
        kept=lambda path: path.endswith(".dist-info/RECORD") or describes(path),
        lister=lister,
    )
    named = judging.release_digest(config.config.labels)
    on_step("comparing every file of the release in it")  # 2
    with tempfile.TemporaryDirectory(prefix="bedside-image-") as work:
        contents.extract(layout, manifest, there, plan.RELEASE, Path(work, "release"))
        release = _release(Path(work, "release"), digest or named)
        check_files(release)
        on_step("comparing what is installed with the lock")  # 3
        locked = tuple(
            Locked(canonicalize_name(item.name), item.version)
            for item in lockfile.parse(release.lock.read_text(encoding="utf-8"))
        )
        found = tuple(
            judging.findings(release.contract, release.digest, config, there, records=_records(there), locked=locked)
        )
        if found:
            raise VerificationFailed(
                f"the image is not what its release says: {len(found)} difference(s)",
                remedy="Build it again from its release, and find out who changed this one.",
                findings=found,
            )
        yield Inspected(layout, descriptor, manifest, config, there, release)


def _records(there: Contents) -> Mapping[str, bytes]:
    return {path: data for path, data in there.kept.items() if path.endswith(".dist-info/RECORD")}


def _release(directory: Path, digest: str) -> Release:
    if not (directory / "contract.json").is_file():
        raise ImageInvalid(f"the image has no release at {plan.RELEASE}", remedy="Build it with `bedside build`.")
    release = open_release(directory)
    if release.digest != digest.removeprefix("sha256:").lower():
        raise VerificationFailed(
            f"the image carries the release {release.digest}; {digest} was asked for",
            remedy="This is another release than the one that was validated. Find out where it came from.",
        )
    return release

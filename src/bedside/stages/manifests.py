"""`bedside manifests`: from a release, an image by digest and ``[deploy]`` to a kustomize tree."""

import json
import shlex
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bedside import spec as specification
from bedside.errors import GateRefused, UsageError, VerificationFailed
from bedside.image.reference import Reference
from bedside.kube.plan import Measured, Plan, places
from bedside.kube.tree import MARK, Header, kustomization
from bedside.release.reading import Release, open_release
from bedside.stages.sign import signed_files
from bedside.stages.verify import check_files
from bedside_runtime import signature, signing_key

MEASUREMENTS = "measurements.json"


@dataclass(frozen=True, slots=True)
class Written:
    """A tree that was just written: where, and each file relative to it."""

    directory: Path
    files: tuple[str, ...]
    plans: tuple[Plan, ...]


def manifests(release: Path, image: str, output: Path, *, settings: Path | None = None) -> Written:
    """Write the kustomize tree of ``release`` to ``output``, or nothing.

    Args:
        release: A release directory.
        image: Reference of the image by digest.
        output: Directory to write; one that was written before is replaced whole.
        settings: The bedside.toml with ``[deploy]``; by default that of the project in whose dist/ the release lies.

    Raises:
        UsageError, ReferenceInvalid, SpecInvalid: Something that no cluster could take.
        VerificationFailed: The release is not what was validated.
        GateRefused: ``output`` holds files that are not of this command.
    """
    # 1. Everything is read and judged; 2. the tree is written beside its place; 3. it gets its name.
    made = plans(release, image, settings)
    command = shlex.join(["bedside", "manifests", release.resolve().name, "--image", image, "-o", output.name])
    first = made[0]
    header = Header(f"{first.contract.ref}, release sha256:{first.digest}", command)
    files = kustomization(made, header)
    _refuse_foreign(output)
    _replace(output, files)  # 2, 3
    return Written(output, tuple(files), made)


def plans(release: Path, image: str, settings: Path | None = None) -> tuple[Plan, ...]:
    """Return what is planned for each environment, production first. Raises as `manifests` does."""
    reference = by_digest(image)
    opened = open_release(release)
    check_files(opened)
    path = settings or project_file(opened)
    deployment = specification.load_deployment(path)
    if deployment.model != opened.contract.name:
        raise UsageError(
            f"bedside.toml is about {deployment.model!r}, the release about {opened.contract.name!r}",
            remedy="Name the bedside.toml of this model with --settings.",
        )
    found, key = measured(opened), _release_key(opened, path, deployment.settings.release_key)
    return tuple(
        Plan(opened.contract, opened.digest, str(reference), deployment.settings, found, place, key)
        for place in places(deployment.settings, opened.contract.name)
    )


def _release_key(release: Release, settings: Path, name: str | None) -> str | None:
    """Return the public key that the pods get, once it is shown that they will accept this release with it.

    Raises:
        UsageError: The release has nothing that could verify.
        SignatureKeyInvalid, SignatureInvalid: The key is none, or did not sign this release.
    """
    if name is None:
        return None
    if "cryptography" not in release.contract.environment.distributions:
        raise UsageError(
            f"the pods of {release.contract.ref} are to verify its signature, and nothing in them can",
            remedy="Write signed = true in [model] of bedside.toml and package again; or leave out release_key.",
        )
    path = settings.parent / name
    verifies = signing_key.read(path)
    signed = release.directory / signature.FILE_NAME
    signature.require(signed.read_bytes() if signed.is_file() else None, verifies, signed_files(release))
    return path.read_text(encoding="utf-8")


def by_digest(image: str) -> Reference:
    """Return the reference without its tag.

    Raises:
        UsageError: It has no digest.
        ReferenceInvalid: It is none.
    """
    reference = Reference.parse(image)
    if reference.digest is None:
        raise UsageError(
            f"{image!r} names an image by tag, and a tag can be moved to other bytes",
            remedy="Name it by digest, host/repository@sha256:...; `bedside push` prints that.",
        )
    return reference.at(reference.digest)


def project_file(release: Release) -> Path:
    """Return the bedside.toml of the project in whose dist/ the release lies.

    Raises:
        UsageError: It lies in none.
    """
    path = release.directory.parent.parent / "bedside.toml"
    if release.directory.parent.name != "dist" or not path.is_file():
        raise UsageError(
            f"{release.directory} lies in no project's dist/, so there is no [deploy] to go by",
            remedy="Name the bedside.toml that holds [deploy] with --settings.",
        )
    return path


def measured(release: Release) -> Measured:
    """Return what packaging measured of this very release.

    Raises:
        UsageError: measurements.json is missing, or is none.
        VerificationFailed: It is of another release.
    """
    path = release.directory / MEASUREMENTS
    remedy = "Package the release again: probes and limits are computed from what packaging measured."
    try:
        said = json.loads(path.read_bytes())
        if said["digest"] != release.digest:
            raise VerificationFailed(f"{path} was measured on another release", remedy=remedy)
        return Measured(float(sum(said["timings"].values())), int(said["rss_bytes"]))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", remedy=remedy) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(f"{path} is not what packaging writes", remedy=remedy) from None


def _refuse_foreign(output: Path) -> None:
    """Refuse to replace a directory that holds anything but what this command wrote."""
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        raise GateRefused(f"{output} is no directory", remedy="Name a directory with -o.")
    for path in sorted(output.rglob("*")) if output.is_dir() else ():
        if path.is_symlink() or (path.is_file() and not _ours(path)):
            raise GateRefused(
                f"{path} was not written by this command, and {output} would be replaced whole",
                remedy="Keep overlays of your own in a directory beside it that names it under resources.",
            )


def _ours(path: Path) -> bool:
    lines = path.read_bytes().split(b"\n", 2)
    return len(lines) > 1 and lines[1].startswith(MARK.encode())


def _replace(output: Path, files: dict[str, str]) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    try:
        fresh, old = work / "fresh", work / "old"
        for path, text in files.items():
            target = fresh / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        if output.exists():
            output.rename(old)
        fresh.rename(output)
    finally:
        shutil.rmtree(work, ignore_errors=True)

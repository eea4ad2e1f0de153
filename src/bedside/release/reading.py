"""Reading a release directory: every entry once, nothing executed."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from bedside.errors import UsageError, VerificationFailed
from bedside.release.compare import Found
from bedside_runtime import canonical
from bedside_runtime.contract import FILE_NAME, Contract, decode

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Release:
    """A release as its contract describes it; whether the files agree is `compare`'s business.

    Attributes:
        directory: Where it lies, absolute.
        contract: The parsed contract.
        digest: sha256 of contract.json's bytes, the release digest.
    """

    directory: Path
    contract: Contract
    digest: str

    @property
    def lock(self) -> Path:
        """The hashed requirements file."""
        return self.directory / "requirements.lock"

    @property
    def model(self) -> Path:
        """The model file, which is there for `model_file` to say."""
        return self.directory / self.contract.model.artifact

    @property
    def wheels(self) -> Path | None:
        """Directory of the wheels that travel in the release, ``None`` where there are none."""
        directory = self.directory / "wheels"
        return directory if directory.is_dir() else None


def open_release(directory: Path) -> Release:
    """Read the contract of the release in ``directory``.

    Raises:
        UsageError: There is no release there.
        ContractInvalid: contract.json is not canonical, or of another schema.
    """
    path = directory / FILE_NAME
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(
            f"{directory} is no release: it has no {FILE_NAME}",
            remedy="Name a directory that `bedside package` wrote, such as dist/<name>-<version>.",
        ) from None
    except OSError as error:
        raise VerificationFailed(f"{path} cannot be read: {error.strerror}") from None
    return Release(directory.resolve(), decode(data), canonical.digest(data))


def model_file(release: Release) -> Path:
    """Return the model file of ``release``.

    Raises:
        UsageError: It lies in object storage, and was not fetched.
    """
    if release.contract.model.source is not None and not release.model.exists():
        raise UsageError(
            f"the model of {release.contract.ref} is not here: it lies at {release.contract.model.source}",
            remedy=f"Bring it with `bedside fetch {release.directory}`.",
        )
    return release.model


def survey(directory: Path) -> dict[str, Found]:
    """Return every entry below ``directory`` by its relative path; links are reported, never followed.

    Raises:
        VerificationFailed: An entry cannot be read.
    """
    try:
        return {
            (name := path.relative_to(directory).as_posix()): _entry(name, path)
            for path in sorted(directory.rglob("*"))
            if path.is_symlink() or not path.is_dir()
        }
    except OSError as error:
        raise VerificationFailed(f"{error.filename} cannot be read: {error.strerror}") from None


def describe(name: str, path: Path) -> Found:
    """Return size and sha256 of the regular file ``path``, read in constant memory."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return Found(name, size, digest.hexdigest())


def _entry(name: str, path: Path) -> Found:
    if path.is_symlink():
        return Found(name, kind="symbolic link")
    if not path.is_file():
        return Found(name, kind="special file")
    return describe(name, path)

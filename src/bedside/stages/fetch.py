"""`bedside fetch`: the model file of a release that does not carry it, brought to its place in the release."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bedside.locking.environments import EnvironmentCache
from bedside.process import Runner
from bedside.release.reading import Release, open_release
from bedside.stages import runtime
from bedside.stages.verify import check_files, interpreter_of


@dataclass(frozen=True, slots=True)
class Fetched:
    """A release with its model.

    Attributes:
        release: The release.
        size: Bytes of the model file.
        kept: How many of them were there before.
    """

    release: Release
    size: int
    kept: int


def fetch(
    directory: Path,
    *,
    runner: Runner,
    environments: EnvironmentCache,
    on_step: Callable[[str], None] = lambda _: None,
    on_progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Fetched:
    """Bring the model file of the release in ``directory``, as the init container of a pod would.

    Args:
        directory: A release.
        runner: Starts the release's runtime.
        environments: Where its locked environment is kept.
        on_step: Told what is being done.
        on_progress: Told how many bytes are there, and of how many.

    Raises:
        VerificationFailed: The release, or what lies in object storage, is not what was validated.
        ToolFailed: Object storage does not answer, or not to us; what was read is kept for the next time.
    """
    on_step("comparing every file")
    release = open_release(directory)
    model = release.model
    if release.contract.model.source is None:
        check_files(release)
        return Fetched(release, model.stat().st_size, model.stat().st_size)
    on_step("making the locked environment")
    interpreter = interpreter_of(release, environments)
    on_step(f"fetching {release.contract.model.source}")
    said = runtime.fetch(runner, interpreter, release.directory, release.digest, on_progress)
    check_files(release)
    return Fetched(release, said["size"], said["kept"])

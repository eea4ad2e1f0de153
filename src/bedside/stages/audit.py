"""`bedside audit verify` and `show`: prove a prediction log, and read it while it is proved."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bedside.audit.entries import EVERYTHING_TOLD, Entries, Entry, Selection
from bedside.errors import UsageError
from bedside_runtime.audit import reading
from bedside_runtime.audit import verify as verifying
from bedside_runtime.audit.verify import EXIT_CODES, Report, Verdict


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a log is held against.

    Attributes:
        keys: Verification keys, or files with one, in the order of their use; without, signatures are not looked at.
        checkpoints: Files of checkpoints that were kept elsewhere; without, a cut at the end cannot be seen.
        pod: The pod that the log must be of; the folder's name where it is left out.
        partial: Whether older segments are kept elsewhere.
    """

    keys: tuple[str, ...] = ()
    checkpoints: tuple[Path, ...] = ()
    pod: str | None = None
    partial: bool = False


THE_LOG_ALONE: Final = Evidence()
"""Nothing beside the log: what it says of itself."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What the log of one pod was found to be."""

    directory: Path
    pod: str
    report: Report

    @property
    def whole(self) -> bool:
        """Whether everything that was answered from is there: a torn tail answered nobody."""
        return self.report.verdict in (Verdict.INTACT, Verdict.TORN_TAIL)


def exit_code(judged: Sequence[Judged]) -> int:
    """Return the code of the first log that is not whole; else that of a torn tail, where there is one; else 0."""
    gravest = sorted(judged, key=lambda item: (item.whole, item.report.verdict is Verdict.INTACT))
    return EXIT_CODES[gravest[0].report.verdict]


def size(path: Path) -> int:
    """Return how many bytes `verify` will read, as far as can be said before."""
    folders = [path, *(folder for folder in path.iterdir() if folder.is_dir())] if path.is_dir() else []
    return sum(file.stat().st_size for folder in folders for file in reading.paths(folder))


def verify(
    path: Path, evidence: Evidence = THE_LOG_ALONE, *, on_bytes: Callable[[int], None] = lambda _: None
) -> tuple[Judged, ...]:
    """Prove a log, in constant memory.

    Args:
        path: Folder of one pod's log, or of several pods' folders.
        evidence: What it is held against. A pod that only a checkpoint knows has lost its log.
        on_bytes: Told how many bytes were read.

    Raises:
        UsageError: There is no log.
        BedsideRuntimeError: A key, a checkpoint or a file cannot be read; see `reading`.
    """
    return tuple(_judged(path, evidence, on_bytes, None))


def show(
    path: Path,
    on_entry: Callable[[Entry], None],
    *,
    selection: Selection = EVERYTHING_TOLD,
    evidence: Evidence = THE_LOG_ALONE,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> tuple[Judged, ...]:
    """Read a log while it is proved, and pass on what is wanted of it, pod by pod.

    What is passed on is proved to follow everything before it; what was found of the whole is what comes back.

    Args:
        path: As `verify` takes it.
        on_entry: Given each wanted record.
        selection: Which ones are.
        evidence: As `verify` takes it.
        on_bytes: Told how many bytes were read.

    Raises:
        UsageError, BedsideRuntimeError: As `verify`.
        VerificationFailed: A record is of a kind that this version of bedside does not know.
    """
    return tuple(_judged(path, evidence, on_bytes, lambda: Entries(selection, on_entry)))


def _judged(
    path: Path,
    evidence: Evidence,
    on_bytes: Callable[[int], None],
    entries: Callable[[], Entries] | None,
) -> Iterator[Judged]:
    trusted = reading.trust(evidence.keys)
    known = reading.kept(evidence.checkpoints, trusted)
    for pod, folder in _logs(path, evidence.pod, known):
        if known and pod not in known and folder == path:
            raise UsageError(f"no checkpoint of {pod} was given, but of {', '.join(sorted(known))}")
        report = verifying.verify(
            reading.segments(folder) if folder.is_dir() else (),
            trust=trusted,
            checkpoints=known.get(pod, ()),
            pod=pod,
            partial=evidence.partial,
            on_bytes=on_bytes,
            on_record=entries() if entries is not None else None,
        )
        yield Judged(folder, pod, report)


def _logs(path: Path, pod: str | None, known: Collection[str]) -> list[tuple[str, Path]]:
    """Return pod and folder of every log: of the one in ``path`` itself, or of those below and those in ``known``."""
    named = pod or path.resolve().name
    if reading.paths(path) or named in known:
        return [(named, path)]
    if pod is not None:
        raise UsageError(f"{path} holds no log of one pod", remedy=f"Name {path / pod}.")
    folders = {folder.name for folder in path.iterdir() if folder.is_dir() and reading.paths(folder)}
    if not folders and not known:
        raise UsageError(
            f"{path} holds no audit log", remedy="Name a folder of <boot>-<number>.jsonl files, or the one above."
        )
    return [(name, path / name) for name in sorted({*folders, *known})]

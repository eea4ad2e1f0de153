"""Reads logs, keys and kept checkpoints from files, for whoever verifies. Knows nothing of writing or serving."""

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from bedside_runtime.audit import notes
from bedside_runtime.audit.notes import Checkpoint, NotANote
from bedside_runtime.audit.segments import segment_number
from bedside_runtime.audit.verify import Report, Segment, Trust, verify
from bedside_runtime.errors import AuditCheckpointInvalid, AuditKeyInvalid, IntegrityError

_CHUNK: Final = 1 << 17
EVENT: Final = "audit-checkpoint"
"""The event under which the runtime writes a checkpoint to stdout."""

_LONGEST_NOTE: Final = 1 << 16
_JSON: Final = json.JSONDecoder()


def paths(directory: Path) -> list[Path]:
    """Return the files of the log in ``directory``, in the order of their numbers.

    Raises:
        IntegrityError: There is no such directory.
    """
    try:
        found = [(number, path) for path in directory.iterdir() if (number := segment_number(path.name)) is not None]
    except OSError as error:
        raise IntegrityError(
            f"{directory} cannot be read: {error.strerror}", remedy="Name the folder of one pod's audit log."
        ) from None
    return [path for _, path in sorted(found)]


def segments(directory: Path) -> Iterator[Segment]:
    """Every segment of the log in ``directory``, each read as it is verified."""
    for path in paths(directory):
        yield Segment(path.name, segment_number(path.name) or 0, _chunks(path))


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def trust(keys: Sequence[str]) -> Trust | None:
    """Return whose checkpoints count.

    Args:
        keys: Verification keys as text, or paths of files that hold one, in the order of their use.

    Raises:
        AuditKeyInvalid: One of them is none.
        LibraryMissing: The extra ``audit`` is not installed.
    """
    if not keys:
        return None
    from bedside_runtime.audit.ed25519 import verifies  # needs the extra `audit`, which no other check does

    return Trust(tuple(map(_key, keys)), verifies)


def _key(text: str) -> notes.VerificationKey:
    try:
        path = Path(text)
        return notes.read_key(path.read_text(encoding="utf-8") if path.is_file() else text)
    except (OSError, ValueError) as error:
        raise AuditKeyInvalid(
            f"a verification key cannot be read: {error}", remedy="Take the key that the log's genesis record names."
        ) from None


def kept(files: Sequence[Path], trusted: Trust | None) -> dict[str, list[Checkpoint]]:
    """Return the checkpoints that were kept elsewhere, by the pod that they are about.

    Args:
        files: Each a signed note, or what pods wrote to stdout, whatever else stands in it: as ``kubectl logs`` prints
            it, or as container runtimes keep it.
        trusted: Keys, of which one must have signed each of them.

    Raises:
        AuditCheckpointInvalid: A file cannot be read or holds none, or one is not signed by a trusted key.
    """
    found: dict[str, list[Checkpoint]] = {}
    for path in files:
        texts = list(_notes(path))
        if not texts:
            raise AuditCheckpointInvalid(f"{path} holds no checkpoint")
        for text in texts:
            note, item = _checkpoint(text)
            if trusted is not None and notes.signed_by(note, trusted.keys, trusted.verifies) is None:
                raise AuditCheckpointInvalid(f"a checkpoint in {path} is not signed by a trusted key")
            found.setdefault(notes.pod(item.origin), []).append(item)
    return found


def _notes(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            first = file.readline()
            if first.startswith(notes.ORIGIN):
                yield first + file.read(_LONGEST_NOTE)
                return
            for line in itertools.chain([first], file):
                note = _exported(line)
                if note is not None:
                    yield note
    except OSError as error:
        raise AuditCheckpointInvalid(f"{path} cannot be read: {error.strerror}") from None


def _exported(line: str) -> str | None:
    """Return the note in a line that a process wrote to stdout; ``None`` for any other line.

    A container runtime may have put time and stream before the line (CRI), or the line into JSON (Docker).
    """
    try:
        event, _ = _JSON.raw_decode(line, line.index("{"))
    except ValueError:  # a container's output is not only ours
        return None
    if not isinstance(event, dict):
        return None
    if isinstance(event.get("log"), str):
        return _exported(event["log"])
    return str(event.get("note")) if event.get("event") == EVENT else None


def _checkpoint(text: str) -> tuple[notes.Note, Checkpoint]:
    try:
        note = notes.read_note(text)
        return note, notes.read_checkpoint(note.text)
    except NotANote as error:
        raise AuditCheckpointInvalid(str(error)) from None


def judge(
    directory: Path,
    *,
    keys: Sequence[str] = (),
    checkpoints: Sequence[Path] = (),
    pod: str | None = None,
    partial: bool = False,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> Report:
    """Verify the log of one pod.

    Args:
        directory: The pod's folder.
        keys: As `trust` takes them.
        checkpoints: As `kept` takes them.
        pod: The pod that it must be of; the folder's name where it is not given.
        partial: Whether older segments are kept elsewhere.
        on_bytes: Told how many bytes were read.

    Raises:
        IntegrityError, AuditKeyInvalid, AuditCheckpointInvalid, LibraryMissing: See the functions above.
    """
    trusted = trust(keys)
    named = pod if pod is not None else directory.resolve().name
    known = kept(checkpoints, trusted)
    if checkpoints and named not in known:
        raise AuditCheckpointInvalid(f"no checkpoint of {named} was given, but of {', '.join(sorted(known))}")
    return verify(
        segments(directory),
        trust=trusted,
        checkpoints=known.get(named, ()),
        pod=named,
        partial=partial,
        on_bytes=on_bytes,
    )

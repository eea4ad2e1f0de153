"""`bedside audit export`: what a log proves, in the forms that other systems read."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, assert_never

import msgspec

from bedside.audit.entries import EVERYTHING_TOLD, Entry, Selection
from bedside.audit.files import AuditEvents, Sink, finish, unfinished
from bedside.audit.inputs import Unsealed
from bedside.stages.audit import THE_LOG_ALONE, Evidence, Judged, show
from bedside_runtime.audit import record

Form: TypeAlias = Literal["fhir", "parquet"]


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export came to.

    Attributes:
        judged: What the logs were found to be.
        entries: Records that were taken.
        path: The file; ``None`` where a log is not whole, and so none was written.
    """

    judged: tuple[Judged, ...]
    entries: int
    path: Path | None


def export(
    path: Path,
    target: Path,
    form: Form,
    *,
    selection: Selection = EVERYTHING_TOLD,
    evidence: Evidence = THE_LOG_ALONE,
    unsealed: Unsealed | None = None,
    until_fault: bool = False,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> Exported:
    """Write the wanted records of a log to a new file, in constant memory; all of it, or no file.

    Args:
        path: As `audit.verify` takes it.
        target: The file; must not exist.
        form: ``fhir`` for AuditEvents as NDJSON, ``parquet`` for a table.
        selection: Which records.
        evidence: As `audit.verify` takes it.
        unsealed: Opens sealed inputs for a table.
        until_fault: Whether to write what is proved before the first fault of a log that is not whole.
        on_bytes: Told how many bytes were read.

    Raises:
        UsageError: There is no log, the file exists or cannot be written, or the inputs cannot be opened.
        VerificationFailed, BedsideRuntimeError: As `audit.show`.
    """
    entries = 0

    def take(entry: Entry) -> None:
        nonlocal entries
        entries += 1
        sink.add(entry, _inputs(entry, unsealed))

    with unfinished(target) as beside:
        with _sink(form, beside) as sink:
            judged = show(path, take, selection=selection, evidence=evidence, on_bytes=on_bytes)
            sink.describe([{"pod": item.pod, **msgspec.to_builtins(item.report)} for item in judged])
        written = until_fault or all(item.whole for item in judged)
        if written:
            finish(beside, target)
    return Exported(judged, entries, target if written else None)


def _sink(form: Form, path: Path) -> AbstractContextManager[Sink]:
    match form:
        case "fhir":
            return AuditEvents(path)
        case "parquet":
            from bedside.audit.parquet import ParquetFile  # needs the extra `parquet`, which nothing else does

            return ParquetFile(path)
        case _:
            assert_never(form)


def _inputs(entry: Entry, unsealed: Unsealed | None) -> Sequence[Mapping[str, object]] | None:
    return unsealed.rows(entry) if unsealed is not None and isinstance(entry.body, record.Prediction) else None

"""Files that records are exported to: written beside their name, which they get once they are durable."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import msgspec

from bedside.audit.entries import Entry
from bedside.audit.fhir import audit_event
from bedside.errors import UsageError


class Sink(Protocol):
    """Takes records, one after the other."""

    def add(self, entry: Entry, inputs: Sequence[Mapping[str, object]] | None) -> None:
        """Append ``entry``, with its opened inputs where they are asked for."""
        ...

    def describe(self, found: object) -> None:
        """Say what the log was found to be, where the form has a place for it."""
        ...


class AuditEvents:
    """FHIR AuditEvents, one a line: NDJSON, as FHIR's bulk data has it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb")

    def __enter__(self) -> "AuditEvents":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, entry: Entry, inputs: Sequence[Mapping[str, object]] | None) -> None:  # noqa: ARG002 - never inputs
        """See `Sink`. Opened inputs have no place in an AuditEvent."""
        event = audit_event(entry)
        if event is not None:
            self._file.write(msgspec.json.encode(event) + b"\n")

    def describe(self, found: object) -> None:
        """See `Sink`. NDJSON has no place for it."""


@contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """Give a name beside ``path`` to write under; what is there at the end without `finish` is removed.

    Raises:
        UsageError: ``path`` is there already, or nothing can be written there.
    """
    if path.exists():
        raise UsageError(f"{path} is there already", remedy="Name another file; an export replaces none.")
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield beside
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        beside.unlink(missing_ok=True)


def finish(beside: Path, path: Path) -> None:
    """Make durable what was written to ``beside``, and call it ``path``."""
    for place in (beside, beside.parent):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if place == beside:
            beside.rename(path)

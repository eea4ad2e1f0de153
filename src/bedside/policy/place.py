"""Where a rule points, and what it says there."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A range of lines in a file; line 0 means the file as a whole."""

    file: str
    line: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True, order=True)
class Hit:
    """One place where a rule is broken, and the sentence that says how."""

    place: Place
    message: str


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file as it was given: its path as the user named it, and its bytes."""

    path: str
    data: bytes

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def directory(self) -> str:
        """All before the last part, empty at the root."""
        return self.path.rpartition("/")[0]

"""What `bedside check` reads: the files under the paths given, and what kustomizations name outside of them."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bedside.errors import UsageError
from bedside.findings import Finding
from bedside.policy import drawing, rulebook
from bedside.policy.kustomize.kustomization import FILES, needed
from bedside.policy.picture import Picture
from bedside.policy.place import Hit, Place, SourceFile

SKIPPED = frozenset((".git", ".hg", "node_modules", ".venv", "venv", "__pycache__", ".tox", ".nox", ".mypy_cache"))
"""Directories that hold no deployment of their own."""

STANDARD_INPUT = "-"
MAX_FOLLOWED = 5_000
"""Most files that are read because a kustomization names them."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What was read: the files, every name that was seen, and whether a whole tree was given."""

    files: tuple[SourceFile, ...]
    names: frozenset[str]
    roots: frozenset[str]
    whole: bool
    unread: tuple[Finding, ...]

    def drawn(self) -> Picture:
        """All of it as one picture."""
        return drawing.draw(self.files, names=self.names, whole=self.whole, roots=self.roots)


def read(paths: Sequence[str], standard_input: bytes) -> Sources:
    """Read what rules look at, and the names of everything else.

    Raises:
        UsageError: A path does not exist.
    """
    files: dict[str, SourceFile] = {}
    names: set[str] = set()
    unread: list[Finding] = []
    roots: set[str] = set()
    whole = False
    for path in paths:
        if path == STANDARD_INPUT:
            files[path] = SourceFile(path, standard_input)
            whole = True
            continue
        if not Path(path).exists():
            raise UsageError(f"{path} does not exist", remedy="Name a file, a directory, or - for standard input.")
        whole = whole or Path(path).is_dir()
        if Path(path).is_dir():
            roots.add("" if Path(path) == Path() else Path(path).as_posix())
        whole = whole or Path(path).name in FILES
        for name in _walk(path):
            names.add(name)
            if drawing.kind_of(name):
                _read_one(name, files, unread)
    _follow(files, names, unread)
    return Sources(
        tuple(files[name] for name in sorted(files)), frozenset(names), frozenset(roots), whole, tuple(unread)
    )


def _follow(files: dict[str, SourceFile], names: set[str], unread: list[Finding]) -> None:
    """Read what kustomizations name outside of the paths given, as building them does."""
    waiting = [source for source in files.values() if source.name in FILES]
    followed = 0
    while waiting:
        source = waiting.pop()
        for path in sorted(needed(source.data.decode("utf-8", "replace"), source.path)):
            inside = next((f"{path}/{name}" for name in FILES if Path(path, name).is_file()), path)
            if inside in names or not Path(inside).is_file() or followed >= MAX_FOLLOWED:
                continue
            followed += 1
            names.add(inside)
            if drawing.kind_of(inside):
                _read_one(inside, files, unread)
            if Path(inside).name in FILES and inside in files:
                waiting.append(files[inside])


def _read_one(name: str, files: dict[str, SourceFile], unread: list[Finding]) -> None:
    try:
        with Path(name).open("rb") as stream:
            files[name] = SourceFile(name, stream.read(drawing.MAX_BYTES + 1))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        unread.append(rulebook.finding("BED-INP-003", Hit(Place(name), f"the file was not read: {reason}")))


def _walk(path: str) -> Iterator[str]:
    """Regular files below ``path``, links to directories not followed, as the user would name them."""
    if not Path(path).is_dir():
        yield path
        return
    for directory, below, names in os.walk(path):
        if "pyvenv.cfg" in names:  # a Python environment, whatever it is called
            below.clear()
            continue
        below[:] = sorted(name for name in below if name not in SKIPPED)
        for name in sorted(names):
            found = Path(directory, name)
            if found.is_file() and not _is_test(found.relative_to(path)):
                yield found.as_posix()


def _is_test(path: Path) -> bool:
    """Whether a Python file below the path that was given is there for tests."""
    tested = {"test", "tests"} & set(path.parts[:-1]) or path.name.startswith("test_") or path.name == "conftest.py"
    return path.suffix == ".py" and bool(tested)

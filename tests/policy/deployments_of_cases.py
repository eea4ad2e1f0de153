"""The good deployment and the small patches over it, read from their files."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bedside.policy import drawing, rulebook
from bedside.policy.place import SourceFile

HERE = Path(__file__).parent
GOOD = HERE / "deployments" / "icu"


@dataclass(frozen=True)
class Case:
    """One patch: what it changes, which rule it is about, and every rule that must fire."""

    family: str
    name: str
    about: str
    finds: tuple[str, ...]
    edits: tuple[Mapping[str, str], ...] = ()
    create: Mapping[str, str] = field(default_factory=dict)
    delete: tuple[str, ...] = ()
    base: str = "icu"


def cases() -> list[Case]:
    """Every case of every family, in file order."""
    return [
        Case(
            path.stem,
            row["name"],
            row["about"],
            tuple(row["finds"]),
            tuple(row.get("edits", ())),
            row.get("create", {}),
            tuple(row.get("delete", ())),
            row.get("base", "icu"),
        )
        for path in sorted((HERE / "mutants").glob("*.toml"))
        for row in tomllib.loads(path.read_text())["case"]
    ]


def good(name: str = "icu") -> dict[str, str]:
    """A deployment without findings, path to text; ``gitlab`` is the same with GitLab's pipeline for GitHub's."""
    files = {path.relative_to(GOOD).as_posix(): path.read_text() for path in sorted(GOOD.rglob("*")) if path.is_file()}
    if name == "icu":
        return files
    added = HERE / "deployments" / name
    kept = {path: text for path, text in files.items() if not path.startswith(".github/")}
    return kept | {path.relative_to(added).as_posix(): path.read_text() for path in added.rglob("*") if path.is_file()}


def patched(base: Mapping[str, str], case: Case) -> dict[str, str]:
    """The deployment with the patch applied; every ``old`` must stand there exactly once."""
    files = dict(base)
    for edit in case.edits:
        text = files[edit["file"]]
        assert text.count(edit["old"]) == 1, (
            f"{case.name}: {text.count(edit['old'])} times {edit['old']!r} in {edit['file']}"
        )
        files[edit["file"]] = text.replace(edit["old"], edit["new"])
    for path in case.delete:
        del files[path]
    return files | dict(case.create)


def fired(files: Mapping[str, str]) -> dict[str, list[str]]:
    """Rules that fire on these files, each with its messages."""
    seen = drawing.draw([SourceFile(path, text.encode()) for path, text in files.items()], names=files)
    found: dict[str, list[str]] = {}
    for item in rulebook.judge(seen):
        found.setdefault(item.rule, []).append(f"{item.file}:{item.line} {item.message}")
    return found

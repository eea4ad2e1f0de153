"""The files that a bedside.toml names: there, readable, inside the project, and what they should be."""

import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from bedside.spec.rules import Problem
from bedside_runtime import address, canonical
from bedside_runtime.errors import AddressInvalid


@dataclass(frozen=True, slots=True)
class Checked:
    """What is wrong with the files, and the golden file's bytes where they could be read."""

    problems: tuple[Problem, ...]
    golden: bytes | None


def check(root: Path, table: Mapping[str, object]) -> Checked:
    """Look at every file that ``table`` names, also where the rest of its section is wrong."""
    model, environment = _section(table, "model"), _section(table, "environment")
    problems: list[Problem] = []
    if isinstance(artifact := model.get("artifact"), str):
        problems += _artifact(root, artifact, model.get("sha256"))
    if isinstance(card := model.get("card"), str):
        problems += _card(root, card)
    if isinstance(code := model.get("code"), list):
        problems += _code(root, [name for name in code if isinstance(name, str)])
    if isinstance(requirements := environment.get("requirements"), str):
        problems += _requirements(root, requirements)
    cases = None
    if isinstance(golden := _section(table, "golden").get("cases"), str):
        refused = list(_file(root, golden, "golden.cases"))
        problems += refused
        cases = None if refused else (root / golden).read_bytes()
    return Checked(tuple(problems), cases)


def _section(table: Mapping[str, object], name: str) -> Mapping[str, object]:
    section = table.get(name)
    return section if isinstance(section, dict) else {}


def _file(root: Path, name: str, path: str) -> Iterator[Problem]:
    """Yield why ``name`` is not a readable, non-empty file of the project; at most one reason."""
    place = root / name
    try:
        inside = place.resolve().is_relative_to(root.resolve())
        if not name or not inside or Path(name).is_absolute():
            message, remedy = f"{name!r} lies outside of the project", "Put the file beside bedside.toml."
            yield Problem("BED-SPEC-040", path, message, remedy)
        elif place.is_dir():
            yield Problem("BED-SPEC-041", path, f"{name!r} is a directory", "Name the file itself.")
        elif not place.exists():
            yield Problem(
                "BED-SPEC-042", path, f"{name!r} is not there", "Check the name; it is relative to bedside.toml."
            )
        elif not place.is_file():
            yield Problem("BED-SPEC-041", path, f"{name!r} is no regular file", "Name a regular file.")
        elif place.stat().st_size == 0:
            yield Problem("BED-SPEC-043", path, f"{name!r} is empty", "Write the file again.")
        else:
            with place.open("rb"):
                pass
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no possible file name"
        yield Problem("BED-SPEC-044", path, f"{name!r} cannot be read: {reason}", "Check its name and permissions.")


def _artifact(root: Path, name: str, sha256: object) -> Iterator[Problem]:
    if not address.is_address(name):
        refused = list(_file(root, name, "model.artifact"))
        yield from refused
        if sha256 is not None and not refused and _sha256(root / name) != sha256:
            message = f"{name!r} has another sha256 than [model] says"
            yield Problem("BED-SPEC-048", "model.sha256", message, "Find out which of the two was validated.")
        return
    try:
        address.parse(name)
    except AddressInvalid as error:
        yield Problem("BED-SPEC-048", "model.artifact", str(error), error.remedy)
    if sha256 is None:
        yield Problem(
            "BED-SPEC-048",
            "model.artifact",
            "an object can be replaced, and no sha256 says which one was validated",
            'Write sha256 = "..." beside it: 64 hexadecimal digits, as `sha256sum` prints them.',
        )


def _sha256(place: Path) -> str:
    with place.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _card(root: Path, name: str) -> Iterator[Problem]:
    refused = list(_file(root, name, "model.card"))
    yield from refused
    if refused:
        return
    try:
        card = canonical.decode((root / name).read_bytes())
    except canonical.NotStrictJSON as error:
        yield Problem("BED-SPEC-045", "model.card", f"{name!r}: {error}", "Write the card as one JSON object.")
        return
    if not isinstance(card, dict):
        yield Problem("BED-SPEC-045", "model.card", f"{name!r} is no JSON object", "Write the card as one JSON object.")


def _code(root: Path, names: Sequence[str]) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, name in enumerate(names):
        path = f"model.code[{index}]"
        refused = list(_file(root, name, path))
        yield from refused
        module = Path(name).stem
        if Path(name).suffix != ".py" or not module.isidentifier():
            yield Problem("BED-SPEC-046", path, f"{name!r} cannot be imported", "Name it like a module: letters.py.")
        elif module in seen or module in sys.stdlib_module_names:
            message = f"{name!r} has the name of another module"
            yield Problem("BED-SPEC-046", path, message, "Give it a name that no other module has.")
        elif not refused:
            yield from _syntax(root / name, path, name)
        seen.add(module)


def _syntax(place: Path, path: str, name: str) -> Iterator[Problem]:
    try:
        compile(place.read_bytes(), name, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        yield Problem("BED-SPEC-046", path, f"{name!r} is no Python (line {line})", "Correct the syntax error.")


def _requirements(root: Path, name: str) -> Iterator[Problem]:
    path = "environment.requirements"
    refused = list(_file(root, name, path))
    yield from refused
    if refused:
        return
    try:
        text = (root / name).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        yield Problem("BED-SPEC-047", path, f"{name!r} is not UTF-8", "Save it as UTF-8.")
        return
    for number, line in enumerate(text.splitlines(), 1):
        wanted = line.split(" #")[0].strip()
        if wanted and not wanted.startswith("#"):
            yield from _requirement(path, name, number, wanted)


def _requirement(path: str, name: str, number: int, wanted: str) -> Iterator[Problem]:
    if wanted.startswith("-"):
        yield Problem(
            "BED-SPEC-047",
            path,
            f"{name} line {number} is an option",
            "Name distributions and versions only; index settings belong to the machine, not to the release.",
        )
        return
    try:
        requirement = Requirement(wanted)
    except InvalidRequirement:
        yield Problem("BED-SPEC-047", path, f"{name} line {number} is no requirement", "Write name==version.")
        return
    if requirement.url:
        yield Problem("BED-SPEC-047", path, f"{name} line {number} names an address", "Write name==version.")

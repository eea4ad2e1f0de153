"""What was measured, as rows that are kept in results.json, and the pages that are written of them."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs" / "benchmarks-images.md"
TABLE = ROOT / "docs" / "benchmarks" / "images.md"
RESULTS = HERE / "results.json"

ROWS = ("assembled", "podman", "guide", "bentoml", "mlflow")
PARTS = ("start", "building", "inspection", "sbom", "proof")
"""What a build of bedside consists of; the first is what it does not account for itself: Python, and tidying up."""

COLUMNS = (
    "image",
    "cold, s",
    "of it the proof",
    "new model, s",
    "of it the proof",
    "unpacked, MB",
    "to pull, MB",
    "layers",
    "layers that move",
    "MB that move",
    "load a core",
    "day",
)


@dataclass(frozen=True)
class Moved:
    """What a registry that has the image gets when only the model changed."""

    layers: int
    size: int


@dataclass(frozen=True)
class Built:
    """How long a build took, in seconds, and each part of it where it says so."""

    seconds: float
    parts: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Row:
    """What one way of building an image costs; seconds, bytes. The times hold those of the proof, if any."""

    name: str
    cold: Built
    again: Built
    unpacked: int
    packed: int
    layers: int
    moved: Moved


@dataclass(frozen=True)
class Facts:
    """When a row was measured, how busy the machine was, and how many minutes it took with all that it needs."""

    day: str
    load: str
    minutes: float


def facts(seconds: float) -> Facts:
    """Return what stands beside a row that took so long until now."""
    load = f"{os.getloadavg()[2] / (os.cpu_count() or 1):.1f}"
    return Facts(f"{datetime.now(UTC):%Y-%m-%d}", load, round(seconds / 60, 1))


def keep(name: str, row: Row, beside: Facts, versions: tuple[str, ...]) -> None:
    """Put a row in the place of the one that was measured before, and write the pages again."""
    kept: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    kept[name] = {"row": asdict(row), "facts": asdict(beside)}
    RESULTS.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    write([_read(kept[other]) for other in ROWS if other in kept], _machine(versions))


def _read(kept: dict[str, Any]) -> tuple[Row, Facts]:
    row = kept["row"]
    parsed = {"moved": Moved(**row["moved"]), "cold": Built(**row["cold"]), "again": Built(**row["again"])}
    return Row(**{**row, **parsed}), Facts(**kept["facts"])


def _machine(versions: tuple[str, ...]) -> str:
    podman = subprocess.run(["podman", "--version"], check=True, capture_output=True, text=True).stdout.split()[-1]
    return f"{os.cpu_count()} shared cores, Python {platform.python_version()}, podman {podman}, {', '.join(versions)}."


def write(measured: list[tuple[Row, Facts]], machine: str) -> None:
    """Write the page, and the table alone for the page of all benchmarks."""
    rows, parts = table(measured), of_parts(measured)
    text = (HERE / "page.md").read_text(encoding="utf-8")
    PAGE.write_text(Template(text).substitute(rows=rows, parts=parts, facts=machine), encoding="utf-8")
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(f"{rows}\n", encoding="utf-8")


def table(measured: list[tuple[Row, Facts]]) -> str:
    """Return the rows as a table of Markdown."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    for row, beside in measured:
        cells = [row.name, f"{row.cold.seconds:.0f}", _proof(row.cold), f"{row.again.seconds:.1f}", _proof(row.again)]
        cells += [f"{row.unpacked / 1e6:.0f}", f"{row.packed / 1e6:.0f}"]
        cells += [str(row.layers), str(row.moved.layers), f"{row.moved.size / 1e6:.2f}", beside.load, beside.day]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _proof(built: Built) -> str:
    return f"{built.parts['proof']:.1f}" if built.parts is not None else "none"


def of_parts(measured: list[tuple[Row, Facts]]) -> str:
    """Return what each part of bedside's own builds took, as a table of Markdown."""
    columns = ("image", "build", "start and end", "building", "inspection", "SBOM", "image stands after", "proof")
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    for row, _ in measured:
        for what, built in (("cold", row.cold), ("new model", row.again)):
            if built.parts is not None:
                seconds = [built.parts[part] for part in PARTS]
                cells = [f"{value:.2f}" for value in (*seconds[:-1], sum(seconds[:-1]), seconds[-1])]
                lines.append(f"| {row.name} | {what} | {' | '.join(cells)} |")
    return "\n".join(lines)

"""What a contender is: how it is started, how it is asked, where its answer stands."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from benchmarks.workloads import Patient, Workload

Kind: TypeAlias = Literal["guide", "peer", "floor", "bedside"]
"""The guide's way, a serving system that one could take instead, a bare echo, or bedside."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one start of a contender takes place.

    Attributes:
        workload: What it serves.
        model: Folder with the model as `workloads.prepare` wrote it.
        scratch: An empty folder of its own.
        cache: Where environments and releases are kept.
        port: A free port on 127.0.0.1; the next two are free as well.
    """

    workload: Workload
    model: Path
    scratch: Path
    cache: Path
    port: int


@dataclass(frozen=True, slots=True)
class Command:
    """How a server is started."""

    words: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Contender:
    """One entry of the field.

    Attributes:
        name: In results and on the command line.
        title: As the report says it.
        kind: What it is compared as.
        setting: How it is set, one line.
        command: Returns how it is started; makes what it needs first.
        path: Where it is asked.
        body: Makes the JSON that asks about one patient.
        answered: Finds the probability in the decoded answer; ``None`` for an echo.
        only: The one workload that it serves; ``None`` for both.
    """

    name: str
    title: str
    kind: Kind
    setting: str
    command: Callable[[Place], Command]
    path: str
    body: Callable[[Patient], Any]
    answered: Callable[[Any], float] | None
    only: str | None = None

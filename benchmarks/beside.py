"""What stands on the page beside the field: behaviour under duress (`make load`), and images (`make bench-image`)."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct


class Duress(Struct, frozen=True):
    """What the long form of tests/load noted.

    Attributes:
        date: Day, ISO 8601.
        load_average: Of the five minutes before the last of them ended, the tests' own work included.
        figures: By name; `targets.UNDER_DURESS` says what each is held to.
    """

    date: str
    load_average: float
    figures: Mapping[str, float]


class Beside(Struct, frozen=True):
    """The rest of the page.

    Attributes:
        duress: ``None`` where it was not measured.
        images: The table of images; empty where it was not measured.
    """

    duress: Duress | None = None
    images: str = ""


def read(folder: Path) -> Beside:
    """Read what ``make load`` and ``make bench-image`` left in ``folder``."""
    load, images = folder / "load.json", folder / "images.md"
    return Beside(
        msgspec.json.decode(load.read_bytes(), type=Duress) if load.exists() else None,
        images.read_text() if images.exists() else "",
    )

"""What the long form measured, for the page of the benchmark: `BEDSIDE_LOAD_FIGURES` names the file."""

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def note(**figures: float) -> None:
    """Add ``figures`` to the file, where one is named."""
    if "BEDSIDE_LOAD_FIGURES" not in os.environ:
        return
    file = Path(os.environ["BEDSIDE_LOAD_FIGURES"])
    file.parent.mkdir(parents=True, exist_ok=True)
    known: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"figures": {}}
    known["date"] = f"{datetime.now(UTC):%Y-%m-%d}"
    known["load_average"] = round(os.getloadavg()[1], 1)
    known["figures"] |= {name: round(value, 4) for name, value in figures.items()}
    file.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


def share(values: Sequence[float], part: float) -> float:
    """Return the value below which ``part`` of all of them lie."""
    return sorted(values)[min(int(len(values) * part), len(values) - 1)]

"""What scans, and where its advisories are."""

import os
from datetime import UTC, datetime
from pathlib import Path

from bedside.image.reference import Reference
from bedside.locking.environments import cache_directory
from bedside.process import Subprocess
from bedside.stages import advisories
from bedside.stages.scanner import Scanner
from bedside.wiring import repository


def scanner() -> Scanner:
    """Return what scans with; variables of the user's own that trivy would read are set to nothing."""
    unset = {name: "" for name in os.environ if name.startswith("TRIVY_")}
    return Scanner(Subprocess(), unset, lambda: datetime.now(UTC))


def vulnerabilities(db: str | None, *, ca_file: Path | None = None, plain_http: bool = False) -> Path:
    """Return the directory of trivy's vulnerability database.

    Args:
        db: A directory, or the registry that mirrors it; trivy's own cache where nothing is named.
        ca_file: Certificates to believe beside the system's.
        plain_http: No TLS; only for a registry on this machine.
    """
    if db is None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return advisories.local(Path(os.environ.get("TRIVY_CACHE_DIR") or cache / "trivy"))
    if Path(db).exists() or db.startswith((".", "/")):
        return advisories.local(Path(db))
    reference = Reference.parse(db)
    with repository(reference, ca_file=ca_file, plain_http=plain_http) as reached:
        return advisories.pulled(reached, reference, cache_directory().parent / "advisories")

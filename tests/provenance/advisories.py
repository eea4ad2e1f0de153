"""A vulnerability database of trivy as small as one can be, and what it knows."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests.provenance import bolt

PIP = "pip::GitHub Security Advisory pip"
DEBIAN = "debian 12"
SOURCES = {
    PIP: {"ID": "ghsa", "Name": "GitHub Security Advisory pip", "URL": "https://example.org"},
    DEBIAN: {"ID": "debian", "Name": "Debian Security Tracker", "URL": "https://example.org"},
}
KNOWN: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    PIP: {
        "jinja2": {"CVE-2019-10906": {"VulnerableVersions": ["<2.10.1"], "PatchedVersions": ["2.10.1"]}},
        "planted": {"CVE-2026-0001": {"VulnerableVersions": ["<2.0"], "PatchedVersions": ["2.0"]}},
        "unrated": {"CVE-2026-0002": {"VulnerableVersions": ["<9"]}},
        "slight": {"CVE-2026-0003": {"VulnerableVersions": ["<9"], "PatchedVersions": ["9"]}},
    },
    DEBIAN: {
        "base-files": {"CVE-2026-0010": {"FixedVersion": "0.1"}},
        "planted-source": {"CVE-2026-0011": {"FixedVersion": "2.0-1"}},
        "unfixed": {"CVE-2026-0012": {"Severity": 3}},
    },
}
RATED = {
    "CVE-2019-10906": ("sandbox escape", {"ghsa": 3}),
    "CVE-2026-0001": ("planted in Python", {"ghsa": 4}),
    "CVE-2026-0002": ("nobody rated it", {}),
    "CVE-2026-0003": ("of little weight", {"ghsa": 1}),
    "CVE-2026-0010": ("long ago", {"debian": 3}),
    "CVE-2026-0011": ("planted in Debian", {"debian": 3}),
    "CVE-2026-0012": ("without a fix", {"debian": 3}),
}


def write(directory: Path, made: datetime, *, without: str = "", schema: int = 2) -> Path:
    """Write a database that was made at ``made``; it knows nothing of the source ``without``."""
    directory.mkdir(parents=True, exist_ok=True)
    root: dict[str, Any] = {
        source: {name: _encoded(found) for name, found in packages.items()}
        for source, packages in KNOWN.items()
        if source != without
    }
    root["data-source"] = _encoded({name: said for name, said in SOURCES.items() if name != without})
    root["vulnerability"] = _encoded(
        {name: {"Title": title, "VendorSeverity": rated} for name, (title, rated) in RATED.items()}
    )
    bolt.write(directory / "trivy.db", root)
    times = {"UpdatedAt": made, "NextUpdate": made + timedelta(hours=6), "DownloadedAt": made}
    said = {name: f"{time:%Y-%m-%dT%H:%M:%S}.123456789Z" for name, time in times.items()}
    (directory / "metadata.json").write_text(json.dumps({"Version": schema, **said}))
    return directory


def _encoded(values: Mapping[str, Any]) -> dict[str, bytes]:
    return {name: json.dumps(value).encode() for name, value in values.items()}

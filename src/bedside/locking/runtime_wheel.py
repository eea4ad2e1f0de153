"""Where the bedside-runtime of a release comes from.

A release locks bedside-runtime like every other distribution. Installed from an index, it is resolved from
there. Installed from a checkout or a local wheel (PEP 610 says which), that very wheel travels in the
release, so that the lock's sha256 can be met anywhere.
"""

import importlib.metadata
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bedside.errors import ToolFailed
from bedside.locking.uv import Uv

DISTRIBUTION = "bedside-runtime"


def requirement(extras: Sequence[str] = ()) -> str:
    """Return the exact requirement of the runtime that these tools belong to, with ``extras``."""
    wanted = f"[{','.join(extras)}]" if extras else ""
    return f"{DISTRIBUTION}{wanted}=={importlib.metadata.version(DISTRIBUTION)}"


def bring(directory: Path, uv: Uv) -> Path | None:
    """Put the runtime's wheel into ``directory`` where an index cannot be expected to have it.

    Args:
        directory: Made if absent.
        uv: Builds the wheel of a checkout; two builds of one checkout give the same bytes.

    Returns:
        The wheel; ``None`` where the runtime was installed from an index.

    Raises:
        ToolFailed: The checkout or wheel that the runtime was installed from is gone or does not build.
    """
    recorded = importlib.metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
    if recorded is None:
        return None
    source = _local_path(json.loads(recorded)["url"])
    directory.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        return uv.build_wheel(source, directory)
    return Path(shutil.copy(source, directory))


def _local_path(url: str) -> Path:
    parts = urlsplit(url)
    path = Path(unquote(parts.path))
    if parts.scheme != "file" or not path.exists():
        raise ToolFailed(
            f"{DISTRIBUTION} was installed from {url}, which is not here",
            remedy=f"Install {DISTRIBUTION} from a package index, a local wheel or a checkout.",
        )
    return path

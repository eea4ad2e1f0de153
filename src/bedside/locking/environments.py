"""Locked environments that are kept: one for each lock, under the user's cache, made whole or not at all."""

import contextlib
import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bedside.locking.uv import Uv


@dataclass(frozen=True, slots=True)
class EnvironmentCache:
    """Environments by the digest of their lock, their local wheels and their Python version."""

    uv: Uv
    directory: Path

    def interpreter(self, lock: Path, wheels: Path | None, python: str) -> Path:
        """Return the Python of an environment that holds exactly ``lock``, making it where it is not there.

        Args:
            lock: Hashed requirements file, already verified against its release.
            wheels: Directory with local wheels, or ``None``.
            python: Version, ``3.11``.

        Raises:
            ToolFailed: It cannot be made.
        """
        home = self.directory / _key(lock, wheels, python)
        interpreter = home / "bin" / "python"
        if not interpreter.exists():
            self._make(home, lock, wheels, python)
        return interpreter

    def _make(self, home: Path, lock: Path, wheels: Path | None, python: str) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{home.name}-", dir=self.directory))
        try:
            self.uv.environment(partial, python, lock, wheels)
            with contextlib.suppress(OSError):  # another process was faster: its environment is as good
                partial.rename(home)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def cache_directory() -> Path:
    """Return where environments are kept: ``$XDG_CACHE_HOME/bedside``, else ``~/.cache/bedside``."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "bedside" / "environments"


def _key(lock: Path, wheels: Path | None, python: str) -> str:
    digest = hashlib.sha256(f"python {python}\n".encode())
    for path in [lock, *sorted(wheels.glob("*.whl") if wheels is not None else ())]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:24]

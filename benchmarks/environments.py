"""An environment of its own for each peer, made from its hashed requirements and kept below the cache folder."""

import hashlib
import subprocess
import sys
from pathlib import Path

UV = Path(sys.executable).with_name("uv")
PEERS = Path(__file__).parent / "peers"


def environment(name: str, cache: Path) -> Path:
    """Return the ``bin`` folder of the environment of ``peers/<name>``; made where it is missing or out of date.

    Raises:
        subprocess.CalledProcessError: It cannot be made.
    """
    requirements = PEERS / name / "requirements.txt"
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    folder = cache / "environments" / name
    stamp = folder / ".made-from"
    if not stamp.exists() or stamp.read_text() != digest:
        subprocess.run([UV, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True)
        interpreter = folder / "bin" / "python"
        subprocess.run(
            [UV, "pip", "sync", "--quiet", "--require-hashes", "--python", interpreter, requirements], check=True
        )
        stamp.write_text(digest)
    return folder / "bin"


def version(name: str, distribution: str) -> str:
    """Return the version of ``distribution`` that ``peers/<name>`` is pinned to."""
    lines = (PEERS / name / "requirements.txt").read_text().splitlines()
    (found,) = [line for line in lines if line.startswith(f"{distribution}==")]
    return found.removeprefix(f"{distribution}==").split()[0]

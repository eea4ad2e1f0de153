"""Resolve the requirements of all peers again, with hashes, without addresses: ``python -m benchmarks.lock``.

``--upgrade`` takes the newest versions.
"""

import subprocess
import sys
from collections.abc import Sequence

from benchmarks.environments import PEERS, UV


def main(options: Sequence[str]) -> None:
    """Write ``requirements.txt`` beside each ``requirements.in``."""
    for wanted in sorted(PEERS.glob("*/requirements.in")):
        how = ("--quiet", "--python-version", "3.11", "--generate-hashes", "--no-header", "--no-annotate", *options)
        files = (str(wanted), "--override", str(PEERS / "overrides.txt"), "-o", str(wanted.with_suffix(".txt")))
        subprocess.run([UV, "pip", "compile", *how, *files], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])

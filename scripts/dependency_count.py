"""Print how many distributions the runtime resolves to without a model library, and fail above the bound."""

import importlib.metadata
import sys

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

BOUND = 14
"""bedside-runtime itself included. Raising it needs an ADR (see docs/adr/0004-http-stack.md)."""


def closure(name: str) -> set[str]:
    """Return the normalized names of ``name`` and everything that it requires on this platform."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        current = canonicalize_name(waiting.pop())
        if current in found:
            continue
        found.add(current)
        requirements = map(Requirement, importlib.metadata.requires(current) or ())
        waiting += [item.name for item in requirements if item.marker is None or item.marker.evaluate({"extra": ""})]
    return found


def main() -> int:
    """Print the count and the names; exit 1 above the bound."""
    names = sorted(closure("bedside-runtime"))
    print(f"runtime dependencies: {len(names)} of at most {BOUND}: {', '.join(names)}")
    return 0 if len(names) <= BOUND else 1


if __name__ == "__main__":
    sys.exit(main())

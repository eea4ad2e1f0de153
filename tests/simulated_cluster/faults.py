"""What goes wrong in the cluster, as values that a scenario sets."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

What = Literal[
    "image cannot be pulled",
    "crashes",
    "runs out of memory",
    "fails its golden replay",
    "answers otherwise",
    "answers as another release",
    "loses readiness again and again",
    "finds no secret",
    "fits no node",
    "finds no volume",
    "never gets ready",
    "answers nobody",
    "is not what was validated",
]


@dataclass(frozen=True)
class PodFault:
    """What happens to the pods of a version, on one node or on all."""

    what: What
    version: str
    node: str | None = None

    def hits(self, version: str, node: str) -> bool:
        return self.version == version and self.node in (None, node)


@dataclass
class Faults:
    """Everything that is wrong at the moment."""

    pods: list[PodFault] = field(default_factory=list)
    most_pods: int | None = None
    webhook: str = ""
    """Denies pods with this message."""

    denied: set[tuple[str, str]] = field(default_factory=set)
    """Verb and resource that the account may not use."""

    unknown: set[str] = field(default_factory=set)
    """Groups that the cluster does not know."""

    credential: str = ""
    """Bearer token that the pods demand."""

    warnings: list[str] = field(default_factory=list)
    trouble: list[Callable[[Any], bool]] = field(default_factory=list)
    """Looks at each request before it is served, and says whether it has dealt with it."""

    after: list[Callable[[Any], None]] = field(default_factory=list)
    """Looks at each request when it has been carried out, before it is answered."""

"""How an image came about, as SLSA provenance 1.0: what it was made from, and by whom. Pure.

https://slsa.dev/spec/v1.0/provenance

The statement is honest about its weight. A build on a laptop or in a job is Build level 1: there is provenance, it says
what went in, and it is complete as far as bedside knows. Level 2 needs a hosted builder that signs for itself, level 3
one that is isolated from who starts it; neither can be said from inside a process that its user controls. What makes
up for that here is that the build is reproducible: anybody can repeat it from the same inputs and compare the digest.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

BUILDER: Final = "https://bedside.dev/builder/local/v1"
"""Who built: a process on somebody's machine, which its user controls."""

_TYPES: Final = "https://bedside.dev/build"
_LEVEL: Final = {
    "level": "SLSA_BUILD_LEVEL_1",
    "why": "Built by a process that its user controls: not hosted, not isolated, and signed by whoever has the key. "
    "The build is reproducible; repeat it from the resolved dependencies and compare the digest.",
}


@dataclass(frozen=True, slots=True)
class Material:
    """Something that went in.

    Attributes:
        name: What it is here: ``release``, ``base``, ``requirements.lock``.
        digest: ``sha256:...``; ``None`` where only its name and version are known.
        uri: Where it is had; empty where it has no address.
    """

    name: str
    digest: str | None = None
    uri: str = ""


def predicate(
    method: Literal["assembled", "dockerfile"],
    parameters: Mapping[str, Any],
    materials: Iterator[Material] | tuple[Material, ...],
    version: str,
) -> dict[str, Any]:
    """Return the predicate.

    Args:
        method: How it was built.
        parameters: What the user chose: the release, the base, the time that the image carries.
        materials: Everything that went in.
        version: Of bedside.
    """
    return {
        "buildDefinition": {
            "buildType": f"{_TYPES}/{method}/v1",
            "externalParameters": dict(parameters),
            "internalParameters": {"buildLevel": dict(_LEVEL)},
            "resolvedDependencies": [_descriptor(item) for item in materials],
        },
        "runDetails": {"builder": {"id": BUILDER, "version": {"bedside": version}}},
    }


def _descriptor(item: Material) -> dict[str, Any]:
    said: dict[str, Any] = {"name": item.name}
    if item.uri:
        said["uri"] = item.uri
    if item.digest is not None:
        algorithm, _, digits = item.digest.partition(":")
        said["digest"] = {algorithm: digits}
    return said

"""What a release may use while its image is proven: the limits that its pods get."""

import tomllib
from typing import Final

from bedside.errors import UsageError
from bedside.image.containment import Limits
from bedside.kube.plan import Place, Plan, cores
from bedside.release.reading import Release
from bedside.spec import load_deployment, quantity
from bedside.spec.deploy import DeploySection, ReplicasSection
from bedside.stages import manifests

UNMEASURED: Final = Limits(2 << 30, 1.0)
"""For a release that came without measurements.json."""


def of_release(release: Release) -> Limits:
    """Return memory and cores as [deploy] says them, else as manifests compute them from what packaging measured.

    Raises:
        SpecInvalid: The project's [deploy] is invalid.
    """
    if not (release.directory / manifests.MEASUREMENTS).is_file():
        return UNMEASURED
    place = Place("production", release.contract.name, None, ReplicasSection())
    plan = Plan(release.contract, release.digest, "", _settings(release), manifests.measured(release), place)
    return Limits(memory(plan.memory), cores(plan.cpu))


def _settings(release: Release) -> DeploySection:
    """Return the project's own [deploy]; a release outside of a project, or a project without it, has the defaults."""
    try:
        path = manifests.project_file(release)
    except UsageError:
        return DeploySection()
    written = "deploy" in tomllib.loads(path.read_text(encoding="utf-8"))
    return load_deployment(path).settings if written else DeploySection()


def memory(text: str) -> int:
    """Return bytes of a Kubernetes quantity, ``512Mi``.

    Raises:
        UsageError: It is none.
    """
    size = quantity.size(text)
    if size is None:
        raise UsageError(f"{text!r} is no amount of memory", remedy="Write 512Mi or 2Gi.")
    return size

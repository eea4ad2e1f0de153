"""`bedside deploy`: a verified release into a cluster, by its verified image, proven there; or the last good back."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bedside.errors import UsageError, VerificationFailed
from bedside.image import oci
from bedside.image.bases import Repositories
from bedside.image.plan import RELEASE_DIGEST
from bedside.image.pulling import choose
from bedside.image.reference import Reference
from bedside.image.registry import Repository
from bedside.kube.asking import Case, Expected
from bedside.kube.differences import Difference
from bedside.kube.plan import Environment, Plan
from bedside.kube.resources import service
from bedside.kube.tree import objects
from bedside.release.reading import Release, open_release
from bedside.stages.manifests import by_digest, plans
from bedside.stages.rollouts import SILENT, USUAL, Choices, Cluster, Order, Proven, Watch, look, roll_out
from bedside_runtime import canonical

PLATFORM_OS: Final = "linux"
_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class What:
    """What to deploy, as a person names it.

    Attributes:
        release: A release directory.
        image: Reference of the image by digest.
        environment: Which of those of ``[deploy]``.
        settings: The bedside.toml with ``[deploy]``; by default that of the project in whose dist/ the release lies.
    """

    release: Path
    image: str
    environment: Environment = "production"
    settings: Path | None = None


@dataclass(frozen=True, slots=True)
class Proofs:
    """How release and image are verified before anything leaves for the cluster.

    Attributes:
        release: Verifies the release; raises where it is not what was validated.
        repositories: Opens the repository of the image.
        trust: Demands signatures and statements of the image; nothing where no trust policy was given.
    """

    release: Callable[[Path], object]
    repositories: Repositories
    trust: Callable[[Reference, Repository], object] | None = None


def deploy(what: What, cluster: Cluster, proofs: Proofs, choices: Choices = USUAL, watch: Watch = SILENT) -> Proven:
    """Deploy, and return when every pod is proven.

    Args:
        what: Release, image, environment.
        cluster: Where.
        proofs: What is verified before.
        choices: How.
        watch: Told how it goes.

    Raises:
        UsageError, SpecInvalid, VerificationFailed: Before the cluster was asked anything.
        GateRefused, ClusterFailed: Before anything was applied.
        RolloutFailed, RolloutUnproven, AdmissionRefused: It was not proven; the message says what runs now.
    """
    # 1. Read and judge everything on this machine; verify the release.
    # 2. Verify the image in its registry: it is there by this digest, holds this release, and is trusted.
    # 3. Only then the cluster (see `rollouts.roll_out`).
    order = prepare(what, proofs, watch)  # 1, 2
    return roll_out(cluster, order, choices, watch)  # 3


def preview(
    what: What, cluster: Cluster, proofs: Proofs, choices: Choices = USUAL, watch: Watch = SILENT
) -> tuple[Difference, ...]:
    """Return what a deploy would change, as the API server judges it, and change nothing. Raises as `deploy`."""
    order = prepare(what, proofs, watch)
    return look(cluster, order, choices, watch)[1]


def prepare(what: What, proofs: Proofs, watch: Watch) -> Order:
    """Verify release and image, and return what is to run. Asks the registry, and no cluster."""
    watch.step("reading and judging the manifests")
    plan = _plan(what)
    watch.step("verifying the release")
    proofs.release(what.release)
    watch.step("verifying the image")
    reference = by_digest(what.image)
    with proofs.repositories(reference) as repository:
        check_image(reference, plan, repository)
        if proofs.trust is not None:
            watch.step("asking who signed it")
            proofs.trust(reference, repository)
    return Order(
        name=plan.name,
        namespace=plan.namespace,
        version=plan.contract.version,
        image=plan.image,
        objects=tuple(item.plain() for item in objects(plan)),
        expected=expected(open_release(what.release), plan.namespace),
    )


def check_image(reference: Reference, plan: Plan, repository: Repository) -> None:
    """Read the image's manifest and config from its registry, and compare the release that it says it holds.

    Raises:
        VerificationFailed: It holds another release, or does not say which.
        ImageInvalid, RegistryFailed: It is not there as its digest says.
    """
    machine = plan.contract.environment.machine
    platform = oci.Platform(architecture=_MACHINES.get(machine, machine), os=PLATFORM_OS)
    stored = choose(repository, reference, platform)
    manifest = oci.decode_manifest(stored.data, stored.descriptor.media_type)
    config = oci.decode_config(b"".join(repository.blob(manifest.config)))
    held = config.config.labels.get(RELEASE_DIGEST, "")
    if held.removeprefix("sha256:") != plan.digest:
        raise VerificationFailed(
            f"the image says that it holds release {held or 'none'}; sha256:{plan.digest} was asked for",
            remedy="Name the image that was built from this release; `bedside push` prints it.",
        )


def expected(release: Release, namespace: str) -> Expected:
    """Return what pods of ``release`` in ``namespace`` must answer, and the name that their certificates must hold."""
    contract = release.contract
    lines = (release.directory / contract.golden.path).read_bytes().splitlines()
    cases = tuple(_case(canonical.decode(line)) for line in lines if line.strip())
    name = service.host_name(contract.name, namespace) if contract.serve.tls is not None else ""
    return Expected(f"sha256:{release.digest}", contract.output, contract.golden.tolerance, cases, name)


def _case(value: dict[str, Any]) -> Case:
    return Case(value["id"], value["inputs"], value["expected"])


def _plan(what: What) -> Plan:
    found = {plan.place.environment: plan for plan in plans(what.release, what.image, what.settings)}
    if what.environment not in found:
        raise UsageError(
            f"[deploy] has no {what.environment}",
            remedy=f"Write [deploy.{what.environment}], or choose with --environment {' or '.join(found)}.",
        )
    return found[what.environment]

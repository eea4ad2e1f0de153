"""ServiceAccount. The model never calls the API server, so no token is mounted."""

from bedside.kube.objects import Part, Resource
from bedside.kube.plan import Plan


class LocalReference(Part, frozen=True, kw_only=True):
    """An object of the same namespace."""

    name: str


class ServiceAccount(Resource, frozen=True, kw_only=True):
    """Who the pods are."""

    api_version: str = "v1"
    kind: str = "ServiceAccount"
    automount_service_account_token: bool = False
    image_pull_secrets: tuple[LocalReference, ...] | None = None


def service_account(plan: Plan) -> ServiceAccount:
    """An account of its own: a right given to it is given to nothing else."""
    pull = plan.settings.secrets.pull
    return ServiceAccount(
        metadata=plan.metadata(), image_pull_secrets=(LocalReference(name=pull),) if pull is not None else None
    )

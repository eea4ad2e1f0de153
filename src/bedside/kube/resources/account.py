"""ServiceAccount. The model never calls the API server, so no token is mounted."""

from collections.abc import Iterator

import msgspec

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
    pull, metadata = plan.settings.secrets.pull, plan.metadata()
    if identity := dict(_identity(plan)):
        metadata = msgspec.structs.replace(metadata, annotations={**plan.annotations, **identity})
    return ServiceAccount(
        metadata=metadata, image_pull_secrets=(LocalReference(name=pull),) if pull is not None else None
    )


def _identity(plan: Plan) -> Iterator[tuple[str, str]]:
    """As whom the model is fetched: the annotations that the clouds' own webhooks read."""
    store = plan.settings.model_store
    if store is None or plan.model_scheme is None:
        return
    if plan.model_scheme == "s3" and store.aws_role is not None:
        yield "eks.amazonaws.com/role-arn", store.aws_role
    if plan.model_scheme == "gs" and store.google_account is not None:
        yield "iam.gke.io/gcp-service-account", store.google_account
    if plan.model_scheme == "az" and store.azure_client is not None:
        yield "azure.workload.identity/client-id", store.azure_client

"""A model that the image does not carry: what its init container is told, and what a pod says of itself. Pure."""

from collections.abc import Iterator, Mapping

from bedside.kube.plan import RELEASE, Plan

NAME = "fetch"
"""The init container."""

SERVER = "model"
"""The container that answers."""


def arguments(plan: Plan) -> tuple[str, ...]:
    """Return what the image's entry point is told: this release, and no other."""
    return ("fetch", RELEASE, "--digest", f"sha256:{plan.digest}")


def folder(plan: Plan) -> str:
    """Return where the model lies, in both containers: the contract's own place."""
    return f"{RELEASE}/{plan.contract.model.artifact.rpartition('/')[0]}"


def variables(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield where the storage is. Who asks comes from the cloud's webhook, as files and addresses."""
    store = plan.settings.model_store
    if store is None:
        return
    names = {
        "s3": {"AWS_REGION": store.region, "AWS_ENDPOINT_URL": store.endpoint},
        "gs": {"GOOGLE_BASE_URL": store.endpoint},
        "az": {"AZURE_STORAGE_ACCOUNT_NAME": store.account, "AZURE_STORAGE_ENDPOINT": store.endpoint},
    }
    for name, value in names.get(plan.model_scheme or "", {}).items():
        if value is not None:
            yield name, value


def labels(plan: Plan) -> Mapping[str, str]:
    """Return what a webhook looks for on a pod."""
    store = plan.settings.model_store
    azure = plan.model_scheme == "az" and store is not None and store.azure_client is not None
    return {"azure.workload.identity/use": "true"} if azure else {}


def annotations(plan: Plan) -> Mapping[str, str]:
    """Return which container gets no identity: the one that answers needs none."""
    skip = {"s3": "eks.amazonaws.com/skip-containers", "az": "azure.workload.identity/skip-containers"}
    name = skip.get(plan.model_scheme or "")
    return {name: SERVER} if name is not None else {}

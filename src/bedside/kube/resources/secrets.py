"""ExternalSecret: which keys the audit log needs, and the store that they come from. Names alone; never a value."""

from typing import Final

from bedside.kube.objects import Part, Resource
from bedside.kube.plan import Plan

_HMAC: Final = "audit-hmac.key"
_SIGNING: Final = "audit-signing.pem"
_RECIPIENT: Final = "audit-recipient.pem"
"""File names that the runtime reads."""


class StoreReference(Part, frozen=True, kw_only=True):
    """A store in the cluster."""

    kind: str
    name: str


class RemoteReference(Part, frozen=True, kw_only=True):
    """A value in the store."""

    key: str


class ExternalSecretData(Part, frozen=True, kw_only=True):
    """One key of the Secret."""

    secret_key: str
    remote_ref: RemoteReference


class ExternalSecretTarget(Part, frozen=True, kw_only=True):
    """The Secret that is made."""

    name: str
    creation_policy: str


class ExternalSecretSpec(Part, frozen=True, kw_only=True):
    """From where, how often, into what."""

    refresh_interval: str
    secret_store_ref: StoreReference
    target: ExternalSecretTarget
    data: tuple[ExternalSecretData, ...]


class ExternalSecret(Resource, frozen=True, kw_only=True):
    """External Secrets Operator, external-secrets.io/v1."""

    api_version: str = "external-secrets.io/v1"
    kind: str = "ExternalSecret"
    spec: ExternalSecretSpec


def audit_files(plan: Plan) -> tuple[str, ...]:
    """Names of the key files that the release's audit log reads."""
    audit = plan.contract.audit
    if audit is None:
        return ()
    payload = {"none": (), "hmac": (_HMAC,), "encrypted": (_RECIPIENT,)}[audit.payload]
    return (*payload, *((_SIGNING,) if audit.signed else ()))


def audit_keys(plan: Plan) -> str | None:
    """Name of the Secret with those files; ``None`` where the release needs no key."""
    if not audit_files(plan):
        return None
    return plan.settings.secrets.audit or f"{plan.name}-audit-keys"


def external_secret(plan: Plan) -> ExternalSecret | None:
    """The Secret from a store; ``None`` where none is named, or no key is needed."""
    store, name = plan.settings.secrets.store, audit_keys(plan)
    if store is None or name is None:
        return None
    return ExternalSecret(
        metadata=plan.metadata("-audit-keys"),
        spec=ExternalSecretSpec(
            refresh_interval=store.refresh,
            secret_store_ref=StoreReference(kind=store.kind, name=store.name),
            target=ExternalSecretTarget(name=name, creation_policy="Owner"),
            data=tuple(
                ExternalSecretData(secret_key=file, remote_ref=RemoteReference(key=f"{store.path}/{file}"))
                for file in audit_files(plan)
            ),
        ),
    )

"""Secrets: which key files a release needs, and the store that they come from. Names alone; never a value."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, assert_never

from bedside.kube.objects import Part, Resource
from bedside.kube.plan import Plan
from bedside.spec.deploy import StoreSection
from bedside_runtime.audit.mounted import HMAC_KEY, RECIPIENT, SIGNING_KEY
from bedside_runtime.contract import Contract

_API_KEYS: Final = "api-keys.txt"
_KEY_SET: Final = "jwks.json"
_KEY_SET_AUTHORITIES: Final = "jwks-ca.crt"
_CLIENTS: Final = ("client-ca.crt", "client-names.txt")
_TLS: Final = ("tls.crt", "tls.key")
"""File names that the runtime reads."""


class StoreReference(Part, frozen=True, kw_only=True):
    """A store in the cluster."""

    kind: str
    name: str


class RemoteReference(Part, frozen=True, kw_only=True):
    """A value in the store."""

    key: str
    property: str | None = None


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


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """Files that the release reads, and the Secret that they come from.

    Attributes:
        purpose: What they are for, part of names.
        folder: Where they are mounted.
        files: Their names.
        given: Name of the Secret, where the author gave one.
    """

    purpose: str
    folder: str
    files: tuple[str, ...]
    given: str | None

    def secret(self, plan: Plan) -> str:
        """Name of the Secret."""
        return self.given or f"{plan.name}-{self.purpose}-keys"


def key_files(plan: Plan) -> tuple[KeyFiles, ...]:
    """All files with keys that the release's settings ask for."""
    given = plan.settings.secrets
    possible = (
        KeyFiles("audit", "/run/secrets/bedside", tuple(_audit_files(plan.contract)), given.audit),
        KeyFiles("auth", "/run/secrets/bedside-auth", tuple(_auth_files(plan)), given.auth),
        KeyFiles("tls", "/run/secrets/bedside-tls", _TLS if plan.contract.serve.tls is not None else (), given.tls),
    )
    return tuple(item for item in possible if item.files)


def _audit_files(contract: Contract) -> Iterator[str]:
    audit = contract.audit
    if audit is None:
        return
    yield from {"none": (), "hmac": (HMAC_KEY,), "encrypted": (RECIPIENT,)}[audit.payload]
    if audit.signed:
        yield SIGNING_KEY


def _auth_files(plan: Plan) -> Iterator[str]:
    auth, issuer = plan.contract.serve.auth, plan.settings.issuer
    if "api-key" in auth.methods:
        yield _API_KEYS
    if "jwt" in auth.methods and auth.jwt is not None and auth.jwt.jwks is None:
        yield _KEY_SET
    if plan.fetches_keys and issuer is not None and issuer.own_ca:
        yield _KEY_SET_AUTHORITIES
    if "mtls" in auth.methods:
        yield from _CLIENTS


def external_secrets(plan: Plan) -> tuple[ExternalSecret, ...]:
    """The Secrets from a store; none where no store is named, or no key is needed."""
    store = plan.settings.secrets.store
    if store is None:
        return ()
    return tuple(_external_secret(plan, store, item) for item in key_files(plan))


def _external_secret(plan: Plan, store: StoreSection, item: KeyFiles) -> ExternalSecret:
    return ExternalSecret(
        metadata=plan.metadata(f"-{item.purpose}-keys"),
        spec=ExternalSecretSpec(
            refresh_interval=store.refresh,
            secret_store_ref=StoreReference(kind=store.kind, name=store.name),
            target=ExternalSecretTarget(name=item.secret(plan), creation_policy="Owner"),
            data=tuple(ExternalSecretData(secret_key=file, remote_ref=_reference(store, file)) for file in item.files),
        ),
    )


def _reference(store: StoreSection, file: str) -> RemoteReference:
    """Where ``file`` is in the store, under a name that its backend takes.

    Vault keeps several values under one path; a dot in the name of one would be read as a way into it. Google Secret
    Manager takes letters, digits, hyphens and underscores; Key Vault letters, digits and hyphens.
    """
    match store.backend:
        case "aws":
            return RemoteReference(key=f"{store.path}/{file}")
        case "vault":
            return RemoteReference(key=store.path, property=_hyphens(file))
        case "gcp" | "azure":
            return RemoteReference(key=_hyphens(f"{store.path}-{file}"))
        case _:
            assert_never(store.backend)


def _hyphens(name: str) -> str:
    return re.sub(r"[^0-9A-Za-z-]", "-", name)

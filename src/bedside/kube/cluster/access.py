"""How a cluster is reached, as frozen values: address, trust, and who asks. Nothing here shows a secret."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token that does not change."""

    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TokenFile:
    """A bearer token in a file that is written anew before it expires, as in a pod."""

    path: Path


@dataclass(frozen=True, slots=True)
class Plugin:
    """A program that gives credentials (client.authentication.k8s.io): `aws eks get-token`, `gke-gcloud-auth-plugin`.

    Attributes:
        command: Program and arguments.
        environment: Variables for it.
        version: ``client.authentication.k8s.io/v1`` or ``/v1beta1``.
        hint: What the kubeconfig says about getting the program.
        cluster: What it is told about the cluster, where it asks for that.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    version: str
    hint: str = ""
    cluster: Mapping[str, object] | None = None


Login: TypeAlias = Token | TokenFile | Plugin


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A certificate and its key, both PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Access:
    """One context of a kubeconfig, or the account of the pod that this runs in.

    Attributes:
        context: Its name, for people.
        server: ``https://host[:port][/path]``; ``http`` on this machine only.
        namespace: The one that the context names.
        authority: PEM certificates that may sign the server's; the system's where left out.
        server_name: The name that the server's certificate must hold, where it is not that of ``server``.
        proxy: Of the kubeconfig; where left out, the variables HTTPS_PROXY and NO_PROXY decide.
        login: Where a bearer token comes from.
        certificate: Who asks, by certificate.
        impersonate: Headers that ask to be taken for somebody else.
    """

    context: str
    server: str
    namespace: str | None = None
    authority: bytes | None = None
    server_name: str | None = None
    proxy: str | None = field(default=None, repr=False)
    login: Login | None = None
    certificate: ClientCertificate | None = None
    impersonate: tuple[tuple[str, str], ...] = ()

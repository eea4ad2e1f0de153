"""Kubeconfig files to an `Access`, as kubectl reads them: several files, contexts, plugins, certificates, proxies.

What kubectl would accept and is unsafe here is refused: a server whose certificate is not looked at, and clear text
to another machine. What kubectl itself no longer has (auth-provider, passwords) is refused as well.
"""

import base64
import binascii
import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from bedside.errors import KubeconfigInvalid
from bedside.kube.cluster.access import Access, ClientCertificate, Login, Plugin, Token, TokenFile

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds the token, certificate and namespace of its account."""

_PLUGINS: Final = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_IMPERSONATE: Final = {"as": "Impersonate-User", "as-uid": "Impersonate-Uid", "as-groups": "Impersonate-Group"}


@dataclass(frozen=True, slots=True)
class Document:
    """One kubeconfig: its folder, to which paths in it are relative, and what it says."""

    folder: Path
    content: Mapping[str, Any]


def files(environment: Mapping[str, str], home: Path) -> tuple[Path, ...]:
    """Return where kubeconfigs are: $KUBECONFIG, a list, or ~/.kube/config."""
    named = [Path(item) for item in environment.get("KUBECONFIG", "").split(":") if item]
    return tuple(named) or (home / ".kube" / "config",)


def read(paths: Sequence[Path]) -> tuple[Document, ...]:
    """Read those of ``paths`` that are there.

    Raises:
        KubeconfigInvalid: One is no kubeconfig or cannot be read.
    """
    return tuple(_read(path) for path in paths if path.exists())


def _read(path: Path) -> Document:
    try:
        value = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise KubeconfigInvalid(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise KubeconfigInvalid(f"{path} is no YAML") from None
    if value is not None and not isinstance(value, dict):
        raise KubeconfigInvalid(f"{path} is no kubeconfig")
    return Document(path.resolve().parent, value or {})


def access(documents: Sequence[Document], context: str | None, load: Callable[[Path], bytes]) -> Access:
    """Return how ``context``, or the current one, is reached.

    Args:
        documents: Kubeconfigs; what one says first counts.
        context: Name of a context.
        load: Reads a certificate or key.

    Raises:
        KubeconfigInvalid: There is no such context, or it cannot be used.
    """
    current = next(
        (str(item.content["current-context"]) for item in documents if item.content.get("current-context")), ""
    )
    name = context or current
    if not name:
        raise KubeconfigInvalid(
            "no cluster is chosen: there is no kubeconfig with a current context",
            remedy="Name one with --context, and its file with --kubeconfig or KUBECONFIG.",
        )
    _, chosen = _find(documents, "contexts", "context", name)
    where, cluster = _find(documents, "clusters", "cluster", str(chosen.get("cluster", "")))
    who, user = _find(documents, "users", "user", str(chosen["user"])) if chosen.get("user") else (where, {})
    server = _server(str(cluster.get("server", "")), cluster, name)
    return Access(
        context=name,
        server=server,
        namespace=chosen.get("namespace") or None,
        authority=_data(cluster, "certificate-authority", where, load),
        server_name=cluster.get("tls-server-name") or None,
        proxy=cluster.get("proxy-url") or None,
        login=_login(user, who, cluster, server, name),
        certificate=_certificate(user, who, load),
        impersonate=tuple(_impersonated(user)),
    )


def in_cluster(environment: Mapping[str, str], account: Path = ACCOUNT) -> Access | None:
    """Return how the pod that this runs in reaches its API server; ``None`` outside of a pod."""
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT")
    if not host or not port or not (account / "token").is_file():
        return None
    bracketed = f"[{host}]" if ":" in host else host
    return Access(
        context="the pod's own account",
        server=f"https://{bracketed}:{port}",
        namespace=(account / "namespace").read_text(encoding="utf-8").strip(),
        authority=(account / "ca.crt").read_bytes(),
        login=TokenFile(account / "token"),
    )


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine, whatever name services say."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _find(documents: Sequence[Document], section: str, kind: str, name: str) -> tuple[Document, Mapping[str, Any]]:
    names = []
    for document in documents:
        for item in document.content.get(section) or ():
            if isinstance(item, dict) and item.get("name") == name and isinstance(item.get(kind), dict):
                return document, item[kind]
            names.append(str(item.get("name", "")) if isinstance(item, dict) else "")
    known = f"; there are {', '.join(sorted(filter(None, names)))}" if any(names) else ""
    raise KubeconfigInvalid(f"the kubeconfig has no {kind} {name!r}{known}")


def _server(server: str, cluster: Mapping[str, Any], context: str) -> str:
    parts = urlsplit(server)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise KubeconfigInvalid(f"the server of {context} is no address: {server[:100]!r}")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise KubeconfigInvalid(
            f"{context} would be reached without TLS, so anyone on the way could change what is deployed",
            remedy="Write an https address with its certificate-authority; http is for `kubectl proxy` here.",
        )
    if cluster.get("insecure-skip-tls-verify"):
        raise KubeconfigInvalid(
            f"{context} says insecure-skip-tls-verify, so any machine on the way could be the cluster",
            remedy="Put its authority in certificate-authority-data, and its name in tls-server-name.",
        )
    return server.rstrip("/")


def _data(values: Mapping[str, Any], key: str, document: Document, load: Callable[[Path], bytes]) -> bytes | None:
    """What ``<key>-data`` holds in base64, or the file that ``key`` names."""
    inline, path = values.get(f"{key}-data"), values.get(key)
    if inline:
        try:
            return base64.b64decode("".join(str(inline).split()), validate=True)
        except (binascii.Error, ValueError):
            raise KubeconfigInvalid(f"{key}-data is no base64") from None
    if not path:
        return None
    place = document.folder / str(path)
    try:
        return load(place)
    except OSError as error:
        raise KubeconfigInvalid(f"{key} {place} cannot be read: {error.strerror}") from None


def _certificate(
    user: Mapping[str, Any], document: Document, load: Callable[[Path], bytes]
) -> ClientCertificate | None:
    certificate, key = (_data(user, name, document, load) for name in ("client-certificate", "client-key"))
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise KubeconfigInvalid("a client certificate needs both client-certificate and client-key")
    return ClientCertificate(certificate, key)


def _login(
    user: Mapping[str, Any], document: Document, cluster: Mapping[str, Any], server: str, context: str
) -> Login | None:
    if user.get("exec"):
        return _plugin(user["exec"], document, cluster, server, context)
    if user.get("tokenFile"):
        return TokenFile(document.folder / str(user["tokenFile"]))
    if user.get("token"):
        return Token(str(user["token"]))
    for old in ("auth-provider", "username"):
        if user.get(old):
            raise KubeconfigInvalid(
                f"{context} logs in with {old}, which Kubernetes no longer has",
                remedy="Let your cloud's tool write the kubeconfig again: it will name a plugin under exec.",
            )
    return None


def _plugin(
    said: Mapping[str, Any], document: Document, cluster: Mapping[str, Any], server: str, context: str
) -> Plugin:
    version, command = str(said.get("apiVersion", "")), str(said.get("command", ""))
    if version not in _PLUGINS or not command:
        raise KubeconfigInvalid(f"{context} names a plugin of {version!r}; {' and '.join(_PLUGINS)} are known")
    if said.get("interactiveMode") == "Always":
        raise KubeconfigInvalid(
            f"the plugin {command} of {context} asks questions, and nobody may be there to answer",
            remedy="Log in with it first, and use a context whose plugin does without.",
        )
    if "/" in command:
        command = str(document.folder / command)
    told = {key: value for key, value in cluster.items() if key != "extensions"} | {"server": server}
    return Plugin(
        command=(command, *(str(item) for item in said.get("args") or ())),
        environment={str(item["name"]): str(item["value"]) for item in said.get("env") or ()},
        version=version,
        hint=str(said.get("installHint", "")),
        cluster=told if said.get("provideClusterInfo") else None,
    )


def _impersonated(user: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, header in _IMPERSONATE.items():
        value = user.get(key)
        for item in value if isinstance(value, list) else [value] if value else []:
            yield header, str(item)
    for key, values in (user.get("as-user-extra") or {}).items():
        for item in values:
            yield f"Impersonate-Extra-{key}", str(item)

"""Credentials in clear, where everybody who reads the repository reads them."""

import re
from collections.abc import Iterator

from bedside.policy.kubernetes import place
from bedside.policy.picture import Picture
from bedside.policy.place import Hit

SECRET_NAME = re.compile(
    r"(?i)(?<!cluster_)(?<!discovery_)(password|passwd|secret|token|api_?key|private_?key|credential|access_?key)(?!.*(file|path|name|url|ttl|lifetime|expir|algorithm|type|enabled))"
)

_CREDENTIAL_KEYS = ("tls.key", "key", ".dockerconfigjson", ".dockercfg", "id_rsa", "ssh-privatekey")
_CREDENTIAL_TYPES = ("kubernetes.io/basic-auth", "kubernetes.io/ssh-auth", "kubernetes.io/dockerconfigjson")


def secret_values(picture: Picture) -> Iterator[Hit]:
    """A credential in clear in a manifest is in the repository, in its history and in every describe."""
    for pod in picture.pods:
        for container in pod.all_containers:
            for name, entry in container.environment.items():
                if SECRET_NAME.search(name) and is_value(entry.at("value").text):
                    yield Hit(place(entry), f"{container.title} gets {name} in clear")
    for item in picture.of("ConfigMap"):
        for key, node in item.node.at("data").pairs():
            if SECRET_NAME.search(key) and is_value(node.text):
                yield Hit(place(node), f"{item.title} holds {key} in clear")


def is_value(text: str) -> bool:
    """Whether a text may be a credential: no path, address, reference, switch or whole file."""
    elsewhere = text.startswith(("$", "/", "http")) or ("\n" in text and "PRIVATE KEY" not in text)
    switch = text.lower() in ("true", "false", "none", "0", "1", "yes", "no")
    return bool(text) and not (elsewhere or switch or is_placeholder(text))


def is_placeholder(text: str) -> bool:
    """Whether a text says that something else belongs there: in brackets, by its words, or as a name in capitals."""
    return (
        re.search(r"[<{$]|(?i:change|replace|example|placeholder)", text) is not None
        or re.fullmatch(r"[A-Z]+(_[A-Z]+)+", text) is not None
    )


def secret_objects(picture: Picture) -> Iterator[Hit]:
    """base64 is not encryption: a Secret with its values among the manifests is a credential in the repository."""
    for item in picture.of("Secret"):
        for field in ("data", "stringData"):
            for key, node in item.node.at(field).pairs():
                credential = (
                    SECRET_NAME.search(key) or key in _CREDENTIAL_KEYS or item.node.at("type").text in _CREDENTIAL_TYPES
                )
                if credential and node.text and not is_placeholder(node.text):
                    yield Hit(place(node), f"{item.title} carries the value of {key}")

"""ConfigMap, and the one with the public key of those who release."""

import hashlib
from collections.abc import Mapping
from typing import Final

from bedside.kube.objects import Resource
from bedside.kube.plan import Plan

RELEASE_KEY_FILE: Final = "release.pub"


class ConfigMap(Resource, frozen=True, kw_only=True):
    """Text in the cluster."""

    api_version: str = "v1"
    kind: str = "ConfigMap"
    data: Mapping[str, str]


def release_key(plan: Plan, key: str) -> ConfigMap:
    """The key that contract.sig must be signed with. Its name follows its text, so that another key is another pod."""
    return ConfigMap(metadata=plan.metadata(release_key_suffix(key)), data={RELEASE_KEY_FILE: key})


def release_key_suffix(key: str) -> str:
    """Return the end of its name."""
    return f"-release-key-{hashlib.sha256(key.encode()).hexdigest()[:8]}"

"""What makes sense in a ``[deploy]`` whose shape is right. Pure."""

import ipaddress
import re
from collections.abc import Iterator
from typing import Final

from bedside.spec import quantity
from bedside.spec.deploy import DeploySection, PlaceSection, ReplicasSection
from bedside.spec.rules import Problem

_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_NUMERIC: Final = re.compile(r"[0-9.]+")
_LONGEST_HOST: Final = 253
_LONGEST_NAMESPACE: Final = 63
_STAGING: Final = "-staging"


def deploy(section: DeploySection, model: str) -> Iterator[Problem]:
    """Check the whole section; ``model`` is the model's name, the default of the namespace."""
    yield from _entry(section)
    yield from _replicas("deploy.replicas", section.replicas)
    yield from _quantities(section)
    yield from _names(section)
    yield from _audit(section)
    yield from _place("deploy.issuer", section.issuer)
    yield from _place("deploy.tracing", section.tracing)
    yield from _place("deploy.model_store", section.model_store)
    yield from _staging(section, section.namespace or model)


def _entry(section: DeploySection) -> Iterator[Problem]:
    if section.exposure == "none":
        if section.host is not None:
            yield Problem(
                "BED-SPEC-060", "deploy.host", "nothing is exposed, so no host leads here", "Remove host, or exposure."
            )
        return
    if section.host is None:
        yield Problem(
            "BED-SPEC-060",
            "deploy",
            f"exposure is {section.exposure!r} and there is no host",
            'Set host to the DNS name of the predictions; or write exposure = "none".',
        )
    else:
        yield from _host("deploy.host", section.host)
    if getattr(section, section.exposure) is None:
        yield Problem(
            "BED-SPEC-061",
            "deploy",
            f"exposure is {section.exposure!r} and [deploy.{section.exposure}] is missing",
            f"Add [deploy.{section.exposure}]: its name, its namespace.",
        )


def _host(path: str, host: str) -> Iterator[Problem]:
    labels = host.split(".")
    good = len(host) <= _LONGEST_HOST and len(labels) > 1 and all(map(_LABEL.fullmatch, labels))
    if not good or _NUMERIC.fullmatch(host):
        yield Problem(
            "BED-SPEC-062",
            path,
            f"{host[:80]!r} is no host",
            "Write a DNS name alone: icu.example.org; lowercase, no scheme, port, path, wildcard or address.",
        )


def _replicas(path: str, replicas: ReplicasSection) -> Iterator[Problem]:
    if replicas.min < 2 and not replicas.below_two_because.strip():
        yield Problem(
            "BED-SPEC-063",
            f"{path}.min",
            "one pod answers nobody while its node is drained or the model is loading",
            "Set min to 2 or more; or say in below_two_because why one is enough.",
        )
    if replicas.max < replicas.min:
        yield Problem("BED-SPEC-063", f"{path}.max", "max is below min", "Raise max, or lower min.")


def _quantities(section: DeploySection) -> Iterator[Problem]:
    cpu = section.resources.cpu
    if cpu is not None and quantity.cores(cpu) is None:
        yield Problem("BED-SPEC-064", "deploy.resources.cpu", f"{cpu[:40]!r} is no number of cores", "Write 500m or 2.")
    sizes = {
        "deploy.resources.memory": section.resources.memory,
        "deploy.audit_volume.size": section.audit_volume.size,
    }
    for path, text in sizes.items():
        if text is not None and quantity.size(text) is None:
            yield Problem("BED-SPEC-064", path, f"{text[:40]!r} is no amount of bytes", "Write 512Mi or 1Gi.")


def _names(section: DeploySection) -> Iterator[Problem]:
    gateway, ingress, secrets = section.gateway, section.ingress, section.secrets
    given = {
        "deploy.namespace": section.namespace,
        "deploy.monitoring.namespace": section.monitoring.namespace,
        "deploy.priority_class": section.priority_class,
        "deploy.secrets.audit": secrets.audit,
        "deploy.secrets.auth": secrets.auth,
        "deploy.secrets.tls": secrets.tls,
        "deploy.secrets.pull": secrets.pull,
        "deploy.secrets.store.name": secrets.store.name if secrets.store else None,
        "deploy.gateway.name": gateway.name if gateway else None,
        "deploy.gateway.namespace": gateway.namespace if gateway else None,
        "deploy.gateway.listener": gateway.listener if gateway else None,
        "deploy.gateway.backend_ca": gateway.backend_ca if gateway else None,
        "deploy.issuer.namespace": section.issuer.namespace if section.issuer else None,
        "deploy.tracing.namespace": section.tracing.namespace if section.tracing else None,
        "deploy.model_store.namespace": section.model_store.namespace if section.model_store else None,
        "deploy.ingress.class": ingress.class_name if ingress else None,
        "deploy.ingress.namespace": ingress.namespace if ingress else None,
        "deploy.ingress.tls_secret": ingress.tls_secret if ingress else None,
        "deploy.audit_volume.storage_class": section.audit_volume.storage_class,
        **{f"deploy.callers[{index}]": name for index, name in enumerate(section.callers)},
    }
    for path, name in given.items():
        if name is not None and not _LABEL.fullmatch(name):
            yield Problem(
                "BED-SPEC-065",
                path,
                f"{name[:80]!r} is no name of an object",
                "Use at most 63 lowercase letters, digits and hyphens, with a letter or digit at both ends.",
            )


def _audit(section: DeploySection) -> Iterator[Problem]:
    volume = section.audit_volume
    if volume.kind == "claim" and volume.access != "ReadWriteMany" and section.replicas.max > 1:
        yield Problem(
            "BED-SPEC-066",
            "deploy.audit_volume.access",
            f"a {volume.access} claim can be mounted on one node, and there may be {section.replicas.max} pods",
            'Use a StorageClass with ReadWriteMany; or kind = "scratch", where checkpoints alone outlive a pod.',
        )


def _place(path: str, place: PlaceSection | None) -> Iterator[Problem]:
    if place is None:
        return
    if place.namespace is None and not place.cidrs:
        yield Problem("BED-SPEC-068", path, "it says of no place", "Add namespace, or cidrs.")
    for index, cidr in enumerate(place.cidrs):
        try:
            narrow = ipaddress.ip_network(cidr).prefixlen > 0
        except ValueError:
            narrow = False
        if not narrow:
            yield Problem(
                "BED-SPEC-068",
                f"{path}.cidrs[{index}]",
                f"{cidr[:80]!r} is no range of addresses, or all of them",
                "Write an address and the length of its prefix, 203.0.113.0/28.",
            )


def _staging(section: DeploySection, production: str) -> Iterator[Problem]:
    staging = section.staging
    if staging is None:
        return
    namespace = staging.namespace or f"{production}{_STAGING}"
    if not _LABEL.fullmatch(namespace):
        yield Problem(
            "BED-SPEC-065",
            "deploy.staging.namespace",
            f"{namespace[:80]!r} is no name of an object",
            f"Name a namespace of at most {_LONGEST_NAMESPACE} lowercase letters, digits and hyphens.",
        )
    if namespace == production:
        yield Problem(
            "BED-SPEC-067",
            "deploy.staging.namespace",
            "staging and production would be one namespace",
            "Give staging a namespace of its own.",
        )
    if staging.replicas is not None:
        yield from _replicas("deploy.staging.replicas", staging.replicas)
    if section.exposure == "none":
        return
    if staging.host is None or staging.host == section.host:
        yield Problem(
            "BED-SPEC-067", "deploy.staging.host", "staging has no host of its own", "Name another host for staging."
        )
    else:
        yield from _host("deploy.staging.host", staging.host)

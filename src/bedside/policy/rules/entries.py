"""What an entry point lets its author do to the proxy, and to addresses that are not its own."""

from collections.abc import Iterator

from bedside.policy.kubernetes import place
from bedside.policy.picture import Picture
from bedside.policy.place import Hit
from bedside.policy.rules.workloads import loads_model

_OF_THE_CLUSTER = frozenset(("kube-system", "kube-public", "kube-node-lease"))


def snippets(picture: Picture) -> Iterator[Hit]:
    """Whoever may write the Ingress writes into the proxy, which can read every certificate that it serves."""
    for item in picture.of("Ingress"):
        for key, node in item.annotations.pairs():
            if key.endswith(("-snippet", "-snippets")) and node.text.strip():
                yield Hit(place(node), f"{item.title} writes into the proxy's configuration with {key}")


def external_addresses(picture: Picture) -> Iterator[Hit]:
    """A Service takes what the cluster sends to any address that it lists, another's too (CVE-2020-8554)."""
    for service in picture.of("Service"):
        taken = service.spec.at("externalIPs")
        if taken.items():
            listed = ", ".join(item.text for item in taken.items())
            yield Hit(place(taken), f"{service.title} takes all that the cluster sends to {listed}")


def among_the_clusters_own(picture: Picture) -> Iterator[Hit]:
    """Policies leave the cluster's own namespaces out, and who may read there may read what runs the cluster."""
    for pod in picture.serving:
        node = pod.owner.node.at("metadata", "namespace")
        if pod.owner.namespace in _OF_THE_CLUSTER and any(loads_model(picture, item) for item in pod.containers):
            where = place(node) if node else pod.owner.place
            yield Hit(where, f"{pod.owner.title} runs in {pod.owner.namespace}, which is the cluster's own")

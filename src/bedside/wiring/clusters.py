"""Which cluster the verbs talk to, and as whom."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bedside.errors import KubeconfigInvalid
from bedside.kube.clock import Clock
from bedside.kube.cluster import kubeconfig as kubeconfigs
from bedside.kube.cluster.credentials import Wallet
from bedside.kube.cluster.session import Session
from bedside.process import Subprocess
from bedside.stages.rollouts import Cluster


@contextmanager
def cluster(
    *,
    kubeconfig: Path | None = None,
    context: str | None = None,
    on_wait: Callable[[str], None] = lambda _: None,
) -> Iterator[Cluster]:
    """Give the cluster that a kubeconfig's context leads to; without one, in a pod, the pod's own.

    Args:
        kubeconfig: The file; by default those of KUBECONFIG, or ~/.kube/config.
        context: Its context; the current one where left out.
        on_wait: Told why and how long, where the API server is asked again.

    Raises:
        KubeconfigInvalid: None leads to a cluster.
    """
    if kubeconfig is not None and not kubeconfig.is_file():
        raise KubeconfigInvalid(f"{kubeconfig} is no file")
    paths = (kubeconfig,) if kubeconfig is not None else kubeconfigs.files(os.environ, Path.home())
    documents = kubeconfigs.read(paths)
    inside = kubeconfigs.in_cluster(os.environ) if not documents and context is None else None
    access = inside or kubeconfigs.access(documents, context, Path.read_bytes)
    with Session(access, Wallet(access, Subprocess()), on_wait=on_wait) as session:
        yield Cluster(session, Clock())

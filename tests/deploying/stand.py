"""Everything that `bedside deploy` meets, as it meets it: a project, a registry, a cluster, a kubeconfig."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.image import simulated_registry
from tests.image.simulated_registry import Registry, sha256
from tests.kube import projects
from tests.simulated_cluster import pods
from tests.simulated_cluster import server as simulated_cluster

from bedside.image import oci
from bedside.image.oci import Descriptor, Execution, ImageConfig, Manifest, RootFS
from bedside.image.plan import RELEASE_DIGEST
from bedside.image.reference import Digest
from bedside.release.reading import open_release
from bedside.stages.deploy import expected

DEPLOY = """
[deploy]
namespace = "icu"
exposure = "none"

[deploy.monitoring]
enabled = false
"""


@dataclass
class Stand:
    directory: Path
    registry: Registry
    cluster: simulated_cluster.Cluster

    @property
    def kubeconfig(self) -> Path:
        path = self.directory / "kubeconfig"
        document = {
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [{"name": "test", "cluster": {"server": self.cluster.url}}],
            "users": [{"name": "test", "user": {"token": "a-token"}}],
        }
        path.write_text(json.dumps(document))
        return path

    def release(self, version: str, deploy: str = DEPLOY, **changes: Any) -> Path:
        """A release of the model, and what its pods will answer."""
        root = self.directory / version
        release = projects.make(root, deploy, version=version, audit=None, **changes)
        due = expected(open_release(release), "icu")
        answers: Any = {pods.key(case.inputs): (case.expected, due.output.band(case.expected)) for case in due.cases}
        self.cluster.releases[due.digest] = pods.Release(due.digest, version, answers)
        return release

    def push(self, release: Path, label: str | None = None) -> str:
        """An image that says that it holds ``release``, or ``label``; its reference by digest."""
        digest = f"sha256:{open_release(release).digest}"
        labels = {RELEASE_DIGEST: label if label is not None else digest}
        config = ImageConfig(
            architecture="amd64", os="linux", config=Execution(labels=labels), rootfs=RootFS(diff_ids=())
        )
        held = self.registry.repository("icu/test")
        data = oci.encode(config)
        held.blobs[sha256(data)] = data
        described = Descriptor(media_type=oci.CONFIG, digest=Digest(sha256(data)), size=len(data))
        manifest = oci.encode(Manifest(media_type=oci.MANIFEST, config=described, layers=()))
        held.manifests[sha256(manifest)] = (oci.MANIFEST, manifest)
        return f"{self.registry.host}/icu/test@{sha256(manifest)}"

    def arguments(self, release: Path, image: str, *more: str) -> list[str]:
        given = ["deploy", str(release), "--image", image, "--plain-http", "--digests-only"]
        return [*given, "--kubeconfig", str(self.kubeconfig), *more]

    def written(self) -> list[tuple[str, str, str]]:
        """What was stored in the cluster by a request."""
        return [
            item
            for item in self.cluster.seen
            if item[0] in ("PUT", "PATCH", "DELETE", "POST") and "dryRun" not in item[2] and "reviews" not in item[1]
        ]


@contextmanager
def standing(directory: Path, speed: float = 50.0) -> Iterator[Stand]:
    with simulated_registry.running() as registry, simulated_cluster.running(speed) as cluster:
        yield Stand(directory, registry, cluster)

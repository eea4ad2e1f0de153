"""Sections 8, 9, 10 and 12 of the tutorial, typed: an image is built, proven, run, signed, pushed, verified, deployed.

The registry is one of this machine, with TLS and a password; it has a stand-in for the distroless base and a small
database of vulnerabilities. The cluster is simulated. Left out is what other tests do at length: a build by an engine,
one that is compared with a second one, a model in object storage, a rollback.
"""

import json
import os
import shutil
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.built import LINUX
from tests.provenance import advisories
from tests.real_registry.server import PROGRAM, Server, running
from tests.simulated_cluster import pods
from tests.simulated_cluster import server as simulated_cluster
from tests.stages.test_advisories import artifact
from tests.tutorial.reading import Block, blocks
from tests.tutorial.test_tutorial import free_ports, to_a_release
from tests.tutorial.walking import Walk

from bedside.image import bases
from bedside.image import layout as layouts
from bedside.image.layout import Layout
from bedside.image.oci import Descriptor
from bedside.image.reference import Reference
from bedside.release.reading import open_release
from bedside.stages.deploy import expected
from bedside.stages.push import push
from bedside.wiring import builder

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]
BASE = "distroless/python3-debian12"
LEFT_OUT = (
    *("--check\n", "--engine podman", "bedside fetch", "verify /tmp/icu/dist/icu-1.0.0.oci"),
    *("kubectl kustomize", "bedside rollback"),
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    if PROGRAM is None:
        pytest.skip("docker-registry is not installed")
    with running(tmp_path / "registry") as started:
        yield started


def filled(server: Server, distroless: Path, directory: Path) -> str:
    """Push the base and the database of vulnerabilities; the digest of the base."""
    kept = layouts.create(directory / "bases")
    found = bases.find(str(distroless), LINUX, "3.11", kept, builder().repositories)
    base = next(item for item in kept.index().manifests if item.digest == found.base.digest)
    _push(server, kept, base, Reference(server.host, BASE, "nonroot"))
    written = advisories.write(directory / "db", datetime.now(UTC))
    mirror = layouts.create(directory / "mirror")
    made = artifact(mirror, {path.name: path.read_bytes() for path in written.iterdir()})
    _push(server, mirror, made, Reference(server.host, "trivy-db", "2"))
    return str(base.digest)


def _push(server: Server, layout: Layout, image: Descriptor, reference: Reference) -> None:
    with server.repository(reference.repository) as repository:
        push(layout, image, reference, repository)


def believed(server: Server, path: Path) -> Path:
    """The system's certificates and the registry's, as a machine has them that knows its hospital's authority."""
    system = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    path.write_text((Path(system).read_text() if system else "") + "\n" + server.ca_file.read_text())
    return path


def typed(section: int) -> list[Block]:
    chosen = [block for block in blocks() if block.section == section and block.kind in ("sh", "text")]
    return [block for block in chosen if not any(part in block.text for part in LEFT_OUT)]


@pytest.fixture
def cluster() -> Iterator[simulated_cluster.Cluster]:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    with simulated_cluster.running() as started:
        yield started


def kubeconfig(cluster: simulated_cluster.Cluster, path: Path) -> Path:
    document = {
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": {"server": cluster.url}}],
        "users": [{"name": "test", "user": {"token": "a-token"}}],
    }
    path.write_text(json.dumps(document))
    return path


def runs(cluster: simulated_cluster.Cluster, release: Path, key: Path) -> None:
    """Pods of ``release`` answer as it does, and only whoever shows the key."""
    due = expected(open_release(release), "icu")
    answers = {pods.key(case.inputs): (case.expected, due.output.band(case.expected)) for case in due.cases}
    cluster.releases[due.digest] = pods.Release(due.digest, "1.0.0", answers)
    cluster.faults.credential = key.read_text().strip()


def made_by_kubectl(cluster: simulated_cluster.Cluster) -> tuple[tuple[str, str], ...]:
    """kubectl makes the object and curl brings it: this cluster does not speak kubectl's own encoding."""
    brought = "curl -sSf -o /dev/null -H content-type:application/json --data-binary @- "
    made = f"--dry-run=client -o json | {brought}{cluster.url}/api/v1/namespaces"
    return (
        ("kubectl create namespace icu", f"kubectl create namespace icu {made}"),
        ("api-keys.txt\n", f"api-keys.txt {made}/icu/secrets\n"),
    )


def test_a_release_comes_to_a_registry_and_into_a_cluster_as_it_stands(
    server: Server, cluster: simulated_cluster.Cluster, distroless: Path, podman: str, tmp_path: Path
) -> None:
    digest = filled(server, distroless, tmp_path)
    port, admin = free_ports()
    variables = {
        "SSL_CERT_FILE": str(believed(server, tmp_path / "certificates.pem")),
        "REGISTRY_AUTH_FILE": str(server.auth_file(tmp_path / "auth.json")),
        "COSIGN_PASSWORD": "word",
        "KUBECONFIG": str(kubeconfig(cluster, tmp_path / "kubeconfig")),
    }
    walk = Walk(
        tmp_path,
        (
            *made_by_kubectl(cluster),
            (f"gcr.io/{BASE}@sha256:...", f"{server.host}/{BASE}@{digest}"),
            (f"gcr.io/{BASE}", f"{server.host}/{BASE}"),
            ("registry.example.org", server.host),
            ("--local &", f"--local --port {port} --admin-port {admin} &"),
            ("127.0.0.1:8080", f"127.0.0.1:{port}"),
            ("podman run", f"{podman} run"),
            ("-aes256", "-aes256 -pass env:COSIGN_PASSWORD"),
            ("pkey -in", "pkey -passin env:COSIGN_PASSWORD -in"),
        ),
        variables,
    )
    to_a_release(walk, (2, 3, 4))
    patient = next(block for block in blocks() if "/tmp/patient.json" in block.text)
    asked = Block(6, "sh", patient.text.splitlines(keepends=True)[0])
    walk.type([asked, *typed(8), *typed(9), *typed(10)])
    keys, *deployed = typed(12)
    walk.type([keys])
    runs(cluster, tmp_path / "icu" / "dist" / "icu-1.0.0", tmp_path / "icu" / "deployer.key")
    image = layouts.open_layout(tmp_path / "icu" / "dist" / "icu-1.0.0.oci").find("icu:1.0.0")
    variables["IMAGE"] = f"{server.host}/icu/mortality@{image.digest}"
    walk.type(deployed)

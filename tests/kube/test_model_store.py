"""A model that lies in object storage, and the key that releases are signed with: what the pods get of both."""

import importlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from tests.kube import projects
from tests.kube.test_tree import _plain

from bedside.cli.main import run
from bedside.errors import UsageError
from bedside.kube.tree import objects
from bedside.stages.manifests import manifests, plans
from bedside_runtime.errors import SignatureInvalid, SignatureKeyInvalid

IDENTITIES = {
    "s3": (projects.S3, {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/icu-models"}),
    "gs": (projects.GCS, {"iam.gke.io/gcp-service-account": "icu-models@hospital.iam.gserviceaccount.com"}),
    "az": (projects.BLOB, {"azure.workload.identity/client-id": "11111111-2222-3333-4444-555555555555"}),
}


def made(tmp_path: Path, scheme: str) -> dict[str, Any]:
    source = f"{scheme}://models/icu/m.joblib"
    release = projects.make(tmp_path / "project", projects.GATEWAY + IDENTITIES[scheme][0], source=source)
    return {item.title: _plain(item) for item in objects(plans(release, projects.IMAGE)[0])}


def pod(found: dict[str, Any]) -> Any:
    return found["Deployment icu-test"]["spec"]["template"]


@pytest.mark.parametrize("scheme", IDENTITIES)
def test_an_init_container_of_the_same_image_fetches_what_the_server_may_only_read(tmp_path: Path, scheme: str) -> None:
    spec = pod(made(tmp_path, scheme))["spec"]
    (fetch,), (server,) = spec["initContainers"], spec["containers"]
    digest = plans(next((tmp_path / "project" / "dist").iterdir()), projects.IMAGE)[0].digest
    assert fetch["image"] == server["image"] == projects.IMAGE
    assert fetch["args"] == ["fetch", "/opt/bedside/release", "--digest", f"sha256:{digest}"]
    assert fetch["securityContext"] == server["securityContext"]
    mounts = [{item["name"]: item for item in container["volumeMounts"]} for container in (fetch, server)]
    assert mounts[0]["model"] == {"name": "model", "mountPath": "/opt/bedside/release/model"}
    assert mounts[1]["model"] == {"name": "model", "mountPath": "/opt/bedside/release/model", "readOnly": True}
    (volume,) = (item for item in spec["volumes"] if item["name"] == "model")
    assert volume["emptyDir"] == {"sizeLimit": "128Mi"}
    assert fetch["resources"]["requests"]["ephemeral-storage"] == "128Mi"
    assert set(mounts[0]) == {"tmp", "model"}


@pytest.mark.parametrize("scheme", IDENTITIES)
def test_who_asks_is_the_service_account_and_no_key_stands_anywhere(tmp_path: Path, scheme: str) -> None:
    found = made(tmp_path, scheme)
    annotations = found["ServiceAccount icu-test"]["metadata"]["annotations"]
    assert {name: annotations[name] for name in IDENTITIES[scheme][1]} == IDENTITIES[scheme][1]
    assert found["ServiceAccount icu-test"]["automountServiceAccountToken"] is False
    template = pod(found)
    names = {item["name"] for item in template["spec"]["initContainers"][0].get("env", [])}
    assert names <= {"AWS_REGION", "AZURE_STORAGE_ACCOUNT_NAME"}
    skipped = {
        name: value for name, value in template["metadata"]["annotations"].items() if name.endswith("skip-containers")
    }
    assert (
        skipped
        == {
            "s3": {"eks.amazonaws.com/skip-containers": "model"},
            "gs": {},
            "az": {"azure.workload.identity/skip-containers": "model"},
        }[scheme]
    )
    assert ("azure.workload.identity/use" in template["metadata"]["labels"]) == (scheme == "az")


@pytest.mark.parametrize(("scheme", "ports"), [("s3", [443, 80]), ("gs", [443, 80, 988]), ("az", [443])])
def test_the_way_out_leads_to_the_storage_and_to_who_gives_identities(
    tmp_path: Path, scheme: str, ports: list[int]
) -> None:
    *rules, names = made(tmp_path, scheme)["NetworkPolicy icu-test-allow-outside"]["spec"]["egress"]
    assert [rule["ports"][0]["port"] for rule in rules] == ports
    assert rules[0]["to"] == [{"ipBlock": {"cidr": "203.0.113.0/28"}}]
    assert all(rule["to"][0]["ipBlock"]["cidr"].startswith("169.254.") for rule in rules[1:])
    assert {port["port"] for port in names["ports"]} == {53}


def test_the_yaml_says_from_what_the_volume_and_the_deadline_are_computed(tmp_path: Path) -> None:
    release = projects.make(tmp_path / "project", projects.GATEWAY + projects.S3, source="s3://models/icu/m.joblib")
    written = manifests(release, projects.IMAGE, tmp_path / "k8s")
    text = (written.directory / "base" / "deployment.yaml").read_text()
    assert "the model file has 5 bytes; in steps of 64 MiB" in text
    assert "1 s to fetch from object storage at 20 MiB a second" in text


def test_a_release_that_carries_its_model_fetches_nothing(tmp_path: Path) -> None:
    release = projects.make(tmp_path / "project", projects.GATEWAY + projects.S3)
    found = {item.title: _plain(item) for item in objects(plans(release, projects.IMAGE)[0])}
    assert "initContainers" not in pod(found)["spec"]
    assert "NetworkPolicy icu-test-allow-outside" not in found
    assert not any("eks" in name for name in found["ServiceAccount icu-test"]["metadata"]["annotations"])


# -- the key that releases are signed with

KEYED = projects.GATEWAY.replace("[deploy]\n", '[deploy]\nrelease_key = "release.pub"\n', 1)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    private = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "release.key").write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "release.pub").write_bytes(public)
    return tmp_path / "release.key"


def signing(tmp_path: Path, *, library: bool = True) -> Path:
    """Write a project whose pods are to hold contract.sig against release.pub, and return its release."""
    environment = importlib.import_module("contracts").contract().environment
    more = {"cryptography": "47.0.0"} if library else {}
    there = msgspec.structs.replace(environment, distributions={**environment.distributions, **more})
    lock = projects.LOCK + "".join(f"{name}=={version} --hash=sha256:{'0' * 64}\n" for name, version in more.items())
    release = projects.make(tmp_path / "project", KEYED, environment=there, lock=lock)
    (tmp_path / "project" / "release.pub").write_bytes((tmp_path / "release.pub").read_bytes())
    return release


def test_every_container_is_given_the_key_that_signed_this_release(tmp_path: Path, key: Path) -> None:
    release = signing(tmp_path)
    assert run(["sign", str(release), "--key", str(key)]) == 0
    written = manifests(release, projects.IMAGE, tmp_path / "k8s")
    texts = [path.read_text() for path in written.directory.rglob("configmap.yaml")]
    (held,) = (item for item in yaml.safe_load_all(texts[0]) if "-release-key-" in item["metadata"]["name"])
    assert held["data"] == {"release.pub": (tmp_path / "release.pub").read_text()}
    found = {item.title: _plain(item) for item in objects(plans(release, projects.IMAGE)[0])}
    spec = pod(found)["spec"]
    (server,) = spec["containers"]
    env = {item["name"]: item.get("value") for item in server["env"]}
    assert env["BEDSIDE_RELEASE_KEY"] == "/etc/bedside/release-key/release.pub"
    (volume,) = (item for item in spec["volumes"] if item["name"] == "release-key")
    assert volume["configMap"]["name"] == held["metadata"]["name"]


def test_a_key_that_the_pods_would_not_accept_this_release_with_is_refused_at_once(tmp_path: Path, key: Path) -> None:
    release = signing(tmp_path)
    with pytest.raises(SignatureInvalid, match="nobody signed"):
        manifests(release, projects.IMAGE, tmp_path / "k8s")
    assert run(["sign", str(release), "--key", str(key)]) == 0
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    (tmp_path / "project" / "release.pub").write_bytes(
        other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(SignatureInvalid, match="not signed by the key"):
        manifests(release, projects.IMAGE, tmp_path / "k8s")
    (tmp_path / "project" / "release.pub").write_text("no key")
    with pytest.raises(SignatureKeyInvalid):
        manifests(release, projects.IMAGE, tmp_path / "k8s")
    assert not (tmp_path / "k8s").exists()


def test_a_release_whose_pods_cannot_verify_gets_no_key(tmp_path: Path, key: Path) -> None:
    release = signing(tmp_path, library=False)
    assert run(["sign", str(release), "--key", str(key)]) == 0
    with pytest.raises(UsageError, match="nothing in them can") as refused:
        manifests(release, projects.IMAGE, tmp_path / "k8s")
    assert "signed = true" in refused.value.remedy

"""The rendered trees, judged by what judges them in a cluster: schemas, kustomize, the policy rules, stock scanners."""

import os
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate.utils import all_versions
from tests.kube import projects

from bedside.errors import UsageError
from bedside.kube.tree import objects
from bedside.process import Subprocess
from bedside.stages.check import check
from bedside.stages.manifests import manifests, plans
from bedside_runtime.contract import Auth, Jwt, Serve, Tls

VERSIONS = [version.removesuffix("-local").removesuffix("-strict") for version in all_versions()]
NEWEST = sorted(set(VERSIONS), key=lambda text: [int(part) for part in text.split(".")[:2]])[-5:]
CUSTOM = {
    *("HTTPRoute", "BackendTLSPolicy", "PodMonitor", "PrometheusRule", "ExternalSecret"),
    *("PeerAuthentication", "AuthorizationPolicy"),
}
SETTINGS = {
    "gateway": projects.GATEWAY,
    "ingress": projects.INGRESS,
    "nothing": projects.NOTHING,
    "issuer": projects.ISSUER,
    "tls": projects.TLS,
    "tracing": projects.GATEWAY + projects.COLLECTOR,
    "s3": projects.GATEWAY + projects.S3,
    "gs": projects.GATEWAY.replace('path = "icu-test"', 'path = "icu-test"\nbackend = "vault"') + projects.GCS,
    "az": projects.GATEWAY + projects.BLOB,
}

EITHER = Auth(methods=("api-key", "mtls"))
FETCHING = Auth(
    methods=("jwt",),
    jwt=Jwt(issuer="https://login.example.org", audience="icu-test", jwks="https://login.example.org/keys"),
)


CHANGES: dict[str, dict[str, Any]] = {
    "issuer": {"auth": FETCHING},
    "tls": {"auth": EITHER, "tls": Tls()},
    **{scheme: {"source": f"{scheme}://models/icu/m.joblib"} for scheme in ("s3", "gs", "az")},
}
"""Of the contract, where settings ask for another one."""


@pytest.fixture(params=sorted(SETTINGS))
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    release = projects.make(tmp_path / "project", SETTINGS[request.param], **CHANGES.get(request.param, {}))
    return manifests(release, projects.IMAGE, tmp_path / "k8s").directory


def _documents(directory: Path) -> list[dict[str, Any]]:
    paths = [path for path in sorted(directory.rglob("*.yaml")) if path.name != "kustomization.yaml"]
    return [item for path in paths for item in yaml.safe_load_all(path.read_text())]


def _kustomized(directory: Path) -> list[dict[str, Any]]:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    done = subprocess.run([kubectl, "kustomize", str(directory)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return list(yaml.safe_load_all(done.stdout))


@pytest.mark.parametrize("version", NEWEST)
def test_the_api_server_of_each_of_the_five_newest_versions_knows_every_field(tree: Path, version: str) -> None:
    judged = set()
    for item in _documents(tree):
        if item["kind"] not in CUSTOM:
            kubernetes_validate.validate(item, version, strict=True)
            judged.add(item["kind"])
    assert judged >= {"Deployment", "Service", "NetworkPolicy", "HorizontalPodAutoscaler", "PodDisruptionBudget"}


def test_kustomize_builds_the_objects_that_are_deployed(tree: Path) -> None:
    for plan in plans(_release(tree), projects.IMAGE):
        built = {(item["kind"], item["metadata"]["name"]): item for item in _kustomized(_overlay(tree, plan))}
        made = {(item.kind, item.metadata.name): yaml.safe_load(yaml.safe_dump(_plain(item))) for item in objects(plan)}
        assert built == made


def _release(tree: Path) -> Path:
    return next((tree.parent / "project" / "dist").iterdir())


def _overlay(tree: Path, plan: Any) -> Path:
    return tree / "overlays" / str(plan.place.environment)


def _plain(item: Any) -> Any:
    return _without_reasons(item.plain())


def _without_reasons(value: Any) -> Any:
    match value:
        case dict():
            return {key: _without_reasons(item) for key, item in value.items()}
        case list():
            return [_without_reasons(item) for item in value]
        case bool():
            return value
        case int():
            return int(value)
        case str():
            return str(value)
        case _:
            return value


def test_bedside_check_and_the_stock_tools_find_nothing(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    report = check([str(tree)], runner=Subprocess(), today=date(2026, 11, 24))
    unasked = {"BED-REF-004", "BED-REF-007"}  # a Secret and a priority class that have to be there: said as notes
    assert [(item.rule, item.message) for item in report.findings if item.rule not in unasked] == []


def test_two_writings_are_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    again = manifests(_release(tree), projects.IMAGE, tmp_path / "again" / "k8s").directory
    first = {path.relative_to(tree): path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    second = {path.relative_to(again): path.read_bytes() for path in again.rglob("*") if path.is_file()}
    assert first == second


def test_every_file_says_which_release_it_is_and_what_wrote_it(tree: Path) -> None:
    digest = plans(_release(tree), projects.IMAGE)[0].digest
    for path in tree.rglob("*.yaml"):
        release, mark, command = path.read_text().splitlines()[:3]
        assert release == f"# icu-test 1.2.3, release sha256:{digest}"
        assert mark.startswith("# Written by `bedside manifests`")
        assert command == f"# bedside manifests icu-test-1.2.3 --image {projects.IMAGE} -o k8s"


def _objects(tmp_path: Path, deploy: str, **changes: Any) -> dict[str, dict[str, Any]]:
    plan = plans(projects.make(tmp_path, deploy, **changes), projects.IMAGE)[0]
    return {f"{item.kind} {item.metadata.name}": _plain(item) for item in objects(plan)}


def test_labels_and_digests_stand_on_the_template_so_that_they_come_back_with_it(tmp_path: Path) -> None:
    release = projects.make(tmp_path)
    plan = plans(release, projects.IMAGE)[0]
    deployment = next(_plain(item) for item in objects(plan) if item.kind == "Deployment")
    template = deployment["spec"]["template"]["metadata"]
    assert template["labels"]["model-version"] == "1.2.3"
    assert template["annotations"] == {
        "bedside.dev/release-digest": f"sha256:{plan.digest}",
        "bedside.dev/image-digest": projects.DIGEST,
    }
    assert "model-version" not in deployment["spec"]["selector"]["matchLabels"]
    assert "replicas" not in deployment["spec"]


def test_the_autoscaler_holds_to_its_facts(tmp_path: Path) -> None:
    spec = _objects(tmp_path, projects.GATEWAY)["HorizontalPodAutoscaler icu-test"]["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (3, 10)
    assert spec["metrics"] == [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}
    ]
    assert spec["behavior"] == {
        "scaleUp": {
            "stabilizationWindowSeconds": 60,
            "policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}],
        },
        "scaleDown": {
            "stabilizationWindowSeconds": 300,
            "policies": [{"type": "Pods", "value": 1, "periodSeconds": 120}],
        },
    }


def test_a_gpu_release_asks_for_whole_gpus_and_rolls_without_a_spare(tmp_path: Path) -> None:
    spec = _objects(tmp_path, projects.INGRESS)["Deployment icu-test"]["spec"]
    container = spec["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"] == {"cpu": "2500m", "memory": "2Gi", "nvidia.com/gpu": "1"}
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert spec["template"]["spec"]["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    threads = {item["name"]: item.get("value") for item in container["env"]}
    assert threads["OMP_NUM_THREADS"] == threads["OPENBLAS_NUM_THREADS"] == "2"


def test_only_the_prediction_routes_are_opened_and_only_to_post(tmp_path: Path) -> None:
    rule = _objects(tmp_path, projects.GATEWAY)["HTTPRoute icu-test"]["spec"]["rules"][0]
    assert [(item["method"], item["path"]["type"], item["path"]["value"]) for item in rule["matches"]] == [
        ("POST", "Exact", "/predict"),
        ("POST", "Exact", "/v2/models/icu-test/infer"),
        ("POST", "Exact", "/v2/models/icu-test/versions/1.2.3/infer"),
    ]


def test_nothing_gets_in_or_out_but_the_named_openings(tmp_path: Path) -> None:
    made = _objects(tmp_path, projects.GATEWAY)
    deny = made["NetworkPolicy icu-test-default-deny"]["spec"]
    assert deny["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in deny
    assert "egress" not in deny
    opened = made["NetworkPolicy icu-test-allow-predictions"]["spec"]["ingress"]
    assert [_namespace(peer) for peer in opened[0]["from"]] == ["gateway", "ehr"]
    assert opened[0]["ports"] == [{"port": "http", "protocol": "TCP"}]
    metrics = made["NetworkPolicy icu-test-allow-metrics"]["spec"]["ingress"][0]
    assert ([_namespace(peer) for peer in metrics["from"]], metrics["ports"][0]["port"]) == (["monitoring"], "admin")


def test_the_issuer_of_tokens_is_the_one_thing_that_pods_reach(tmp_path: Path) -> None:
    deploy = projects.GATEWAY + '\n[deploy.issuer]\nnamespace = "keycloak"\ncidrs = ["203.0.113.0/28"]\nport = 8443\n'
    made = _objects(tmp_path, deploy, auth=FETCHING)
    spec = made["NetworkPolicy icu-test-allow-outside"]["spec"]
    issuer, names = spec["egress"]
    assert spec["policyTypes"] == ["Egress"]
    assert (_namespace(issuer["to"][0]), issuer["to"][1]) == ("keycloak", {"ipBlock": {"cidr": "203.0.113.0/28"}})
    assert issuer["ports"] == [{"port": 8443, "protocol": "TCP"}]
    assert [_namespace(peer) for peer in names["to"]] == ["kube-system"]
    assert {(port["port"], port["protocol"]) for port in names["ports"]} == {(53, "UDP"), (53, "TCP")}
    assert sum("egress" in item["spec"] for title, item in made.items() if title.startswith("NetworkPolicy")) == 1


def test_spans_go_to_the_collector_that_is_named_and_the_way_there_is_open(tmp_path: Path) -> None:
    made = _objects(tmp_path, projects.GATEWAY + projects.COLLECTOR, serve=Serve(tracing=True))
    env = {item["name"]: item.get("value") for item in _container(made)["env"]}
    assert env["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector.observability.svc:4318"
    assert (env["OTEL_TRACES_SAMPLER"], env["OTEL_TRACES_SAMPLER_ARG"]) == ("parentbased_traceidratio", "0.05")
    assert env["OTEL_RESOURCE_ATTRIBUTES"] == "k8s.namespace.name=$(POD_NAMESPACE),k8s.pod.name=$(POD_NAME)"
    collector, _ = made["NetworkPolicy icu-test-allow-outside"]["spec"]["egress"]
    assert [_namespace(peer) for peer in collector["to"]] == ["observability"]
    assert collector["ports"] == [{"port": 4318, "protocol": "TCP"}]


def test_a_release_that_sends_no_spans_gets_neither_variable_nor_way(tmp_path: Path) -> None:
    made = _objects(tmp_path, projects.GATEWAY + projects.COLLECTOR)
    assert not any(item["name"].startswith("OTEL_") for item in _container(made)["env"])
    assert "NetworkPolicy icu-test-allow-outside" not in made


def _container(made: dict[str, dict[str, Any]]) -> Any:
    return made["Deployment icu-test"]["spec"]["template"]["spec"]["containers"][0]


def test_a_release_that_could_not_fetch_its_keys_is_not_rendered(tmp_path: Path) -> None:
    release = projects.make(tmp_path, auth=FETCHING)
    with pytest.raises(UsageError, match="nothing lets them out") as refused:
        manifests(release, projects.IMAGE, tmp_path / "k8s")
    assert "[deploy.issuer]" in refused.value.remedy


def test_a_mounted_key_set_is_a_file_and_opens_nothing(tmp_path: Path) -> None:
    mounted = Auth(methods=("api-key", "jwt"), jwt=Jwt(issuer="https://login.example.org", audience="icu-test"))
    made = _objects(tmp_path, projects.GATEWAY, auth=mounted)
    data = made["ExternalSecret icu-test-auth-keys"]["spec"]["data"]
    assert [item["secretKey"] for item in data] == ["api-keys.txt", "jwks.json"]
    assert not any("egress" in item["spec"] for title, item in made.items() if title.startswith("NetworkPolicy"))


def test_a_release_that_speaks_tls_is_spoken_to_in_tls_on_every_way_to_it(tmp_path: Path) -> None:
    made = _objects(tmp_path, projects.TLS, auth=EITHER, tls=Tls())
    pod = made["Deployment icu-test"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert [port["name"] for port in container["ports"]] == ["https", "admin"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "admin"}
    (port,) = made["Service icu-test"]["spec"]["ports"]
    assert (port["name"], port["port"], port["targetPort"], port["appProtocol"]) == ("https", 443, "https", "https")
    assert made["HTTPRoute icu-test"]["spec"]["rules"][0]["backendRefs"][0]["port"] == 443
    policy = made["BackendTLSPolicy icu-test"]["spec"]
    assert policy["targetRefs"] == [{"group": "", "kind": "Service", "name": "icu-test"}]
    assert policy["validation"]["hostname"] == "icu-test.icu-test.svc"
    assert policy["validation"]["caCertificateRefs"] == [{"group": "", "kind": "ConfigMap", "name": "internal-ca"}]
    opened = made["NetworkPolicy icu-test-allow-predictions"]["spec"]["ingress"][0]["ports"]
    assert opened == [{"port": "https", "protocol": "TCP"}]
    secrets = {item["name"]: item["secret"]["secretName"] for item in pod["volumes"] if "secret" in item}
    assert secrets["tls-keys"] == "icu-certificate"
    mounts = {item["name"]: item["mountPath"] for item in container["volumeMounts"]}
    assert mounts["tls-keys"] == "/run/secrets/bedside-tls"


STORED = projects.TLS.replace(
    '[deploy.secrets]\ntls = "icu-certificate"', '[deploy.secrets.store]\nname = "v"\npath = "p"'
)


def test_every_file_that_clients_are_judged_by_comes_from_the_store(tmp_path: Path) -> None:
    made = _objects(tmp_path, STORED, auth=EITHER, tls=Tls())
    auth, tls = (made[f"ExternalSecret icu-test-{purpose}-keys"]["spec"]["data"] for purpose in ("auth", "tls"))
    assert [item["secretKey"] for item in auth] == ["api-keys.txt", "client-ca.crt", "client-names.txt"]
    assert [item["secretKey"] for item in tls] == ["tls.crt", "tls.key"]


@pytest.mark.parametrize(
    ("backend", "reference"),
    [
        ("aws", {"key": "icu-test/api-keys.txt"}),
        ("vault", {"key": "icu-test", "property": "api-keys-txt"}),
        ("gcp", {"key": "icu-test-api-keys-txt"}),
        ("azure", {"key": "icu-test-api-keys-txt"}),
    ],
)
def test_a_key_is_asked_for_under_a_name_that_its_store_takes(tmp_path: Path, backend: str, reference: Any) -> None:
    deploy = projects.GATEWAY.replace('path = "icu-test"', f'path = "icu-test"\nbackend = "{backend}"')
    made = _objects(tmp_path, deploy)
    (data,) = made["ExternalSecret icu-test-auth-keys"]["spec"]["data"]
    assert data == {"secretKey": "api-keys.txt", "remoteRef": reference}


@pytest.mark.parametrize(
    ("deploy", "changes", "said"),
    [
        (projects.GATEWAY, {"tls": Tls()}, "clear text"),
        (projects.INGRESS.replace('mesh = "istio"\n', ""), {"tls": Tls()}, "Ingress"),
        (projects.NOTHING.replace('"none"', '"none"\nmesh = "istio"', 1), {"tls": Tls()}, "mesh"),
        (projects.TLS, {"tls": Tls(), "auth": Auth(methods=("mtls",))}, "believe nothing else"),
        (projects.GATEWAY, {"serve": Serve(tracing=True)}, "where to"),
        (projects.GATEWAY, {"source": "s3://models/m.joblib"}, "nothing lets them out"),
        (projects.GATEWAY + projects.S3, {"source": "az://models/m.joblib"}, "no account"),
    ],
)
def test_what_would_stand_and_answer_nobody_is_not_rendered(
    tmp_path: Path, deploy: str, changes: Any, said: str
) -> None:
    release = projects.make(tmp_path / "project", deploy, **changes)
    with pytest.raises(UsageError, match=said) as refused:
        manifests(release, projects.IMAGE, tmp_path / "k8s")
    assert refused.value.remedy
    assert not (tmp_path / "k8s").exists()


def _namespace(peer: dict[str, Any]) -> str:
    return str(peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"])


def test_keys_are_named_and_mounted_as_files_and_never_variables(tmp_path: Path) -> None:
    made = _objects(tmp_path, projects.GATEWAY)
    pod = made["Deployment icu-test"]["spec"]["template"]["spec"]
    mounts = {item["name"]: item for item in pod["containers"][0]["volumeMounts"]}
    assert mounts["audit-keys"] == {"name": "audit-keys", "mountPath": "/run/secrets/bedside", "readOnly": True}
    assert {item["name"] for item in pod["containers"][0]["env"] if "valueFrom" in item} == {"POD_NAME"}
    secret = made["ExternalSecret icu-test-audit-keys"]["spec"]
    assert [item["secretKey"] for item in secret["data"]] == ["audit-recipient.pem", "audit-signing.pem"]
    volume = next(item for item in pod["volumes"] if item["name"] == "audit-keys")
    assert volume["secret"]["secretName"] == secret["target"]["name"]


def test_what_authentication_believes_is_mounted_as_files_from_the_same_store(tmp_path: Path) -> None:
    made = _objects(tmp_path, projects.GATEWAY)
    pod = made["Deployment icu-test"]["spec"]["template"]["spec"]
    mounts = {item["name"]: item for item in pod["containers"][0]["volumeMounts"]}
    assert mounts["auth-keys"] == {"name": "auth-keys", "mountPath": "/run/secrets/bedside-auth", "readOnly": True}
    secret = made["ExternalSecret icu-test-auth-keys"]["spec"]
    assert [item["secretKey"] for item in secret["data"]] == ["api-keys.txt"]
    volume = next(item for item in pod["volumes"] if item["name"] == "auth-keys")
    assert volume["secret"]["secretName"] == secret["target"]["name"]
    assert {probe["httpGet"]["port"] for name, probe in pod["containers"][0].items() if name.endswith("Probe")} == {
        "admin"
    }


def test_a_secret_that_is_there_already_is_named_and_not_made(tmp_path: Path) -> None:
    deploy = projects.NOTHING + '\n[deploy.secrets]\nauth = "who-may-ask"\n'
    made = _objects(tmp_path, deploy)
    volumes = made["Deployment icu-test"]["spec"]["template"]["spec"]["volumes"]
    assert {"who-may-ask"} <= {item.get("secret", {}).get("secretName") for item in volumes}
    assert not any(title.startswith("ExternalSecret") for title in made)


def test_a_release_that_would_answer_anybody_is_not_rendered(tmp_path: Path) -> None:
    release = projects.make(tmp_path, auth=Auth())
    with pytest.raises(UsageError, match="authenticates nobody") as refused:
        manifests(release, projects.IMAGE, tmp_path / "k8s")
    assert "mesh terminates it" in refused.value.remedy
    assert not (tmp_path / "k8s").exists()


def test_one_whose_callers_a_mesh_authenticates_is_and_needs_no_keys(tmp_path: Path) -> None:
    made = _objects(tmp_path, projects.GATEWAY, auth=Auth(acknowledged="mesh terminates it"))
    volumes = made["Deployment icu-test"]["spec"]["template"]["spec"]["volumes"]
    assert "auth-keys" not in {item["name"] for item in volumes}


def test_a_release_without_an_audit_log_has_no_volume_and_no_alert_of_it(tmp_path: Path) -> None:
    made = _objects(tmp_path, projects.GATEWAY, audit=None)
    pod = made["Deployment icu-test"]["spec"]["template"]["spec"]
    assert [item["name"] for item in pod["volumes"]] == ["tmp", "auth-keys"]
    assert not {"PersistentVolumeClaim icu-test-audit", "ExternalSecret icu-test-audit-keys"} & made.keys()
    rules = made["PrometheusRule icu-test"]["spec"]["groups"][0]["rules"]
    assert not any("audit" in rule["expr"] for rule in rules)


@pytest.mark.parametrize(
    ("switch", "kind"),
    [("pod_monitor", "PodMonitor"), ("alerts", "PrometheusRule"), ("dashboard", "ConfigMap")],
)
def test_each_part_of_monitoring_is_switched_off_alone(tmp_path: Path, switch: str, kind: str) -> None:
    settings = f"{projects.NOTHING.partition('[deploy.monitoring]')[0]}[deploy.monitoring]\n{switch} = false\n"
    kinds = {title.split()[0] for title in _objects(tmp_path, settings)}
    assert {"PodMonitor", "PrometheusRule", "ConfigMap"} - kinds == {kind}


def test_what_is_switched_off_is_not_there(tmp_path: Path) -> None:
    kinds = {title.split()[0] for title in _objects(tmp_path, projects.NOTHING)}
    assert not kinds & CUSTOM
    assert "Ingress" not in kinds
    assert kinds >= {"Deployment", "Service", "NetworkPolicy"}

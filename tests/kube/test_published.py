"""Custom resources against their published schemas: Gateway API, External Secrets, Prometheus Operator, Istio.

The schemas come as packages of npm (`published/package.json`): types, under which a field that nobody knows is an
error, and compiled validators for values. The types are checked by the TypeScript compiler, the values by Node.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.kube import projects
from tests.kube.test_tree import CHANGES, CUSTOM, SETTINGS, _kustomized, _plain

from bedside.kube.tree import objects
from bedside.stages.manifests import manifests, plans

ROOT = Path(__file__).parents[2]
PUBLISHED = Path(__file__).parent / "published"
FROM = {
    "HTTPRoute": "gateway-api/gateway.networking.k8s.io/v1",
    "BackendTLSPolicy": "gateway-api/gateway.networking.k8s.io/v1",
    "ExternalSecret": "external-secrets/external-secrets.io/v1",
    "PodMonitor": "prometheus-operator/monitoring.coreos.com/v1",
    "PrometheusRule": "prometheus-operator/monitoring.coreos.com/v1",
    "PeerAuthentication": "istio/security.istio.io/v1",
    "AuthorizationPolicy": "istio/security.istio.io/v1",
}
OPTIONS = ["--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "--target", "es2022", "--pretty", "false"]


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder from which the published packages are found."""
    if not (PUBLISHED / "node_modules" / "typescript").is_dir() or shutil.which("node") is None:
        pytest.skip("the published schemas are not installed: npm ci --prefix tests/kube/published")
    folder = tmp_path_factory.mktemp("published")
    (folder / "node_modules").symlink_to(PUBLISHED / "node_modules")
    (folder / "package.json").write_text('{"type": "module"}')
    return folder


def _judged(judge: Path, items: list[dict[str, Any]]) -> str:
    """What the published schemas have against ``items``; empty where nothing."""
    kinds = sorted({item["kind"] for item in items})
    imports = [f'import {{ {kind}, type I{kind} }} from "@kubernetes-models/{FROM[kind]}";' for kind in kinds]
    typed = [f"const o{index}: I{item['kind']} = {json.dumps(item)};" for index, item in enumerate(items)]
    checked = [f"new {item['kind']}(o{index}).validate();" for index, item in enumerate(items)]
    (judge / "objects.ts").write_text("\n".join([*imports, *typed, *checked]) + "\n")
    plain = "\n".join([*imports, *typed, *checked])
    for kind in kinds:
        plain = plain.replace(f", type I{kind} ", " ").replace(f": I{kind} =", " =")
    (judge / "objects.js").write_text(plain)
    compiler = ["node", str(PUBLISHED / "node_modules" / "typescript" / "bin" / "tsc"), *OPTIONS, "objects.ts"]
    return "".join(
        done.stdout + done.stderr
        for command in (compiler, ["node", "objects.js"])
        if (done := subprocess.run(command, cwd=judge, capture_output=True, text=True, check=False)).returncode
    )


def _custom(directory: Path) -> list[dict[str, Any]]:
    """Every custom resource under every setting."""
    found = []
    for name, settings in SETTINGS.items():
        release = projects.make(directory / name, settings, **CHANGES.get(name, {}))
        found += [_plain(item) for plan in plans(release, projects.IMAGE) for item in objects(plan)]
    return [item for item in found if item["kind"] in CUSTOM]


def test_every_custom_resource_is_as_its_schema_says(judge: Path, tmp_path: Path) -> None:
    items = _custom(tmp_path)
    assert {item["kind"] for item in items} == CUSTOM == FROM.keys()
    assert _judged(judge, items) == ""


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("ExternalSecret", {"refreshIntervall": "1h"}, "refreshIntervall"),
        ("PodMonitor", {"podMetricsEndpoints": [{"port": "admin", "interval": "soon"}]}, "interval"),
        ("PeerAuthentication", {"mtls": {"mode": "STRICTER"}}, "STRICTER"),
        ("HTTPRoute", {"hostnames": ["https://icu.example.org"]}, "hostnames"),
    ],
)
def test_the_judge_finds_what_is_wrong(judge: Path, tmp_path: Path, kind: str, change: Any, said: str) -> None:
    item = next(item for item in _custom(tmp_path) if item["kind"] == kind)
    item["spec"].update(change)
    assert said in _judged(judge, [item])


def test_checkov_finds_nothing_in_what_is_applied(tmp_path: Path) -> None:
    """It is shown what kustomize builds: the base stands in no namespace, the overlays set it (ADR 24)."""
    checkov = shutil.which("checkov") or str(ROOT / ".tools" / "checkov" / "bin" / "checkov")
    if not Path(checkov).exists():
        pytest.skip("checkov is not installed: .ci/run installs it")
    built = tmp_path / "built"
    built.mkdir()
    for name, settings in SETTINGS.items():
        release = projects.make(tmp_path / name, settings, **CHANGES.get(name, {}))
        tree = manifests(release, projects.IMAGE, tmp_path / f"{name}-k8s").directory
        for overlay in sorted((tree / "overlays").iterdir()):
            (built / f"{name}-{overlay.name}.yaml").write_text(yaml.safe_dump_all(_kustomized(overlay)))
    command = [
        checkov,
        "-d",
        str(built),
        "--framework",
        "kubernetes",
        "--compact",
        "--skip-download",
        "--output",
        "json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    report = json.loads(done.stdout)
    assert report["summary"]["passed"] > 400
    assert [(item["check_id"], item["resource"]) for item in report["results"]["failed_checks"]] == []

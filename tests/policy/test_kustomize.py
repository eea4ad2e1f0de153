"""Kustomizations as they are applied: what kubectl builds of each tree in overlays/, and what is found on the way."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from bedside.policy import drawing, rulebook
from bedside.policy.picture import Picture
from bedside.policy.place import SourceFile

OVERLAYS = Path(__file__).parent / "overlays"
TREES = sorted(path.name for path in OVERLAYS.iterdir())


def _files(tree: Path) -> dict[str, str]:
    paths = (path for path in sorted(tree.rglob("*")) if path.is_file() and path.name != "expected.yaml")
    return {path.relative_to(tree).as_posix(): path.read_text() for path in paths}


def _built(files: dict[str, str]) -> Picture:
    return drawing.draw([SourceFile(path, text.encode()) for path, text in files.items()], names=files)


def _keyed(documents: list[Any]) -> dict[tuple[str, str], Any]:
    return {(item["kind"], item["metadata"]["name"]): _comparable(item) for item in documents if item}


def _comparable(item: dict[str, Any]) -> dict[str, Any]:
    """Without a Secret's values, which kustomize writes in base64, and without the text of files."""
    kept = {key: value for key, value in item.items() if key not in ("stringData", "data")}
    held = {} if item["kind"] == "Secret" else item.get("data", {})
    return kept | {"data": {key: "" if key.endswith(".txt") else value for key, value in held.items()}}


@pytest.mark.parametrize("tree", TREES)
def test_what_is_judged_is_what_kubectl_builds(tree: str) -> None:
    seen = _built(_files(OVERLAYS / tree))
    assert seen.problems == ()
    expected = list(yaml.safe_load_all((OVERLAYS / tree / "expected.yaml").read_text()))
    assert _keyed([item.node.plain() for item in seen.objects]) == _keyed(expected)


@pytest.mark.parametrize("tree", TREES)
def test_the_expectation_is_what_kubectl_says_here(tree: str) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    done = subprocess.run([kubectl, "kustomize", OVERLAYS / tree / "prod"], capture_output=True, text=True, check=True)
    assert done.stdout == (OVERLAYS / tree / "expected.yaml").read_text()


def _hits(seen: Picture, rule: str) -> list[tuple[str, int, str]]:
    return [(item.file, item.line, item.message) for item in rulebook.judge(seen) if item.rule == rule]


def test_every_value_keeps_the_line_that_it_comes_from() -> None:
    (pod,) = _built(_files(OVERLAYS / "strategic-merge")).pods
    model = next(item for item in pod.containers if item.name == "model")
    limit = model.node.at("resources", "limits", "memory")
    assert (limit.file, limit.line) == ("prod/limits.yaml", 19)
    assert (model.node.at("image").file, model.node.at("image").line) == ("base/deployment.yaml", 19)


def test_a_patch_inside_the_kustomization_keeps_its_lines_too() -> None:
    (service,) = _built(_files(OVERLAYS / "strategic-merge")).of("Service")
    port = service.spec.at("ports", 0, "port")
    assert (port.number, port.file, port.line) == (9090, "prod/kustomization.yaml", 13)


STANDARD = _files(OVERLAYS / "strategic-merge")
ANNOTATED = "'[{op: add, path: /metadata/annotations, value: {a: b}}]'"


def _annotating(target: str) -> str:
    return f"resources: [../base]\npatches:\n  - target: {target}\n    patch: {ANNOTATED}\n"


def _with(**changes: str) -> Picture:
    return _built(STANDARD | {path.replace("__", "/") + ".yaml": text for path, text in changes.items()})


def test_a_patch_of_an_object_that_is_not_there_is_found() -> None:
    seen = _with(prod__limits=STANDARD["prod/limits.yaml"].replace("  name: model\nspec", "  name: modell\nspec"))
    assert [(file, line) for file, line, _ in _hits(seen, "BED-REF-036")] == [("prod/limits.yaml", 1)]


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("{kind: Deploymnet}", "the patch of Deploymnet changes nothing"),
        ("{kind: Deployment, name: model-.*}", "the patch of Deployment model-.* changes nothing"),
        ("{kind: Deployment, labelSelector: app=other}", "changes nothing"),
        ("{kind: Deployment, labelSelector: 'app in (a, b)'}", "changes nothing"),
        ("{kind: Deployment, annotationSelector: reviewed}", "changes nothing"),
        ("{kind: Deployment, namespace: icu}", "changes nothing"),
        ("{group: batch, version: v1}", "changes nothing"),
    ],
)
def test_a_target_that_selects_nothing_is_found(target: str, says: str) -> None:
    one = _annotating(target)
    ((file, line, message),) = _hits(_with(prod__kustomization=one), "BED-REF-036")
    assert (file, line) == ("prod/kustomization.yaml", 3)
    assert says in message


@pytest.mark.parametrize(
    "target",
    [
        "{kind: Deployment}",
        "{name: mod(el|ule)}",
        "{kind: Deployment, labelSelector: 'app=model,!old,app!=x,app in (model, x), app notin (y)'}",
        "{version: v1, group: apps}",
    ],
)
def test_a_target_that_selects_something_changes_it(target: str) -> None:
    one = _annotating(target)
    seen = _with(prod__kustomization=one)
    assert _hits(seen, "BED-REF-036") == []
    assert any(item.annotations.at("a").text == "b" for item in seen.of("Deployment"))


@pytest.mark.parametrize(
    "operation",
    [
        "{op: remove, path: /spec/replicas}",
        "{op: replace, path: /spec/template/spec/volumes/4, value: {}}",
        "{op: remove, path: /spec/template/spec/volumes/4}",
        "{op: add, path: /spec/nowhere/at/all, value: 1}",
        "{op: add, path: /spec/template/spec/containers/x, value: 1}",
        "{op: add, path: /metadata/name/x, value: 1}",
        "{op: test, path: /metadata/name, value: other}",
        "{op: move, from: /metadata/name, path: /metadata/x}",
        "{path: /metadata/name}",
    ],
)
def test_an_operation_that_does_not_apply_is_found_where_it_stands(operation: str) -> None:
    one = f"resources: [../base]\npatches:\n  - target: {{kind: Deployment}}\n    patch: |-\n      - {operation}\n"
    ((file, line, message),) = _hits(_with(prod__kustomization=one), "BED-REF-036")
    assert (file, line) == ("prod/kustomization.yaml", 5)
    assert message.startswith("the patch of Deployment model stops the build: ")


def test_two_overlays_of_one_base_do_not_help_each_other_out() -> None:
    base = "resources: [deployment.yaml, account.yaml, service.yaml]\n"
    seen = _with(
        base__kustomization=base,
        dev__kustomization="resources: [../base, ../base/settings.yaml]\n",
        prod__kustomization="resources: [../base]\n",
    )
    assert {item.tree for item in seen.of("Deployment", "ConfigMap") if item.tree} == {"dev", "prod"}
    ((file, _, message),) = _hits(seen, "BED-REF-003")
    assert (file, message) == (
        "base/deployment.yaml",
        "Deployment model reads the ConfigMap settings, which no file defines",
    )


def test_a_base_is_judged_as_its_overlays_leave_it() -> None:
    seen = _with(
        base__kustomization="resources: [deployment.yaml, account.yaml]\nreplicas: [{name: model, count: 1}]\n"
    )
    assert [(item.tree, item.replicas) for item in seen.of("Deployment")] == [("prod", 3)]


def test_a_prefix_leaves_what_kustomize_does_not_know_behind() -> None:
    route = """apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: model
spec:
  rules:
    - backendRefs:
        - name: model
          port: 80
"""
    seen = _with(prod__kustomization="namePrefix: icu-\nresources: [../base, route.yaml]\n", prod__route=route)
    assert _hits(seen, "BED-REF-006") == [
        ("prod/route.yaml", 8, "HTTPRoute icu-model sends to the Service model, which no file defines")
    ]


@pytest.mark.parametrize(
    "extra",
    [
        "resources: [../base, https://git.hospital.example/mesh?ref=v3]\n",
        "resources: [../base]\nhelmCharts: [{name: redis}]\n",
        "resources: [../base]\ntransformers: [change.yaml]\n",
        "resources: [../base]\nreplacements: [{path: r.yaml}]\n",
        "resources: [../base]\npatches: [{target: {kind: '('}, patch: '[{op: add, path: /a, value: b}]'}]\n",
        "resources: [../base]\npatches: [{path: patch.json}]\n",
    ],
)
def test_what_is_not_followed_is_said_and_nothing_is_missed_there(extra: str) -> None:
    base = "resources: [deployment.yaml, service.yaml]\n"
    seen = _with(base__kustomization=base, prod__kustomization=extra)
    assert len(_hits(seen, "BED-INP-011")) == 1
    if "patches" not in extra:
        assert _hits(seen, "BED-REF-001") == _hits(seen, "BED-REF-003") == []


def test_kustomizations_that_take_each_other_in_end_with_a_finding() -> None:
    seen = _with(base__kustomization="resources: [../prod]\n", prod__kustomization="resources: [../base]\n")
    assert len(_hits(seen, "BED-REF-036")) == 1


def test_kustomizations_that_double_each_other_end() -> None:
    files = {f"k{n}/kustomization.yaml": f"resources: [../k{n + 1}, ../k{n + 1}]\n" for n in range(30)}
    seen = _built(
        files | {"k30/kustomization.yaml": "resources: [a.yaml]\n", "k30/a.yaml": STANDARD["base/service.yaml"]}
    )
    assert _hits(seen, "BED-INP-011") != []


def test_a_long_chain_of_kustomizations_ends() -> None:
    files = {f"k{n}/kustomization.yaml": f"resources: [../k{n + 1}]\n" for n in range(2_000)}
    assert len(_hits(_built(files), "BED-INP-011")) >= 1


def test_a_hostile_pattern_costs_no_time() -> None:
    one = "resources: [../base]\npatches: [{target: {name: '(m+)+(o+)+x'}, patch: '[]'}]\n"
    many = STANDARD["base/service.yaml"].replace("name: model", f"name: {'m' * 200}", 1)
    assert _hits(_with(prod__kustomization=one, base__service=many), "BED-REF-036") != []

"""The stage: real files, the stock tools where they are, and what is said where they are not."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path

import pytest

from bedside.errors import ToolFailed, UsageError
from bedside.findings import Finding, Severity
from bedside.policy.drawing import MAX_BYTES
from bedside.process import Completed, Subprocess
from bedside.reports.text import render
from bedside.stages import check as stage
from bedside.stages.check_stock import FEW_OBJECTS

TODAY = date(2026, 12, 1)
GOOD = Path(__file__).parent.parent / "policy" / "deployments" / "icu"


class Tools:
    """A Runner that knows some tools: each answers what it is given, once ``until``, told its name, comes back.

    Any other is not installed.
    """

    def __init__(self, answers: Mapping[str, Completed], until: Callable[[str], object] = lambda _: None) -> None:
        self.answers = answers
        self.until = until
        self.commands: list[tuple[str, ...]] = []
        self.seconds: list[float] = []
        self.variables: list[Mapping[str, str]] = []

    def run(
        self,
        command: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        input: str | None = None,  # noqa: A002 - subprocess's own word
        timeout: float | None = None,
        on_error_line: Callable[[str], None] | None = None,
    ) -> Completed:
        self.commands.append(tuple(command))
        self.seconds.append(timeout or 0)
        self.variables.append(env or {})
        self.until(command[0])
        if command[0] not in self.answers:
            raise ToolFailed(f"{command[0]} is not installed")
        return self.answers[command[0]]


class Only(Subprocess):
    """Real tools, of which one is asked and the others say nothing."""

    def __init__(self, tool: str) -> None:
        self.tool = tool

    def run(
        self,
        command: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        input: str | None = None,  # noqa: A002 - subprocess's own word
        timeout: float | None = None,
        on_error_line: Callable[[str], None] | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> Completed:
        if command[0] != self.tool:
            return NOTHING[command[0]]
        return super().run(command, env=env, timeout=timeout)


def _done(output: object, code: int = 0) -> Completed:
    return Completed(("tool",), code, output if isinstance(output, str) else json.dumps(output), "")


NOTHING = {"hadolint": _done([]), "trivy": _done({"Results": []}), "zizmor": _done([])}


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(GOOD, tmp_path / "icu")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "icu"


def _rules(report: stage.Report) -> list[str]:
    return [item.rule for item in report.findings]


def test_a_good_deployment_passes_with_every_tool_asked(deployment: Path) -> None:
    runner = Tools(NOTHING)
    report = stage.check(["icu"], runner=runner, today=TODAY)
    assert _rules(report) == []
    assert {command[0] for command in runner.commands} == {"hadolint", "trivy", "zizmor"}


def test_a_finding_names_the_file_as_the_user_did(deployment: Path) -> None:
    (deployment / "k8s/claim.yaml").unlink()
    listed = deployment / "k8s/kustomization.yaml"
    listed.write_text(listed.read_text().replace("  - claim.yaml\n", ""))
    report = stage.check(["icu"], runner=None, today=TODAY)
    assert [(item.rule, item.file) for item in report.findings] == [("BED-REF-002", "icu/k8s/deployment.yaml")]


def test_a_missing_tool_is_said_for_each(deployment: Path) -> None:
    report = stage.check(["icu"], runner=Tools({}), today=TODAY)
    assert _rules(report) == ["BED-INP-007"] * 3
    assert {item.severity for item in report.findings} == {Severity.NOTE}


def test_under_strict_a_missing_tool_is_an_error(deployment: Path) -> None:
    with pytest.raises(ToolFailed, match="hadolint is not installed"):
        stage.check(["icu"], runner=Tools({}), today=TODAY, strict=True)


@pytest.mark.parametrize("answer", ["not JSON", '{"a": 1}', "[1]", '[{"locations": [{"symbolic": 1}]}]'])
def test_a_tool_that_writes_something_else_checked_nothing(deployment: Path, answer: str) -> None:
    report = stage.check(["icu"], runner=Tools(NOTHING | {"zizmor": _done(answer)}), today=TODAY)
    assert _rules(report) == ["BED-INP-007"]


def test_a_tool_that_fails_checked_nothing(deployment: Path) -> None:
    report = stage.check(["icu"], runner=Tools(NOTHING | {"trivy": _done("", 2)}), today=TODAY)
    assert _rules(report) == ["BED-INP-007"]


def test_a_tool_with_nothing_to_look_at_is_not_missed(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("numpy==2.3.4 --hash=sha256:" + "0" * 64)
    assert _rules(stage.check([str(tmp_path)], runner=Tools({}), today=TODAY)) == []


def test_one_thing_found_by_two_is_said_once(deployment: Path) -> None:
    dockerfile = deployment / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text().replace("USER 10001", "USER root"))
    theirs = [
        {"code": "DL3002", "file": "icu/Dockerfile", "line": 15, "level": "warning", "message": "last user is root"},
        {"code": "DL3008", "file": "icu/Dockerfile", "line": 15, "level": "warning", "message": "pin versions"},
    ]
    report = stage.check(["icu"], runner=Tools(NOTHING | {"hadolint": _done(theirs)}), today=TODAY)
    assert "DL3002" not in _rules(report)
    assert {"BED-IMG-002", "DL3008"} <= set(_rules(report))


def test_one_id_in_another_place_is_said(deployment: Path) -> None:
    dockerfile = deployment / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text().replace("USER 10001", "USER root"))
    theirs = [{"code": "DL3002", "file": "icu/Dockerfile", "line": 3, "level": "warning", "message": "root"}]
    report = stage.check(["icu"], runner=Tools(NOTHING | {"hadolint": _done(theirs)}), today=TODAY)
    assert "DL3002" in _rules(report)


@pytest.mark.parametrize("tool", ["hadolint", "trivy", "zizmor"])
def test_the_real_tools_speak_the_form_that_is_read(
    deployment: Path, tool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    dockerfile = deployment / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text() + "RUN cd /tmp && sudo true\n")
    workflow = deployment / ".github/workflows/release.yml"
    workflow.write_text(workflow.read_text().replace("        with:\n          persist-credentials: false\n", ""))
    manifest = deployment / "k8s/deployment.yaml"
    manifest.write_text(
        manifest.read_text().replace(
            "        fsGroup: 10001", "        fsGroup: 10001\n        supplementalGroups: [0]"
        )
    )
    report = stage.check(["icu"], runner=Subprocess(), today=TODAY)
    known = {"hadolint": ("DL", "SC"), "trivy": ("DS-", "KSV-"), "zizmor": ("artipacked",)}[tool]
    theirs = [item for item in report.findings if item.rule.startswith(known)]
    assert theirs
    assert all(item.file.startswith("icu/") and (deployment.parent / item.file).is_file() for item in theirs)


@pytest.fixture
def silenced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Dockerfile, a pod and a workflow with mistakes, beside everything that would keep the tools quiet."""
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Dockerfile").write_text(
        "# hadolint global ignore=DL3004\nFROM python:3.11\n# hadolint ignore=DL3003\nRUN cd /tmp && sudo true\n"
        "RUN apt-get install -y curl=1\n"
    )
    (tmp_path / "pod.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: b}\nspec:\n  containers: [{name: c, image: d}]\n"
    )
    workflow = tmp_path / ".github/workflows/ci.yml"
    workflow.parent.mkdir(parents=True)
    workflow.write_text(
        "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n"
        "      - uses: actions/checkout@v4 # zizmor: ignore[artipacked]\n"
    )
    (tmp_path / ".hadolint.yaml").write_text("ignored: [DL3003, DL3004]\n")
    (tmp_path / ".trivyignore").write_text("KSV-0011\nDS-0010\n")
    (tmp_path / "trivy.yaml").write_text("severity: [CRITICAL]\nscan:\n  skip-files: ['**/pod.yaml', Dockerfile]\n")
    (tmp_path / "zizmor.yml").write_text("rules:\n  artipacked:\n    disable: true\n")
    return tmp_path


@pytest.mark.parametrize(
    ("tool", "rules"),
    [("hadolint", {"DL3003", "DL3004"}), ("trivy", {"KSV-0011", "DS-0010"}), ("zizmor", {"artipacked"})],
)
def test_no_file_and_no_comment_of_its_own_keeps_a_tool_quiet(silenced: Path, tool: str, rules: set[str]) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    assert rules <= set(_rules(stage.check(["."], runner=Subprocess(), today=TODAY)))


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("HADOLINT_IGNORE", "DL3004", "DL3004"),
        ("HADOLINT_CONFIG", ".hadolint.yaml", "DL3004"),
        ("HADOLINT_FORMAT", "tty", "DL3004"),
        ("HADOLINT_OVERRIDE_ERROR", "DL3015", "DL3015"),
        ("HADOLINT_OVERRIDE_WARNING", "DL3015", "DL3015"),
        ("HADOLINT_OVERRIDE_INFO", "DL3004", "DL3004"),
        ("HADOLINT_OVERRIDE_STYLE", "DL3004", "DL3004"),
        ("TRIVY_CONFIG", "trivy.yaml", "DS-0010"),
        ("TRIVY_IGNOREFILE", ".trivyignore", "DS-0010"),
        ("TRIVY_IGNORE_POLICY", "ignore.rego", "DS-0010"),
        ("TRIVY_SEVERITY", "LOW", "DS-0010"),
        ("TRIVY_SKIP_DIRS", ".", "DS-0010"),
        ("TRIVY_SKIP_FILES", "Dockerfile", "DS-0010"),
        ("TRIVY_MISCONFIG_SCANNERS", "terraform", "DS-0010"),
        ("TRIVY_INCLUDE_NON_FAILURES", "true", "DS-0010"),
        ("TRIVY_EXIT_CODE", "7", "DS-0010"),
        ("TRIVY_OUTPUT", "elsewhere.json", "DS-0010"),
        ("TRIVY_COMPLIANCE", "docker-cis-1.6.0", "DS-0010"),
        ("TRIVY_TIMEOUT", "1ms", "DS-0010"),
        ("ZIZMOR_CONFIG", "zizmor.yml", "artipacked"),
    ],
)
def test_no_variable_changes_what_a_tool_says(
    silenced: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, rule: str
) -> None:
    tool = name.partition("_")[0].lower()
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    (silenced / "ignore.rego").write_text("package trivy\ndefault ignore = true\n")
    plain = {item for item in stage.check(["."], runner=Only(tool), today=TODAY).findings if _is_theirs(item)}
    monkeypatch.setenv(name, value)
    found = {item for item in stage.check(["."], runner=Only(tool), today=TODAY).findings if _is_theirs(item)}
    assert rule in {item.rule for item in found}
    assert found == plain


def _is_theirs(item: Finding) -> bool:
    return not item.rule.startswith("BED-")


def test_whatever_would_have_kept_them_quiet_is_listed(silenced: Path) -> None:
    report = stage.check(["."], runner=None, today=TODAY)
    listed = [(item.file, item.line) for item in report.findings if item.rule == "BED-INP-013"]
    assert listed == [
        (".github/workflows/ci.yml", 6), (".hadolint.yaml", 0), (".trivyignore", 0),
        ("Dockerfile", 1), ("Dockerfile", 3), ("trivy.yaml", 0), ("zizmor.yml", 0),
    ]  # fmt: skip


def test_a_comment_that_trivy_obeys_all_the_same_is_a_finding_for_the_gate(silenced: Path) -> None:
    dockerfile = silenced / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text().replace("RUN", "#trivy:ignore:DS-0010\nRUN", 1))
    report = stage.check(["."], runner=None, today=TODAY)
    (found,) = (item for item in report.findings if item.rule == "BED-INP-012")
    assert (found.file, found.line, found.severity) == ("Dockerfile", 4, Severity.SECURITY)


def test_the_report_says_what_each_tool_added_and_how_long_it_took(deployment: Path) -> None:
    theirs = [{"code": "DL3008", "file": "icu/Dockerfile", "line": 15, "level": "warning", "message": "pin versions"}]
    report = stage.check(["icu"], runner=Tools(NOTHING | {"hadolint": _done(theirs)}), today=TODAY)
    assert [(tool.name, tool.added) for tool in report.tools] == [("hadolint", 1), ("trivy config", 0), ("zizmor", 0)]
    assert all(tool.seconds >= 0 for tool in report.tools)


def test_the_tools_are_asked_beside_each_other_and_beside_the_rules(deployment: Path) -> None:
    all_asked = threading.Barrier(len(NOTHING), timeout=60)
    runner = Tools(NOTHING, until=lambda _: all_asked.wait())
    report = stage.check(["icu"], runner=runner, today=TODAY)
    assert len(report.tools) == 3  # each waited until all three had been started


def test_whom_it_waits_for_is_said(deployment: Path) -> None:
    said: list[str] = []
    go = threading.Event()
    runner = Tools(NOTHING, until=lambda tool: tool != "trivy" or go.wait(60))

    def wait(tool: str) -> None:
        said.append(tool)
        if tool == "trivy config":
            go.set()

    stage.check(["icu"], runner=runner, today=TODAY, on_wait=wait)
    assert "trivy config" in said


def test_a_tool_has_longer_where_it_has_more_to_read(deployment: Path) -> None:
    runner = Tools(NOTHING)
    stage.check(["icu"], runner=runner, today=TODAY)
    few = max(runner.seconds)
    for number in range(100):
        (deployment / f"k8s/more-{number}.yaml").write_text("apiVersion: v1\nkind: ConfigMap\n")
    stage.check(["icu"], runner=runner, today=TODAY)
    assert max(runner.seconds) >= few + 100


def _options(runner: Tools, tool: str) -> tuple[str, ...]:
    return next(command for command in runner.commands if command[0] == tool)


def test_no_tool_asks_a_network_or_reports_to_its_maker(deployment: Path) -> None:
    runner = Tools(NOTHING)
    stage.check(["icu"], runner=runner, today=TODAY)
    assert "--skip-check-update" in _options(runner, "trivy")
    assert "--offline" in _options(runner, "zizmor")
    assert all(env["TRIVY_DISABLE_TELEMETRY"] == env["TRIVY_SKIP_VERSION_CHECK"] == "true" for env in runner.variables)


def _write_objects(directory: Path, number: int) -> None:
    """So many objects more, two a file."""
    for position in range(0, number, 2):
        one = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: NAME}\n"
        both = (one.replace("NAME", f"c{position + each}") for each in range(min(2, number - position)))
        (directory / f"c{position}.yaml").write_text("---\n".join(both))


def test_trivy_is_asked_about_few_kubernetes_objects_without_being_told_to(tmp_path: Path) -> None:
    _write_objects(tmp_path, FEW_OBJECTS)
    runner = Tools(NOTHING)
    report = stage.check([str(tmp_path)], runner=runner, today=TODAY)
    assert "--misconfig-scanners" not in _options(runner, "trivy")
    assert "BED-INP-014" not in _rules(report)


def test_about_many_it_is_not_asked_and_the_report_says_so(tmp_path: Path) -> None:
    _write_objects(tmp_path, FEW_OBJECTS + 1)
    runner = Tools(NOTHING)
    report = stage.check([str(tmp_path)], runner=runner, today=TODAY)
    assert "--misconfig-scanners" in _options(runner, "trivy")
    (said,) = (item for item in report.findings if item.rule == "BED-INP-014")
    assert said.severity is Severity.NOTE
    assert f"not asked about {FEW_OBJECTS + 1} Kubernetes objects" in said.message
    assert "--stock" in said.remedy


@pytest.mark.parametrize("told", [{"thorough": True}, {"strict": True}])
def test_told_to_it_is_asked_about_however_many(tmp_path: Path, told: dict[str, bool]) -> None:
    _write_objects(tmp_path, FEW_OBJECTS + 1)
    runner = Tools(NOTHING)
    report = stage.check([str(tmp_path)], runner=runner, today=TODAY, **told)
    assert "--misconfig-scanners" not in _options(runner, "trivy")
    assert "BED-INP-014" not in _rules(report)


def test_objects_in_json_count_as_those_in_yaml_do(tmp_path: Path) -> None:
    _write_objects(tmp_path, FEW_OBJECTS - 1)
    (tmp_path / "settings.json").write_text('{"apiKey": "none"}')
    for name in ("a.json", "b.JSON"):
        runner = Tools(NOTHING)
        assert "BED-INP-014" not in _rules(stage.check([str(tmp_path)], runner=runner, today=TODAY))
        assert "--misconfig-scanners" not in _options(runner, "trivy")
        (tmp_path / name).write_text('{\n  "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}\n}\n')
    (tmp_path / "gone.json").symlink_to("nowhere.json")
    runner = Tools(NOTHING)
    assert "BED-INP-014" in _rules(stage.check([str(tmp_path)], runner=runner, today=TODAY))
    assert "--misconfig-scanners" in _options(runner, "trivy")


def test_where_no_tool_is_asked_at_all_nothing_is_said_of_it(tmp_path: Path) -> None:
    _write_objects(tmp_path, FEW_OBJECTS + 1)
    assert "BED-INP-014" not in _rules(stage.check([str(tmp_path)], runner=None, today=TODAY))


def test_what_comes_on_standard_input_is_not_counted_since_no_tool_gets_it(tmp_path: Path) -> None:
    rendered = b"---\n".join([b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"] * (FEW_OBJECTS + 1))
    report = stage.check(["-"], runner=Tools(NOTHING), today=TODAY, standard_input=rendered)
    assert "BED-INP-014" not in _rules(report)


def test_all_that_is_not_kubernetes_is_asked_among_many_objects_too(silenced: Path) -> None:
    if shutil.which("trivy") is None:
        pytest.skip("trivy is not installed")
    _write_objects(silenced, FEW_OBJECTS + 1)
    rules = _rules(stage.check(["."], runner=Only("trivy"), today=TODAY))
    assert {"DS-0010", "BED-INP-014"} <= set(rules)
    assert "KSV-0011" not in rules
    assert "KSV-0011" in _rules(stage.check(["."], runner=Only("trivy"), today=TODAY, thorough=True))


def test_what_is_left_out_is_all_that_trivy_has_for_kubernetes(silenced: Path) -> None:
    if shutil.which("trivy") is None:
        pytest.skip("trivy is not installed")
    shown = subprocess.run(["trivy", "config", "--help"], check=True, capture_output=True, text=True).stdout
    (known,) = re.findall(r"misconfiguration scanning \(default \[([a-z,-]+)\]\)", shown)
    runner = Tools(NOTHING)
    _write_objects(silenced, FEW_OBJECTS + 1)
    stage.check(["."], runner=runner, today=TODAY)
    options = _options(runner, "trivy")
    asked = options[options.index("--misconfig-scanners") + 1]
    assert set(known.split(",")) - set(asked.split(",")) == {"kubernetes", "helm"}


def test_a_suppression_is_held_against_today(deployment: Path) -> None:
    service = deployment / "k8s/service.yaml"
    comment = "type: NodePort # bedside: ignore BED-K8S-036 until 2026-12-01: until the gateway is there"
    service.write_text(service.read_text().replace("type: ClusterIP", comment))
    before = stage.check(["icu"], runner=None, today=TODAY)
    after = stage.check(["icu"], runner=None, today=date(2026, 12, 2))
    assert (_rules(before), len(before.accepted)) == ([], 1)
    assert (sorted(_rules(after)), len(after.accepted)) == (["BED-INP-006", "BED-K8S-036"], 0)


def test_rendered_yaml_is_read_from_standard_input() -> None:
    report = stage.check(["-"], runner=None, today=TODAY, standard_input=(GOOD / "k8s/deployment.yaml").read_bytes())
    assert "BED-REF-001" in _rules(report)


OVERLAY = {
    "base/kustomization.yaml": "resources: [service.yaml]\n",
    "base/service.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 1}]}\n",
    "prod/kustomization.yaml": "resources: [../base, ../other/extra.yaml]\npatches: [{path: type.yaml}]\n",
    "prod/type.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {selektor: {app: a}}\n",
    "other/extra.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: b}\nspec: {portz: []}\n",
    "other/unrelated.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: c}\nspec: {portz: []}\n",
}


@pytest.mark.parametrize("given", ["prod", "prod/kustomization.yaml", "prod/"])
def test_an_overlay_is_read_with_its_base_wherever_that_stands(
    tmp_path: Path, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in OVERLAY.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    report = stage.check([given], runner=None, today=TODAY)
    assert report.files == 5
    assert [(item.rule, item.file) for item in report.findings] == [
        ("BED-K8S-040", "other/extra.yaml"),
        ("BED-K8S-040", "prod/type.yaml"),
    ]


CHART = {
    "Chart.yaml": "apiVersion: v2\nname: model\nversion: 1.0.0\n",
    "values.yaml": "replicas: 1\n",
    "templates/deployment.yaml": (GOOD / "k8s/deployment.yaml")
    .read_text()
    .replace("  revisionHistoryLimit: 10", "  replicas: {{ .Values.replicas }}\n  revisionHistoryLimit: 10"),
    "templates/service.yaml": (GOOD / "k8s/service.yaml").read_text(),
    "templates/tests/ask.yaml": """apiVersion: v1
kind: Pod
metadata: {name: ask, annotations: {helm.sh/hook: test}}
spec: {containers: [{name: ask, image: busybox}]}
""",
}


def test_a_chart_is_checked_as_helm_renders_it(tmp_path: Path) -> None:
    helm = shutil.which("helm")
    if helm is None:
        pytest.skip("helm is not installed")
    for name, text in CHART.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    rendered = subprocess.run([helm, "template", "x", tmp_path], capture_output=True, check=True).stdout
    report = stage.check(["-"], runner=None, today=TODAY, standard_input=rendered)
    assert {"BED-K8S-010", "BED-REF-001", "BED-REF-002"} <= set(_rules(report))
    (single,) = [item for item in report.findings if item.rule == "BED-K8S-010"]
    assert rendered.decode().splitlines()[single.line - 1] == "  replicas: 1"
    assert single.path == "model/templates/deployment.yaml"
    assert f"-:{single.line} (model/templates/deployment.yaml)  BED-K8S-010" in render(report)
    assert [item.rule for item in stage.check([str(tmp_path)], runner=None, today=TODAY).findings] == ["BED-INP-004"]


def test_a_single_file_is_not_blamed_for_what_stands_elsewhere(deployment: Path) -> None:
    assert _rules(stage.check(["icu/k8s/deployment.yaml"], runner=None, today=TODAY)) == []


def test_a_single_file_is_blamed_for_what_it_says_itself(deployment: Path) -> None:
    manifest = deployment / "k8s/deployment.yaml"
    text = manifest.read_text()
    (image,) = {line.split("@")[1] for line in text.splitlines() if line.strip().startswith("image:")}
    manifest.write_text(text.replace(f"@{image}", ":latest").replace("spec:", "spec:\n  replicas: 1", 1))
    assert {"BED-K8S-010", "BED-K8S-024"} <= set(_rules(stage.check([str(manifest)], runner=None, today=TODAY)))


def test_nothing_to_check_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    assert _rules(stage.check([str(tmp_path)], runner=None, today=TODAY)) == ["BED-INP-002"]


def test_a_path_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="does not exist"):
        stage.check(["nowhere"], runner=None, today=TODAY)


def test_a_file_that_is_no_text_or_too_large_was_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00a")
    (tmp_path / "b.yaml").write_bytes(b"# " + b"x" * MAX_BYTES)
    (tmp_path / "Dockerfile").write_bytes(b"FROM a\n" + b"# x\n" * 40_000)
    assert _rules(stage.check([str(tmp_path)], runner=None, today=TODAY)) == ["BED-INP-003"] * 3


def test_a_link_to_nowhere_and_a_loop_of_directories_end(tmp_path: Path) -> None:
    (tmp_path / "k8s").mkdir()
    (tmp_path / "k8s" / "again").symlink_to(tmp_path)
    (tmp_path / "gone.yaml").symlink_to(tmp_path / "nowhere.yaml")
    (tmp_path / "k8s" / "values.yaml").write_text("a: 1\n")
    assert _rules(stage.check([str(tmp_path)], runner=None, today=TODAY)) == []


def test_corrections_are_shown_before_they_are_written(deployment: Path) -> None:
    manifest = deployment / "k8s/deployment.yaml"
    broken = manifest.read_text().replace("  revisionHistoryLimit: 10", "  replicas: 3\n  revisionHistoryLimit: 10")
    manifest.write_text(broken)
    (change,) = stage.corrections(["icu"], today=TODAY)
    assert "-  replicas: 3" in change.diff
    assert manifest.read_text() == broken
    stage.correct([change])
    assert manifest.read_text() == (GOOD / "k8s/deployment.yaml").read_text()


def test_what_is_accepted_is_not_corrected(deployment: Path) -> None:
    manifest = deployment / "k8s/deployment.yaml"
    accepted = "  replicas: 3  # bedside: ignore BED-REF-024 until {}: the autoscaler comes with the next release\n"
    text = manifest.read_text()
    for until, corrected in (("2027-03-01", 0), ("2026-01-01", 1)):
        manifest.write_text(text.replace("  revision", accepted.format(until) + "  revision", 1))
        assert len(stage.corrections(["icu"], today=TODAY)) == corrected


def test_a_file_that_changed_meanwhile_is_not_written_over(deployment: Path) -> None:
    manifest = deployment / "k8s/deployment.yaml"
    manifest.write_text(manifest.read_text().replace("  revisionHistoryLimit: 10", "  replicas: 3"))
    changes = stage.corrections(["icu"], today=TODAY)
    manifest.write_text("somebody else's\n")
    with pytest.raises(UsageError, match="changed since"):
        stage.correct(changes)
    assert manifest.read_text() == "somebody else's\n"


def _seconds_of(directory: Path, deployments: int) -> float:
    """Seconds of CPU for so many deployments of four files each."""
    directory.mkdir()
    for number in range(deployments):
        for kind in ("deployment", "service", "ingress", "budget"):
            text = (GOOD / f"k8s/{kind}.yaml").read_text().replace("icu-mortality", f"icu-{number}")
            (directory / f"{kind}-{number}.yaml").write_text(text)
    started = time.process_time()
    assert stage.check([str(directory)], runner=None, today=TODAY).files == 4 * deployments
    return time.process_time() - started


def test_a_repository_of_four_times_the_files_takes_about_four_times_as_long(tmp_path: Path) -> None:
    _seconds_of(tmp_path / "once", 1)  # schemas are loaded
    few = _seconds_of(tmp_path / "few", 40)
    assert _seconds_of(tmp_path / "many", 160) < 8 * few


def test_what_is_wrong_with_bedside_toml_is_found_too(tmp_path: Path) -> None:
    (tmp_path / "bedside.toml").write_text("schema = 1\n[model]\nname = 'Not A Name'\n")
    report = stage.check([str(tmp_path)], runner=None, today=TODAY)
    assert report.findings
    assert all(item.rule.startswith("BED-SPEC-") for item in report.findings)
    assert {item.file for item in report.findings} == {str(tmp_path / "bedside.toml")}


def test_an_environment_of_any_name_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "env-3" / "lib").mkdir(parents=True)
    (tmp_path / "env-3" / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (tmp_path / "env-3" / "lib" / "broken.py").write_text("def (:\n")
    (tmp_path / "values.yaml").write_text("a: 1\n")
    report = stage.check([str(tmp_path)], runner=None, today=TODAY)
    assert (report.files, _rules(report)) == (1, [])

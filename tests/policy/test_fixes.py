"""The mechanical corrections: each removes its finding and brings no other."""

from collections.abc import Mapping

import pytest
from tests.policy.deployments_of_cases import Case, cases, fired, good, patched

from bedside.policy import drawing, fixes
from bedside.policy.place import SourceFile

BASE = good()
INGRESS_BY_ANNOTATION = "the class by annotation"
BY_NAME = {(case.about, case.name): case for case in cases()}
CORRECTED = [
    BY_NAME["BED-REF-024", "replicas stand beside the autoscaler"],
    BY_NAME["BED-IMG-010", "the server runs under a shell"],
    BY_NAME["BED-IMG-011", "a health check that nobody reads"],
    BY_NAME["BED-POD-013", "escalation is not ruled out"],
    BY_NAME["BED-POD-013", "escalation is allowed"],
    BY_NAME["BED-K8S-002", "a token is mounted"],
    BY_NAME["BED-K8S-002", "neither pod nor account refuses the token"],
    BY_NAME["BED-K8S-032", INGRESS_BY_ANNOTATION],
    BY_NAME["BED-APP-001", "the status stays in the body"],
    BY_NAME["BED-CI-003", "no permissions anywhere"],
]


def _corrected(files: Mapping[str, str]) -> dict[str, str]:
    seen = drawing.draw([SourceFile(path, text.encode()) for path, text in files.items()], names=files)
    found = fixes.edits(seen, files)
    return {
        path: fixes.apply(text, [edit for edits in found.values() for edit in edits if edit.file == path])
        for path, text in files.items()
    }


def test_what_is_right_is_left_as_it_is() -> None:
    assert _corrected(BASE) == BASE


@pytest.mark.parametrize("case", CORRECTED, ids=lambda case: f"{case.about}: {case.name}")
def test_a_correction_removes_the_finding_and_brings_no_other(case: Case) -> None:
    broken = patched(BASE, case)
    assert case.about in fired(broken)
    assert fired(_corrected(broken)) == {}


def test_a_second_correction_changes_nothing() -> None:
    for case in CORRECTED:
        once = _corrected(patched(BASE, case))
        assert _corrected(once) == once


def test_every_rule_with_a_correction_is_tried() -> None:
    assert set(fixes.FIXES) - {"BED-APP-010"} == {case.about for case in CORRECTED}


def test_open_documentation_is_closed_on_the_line_of_the_call() -> None:
    code = 'from fastapi import FastAPI\n\napp = FastAPI(title="é")\n'
    assert _corrected({"main.py": code})["main.py"] == (
        'from fastapi import FastAPI\n\napp = FastAPI(title="é", docs_url=None, redoc_url=None, openapi_url=None)\n'
    )


def test_a_shell_form_that_needs_its_shell_is_left() -> None:
    text = "FROM scratch\nCMD uvicorn app:app --port $PORT\n"
    assert _corrected({"Dockerfile": text})["Dockerfile"] == text


LEFT = {
    "the number stands in a kustomization": (
        {
            "k8s/kustomization.yaml": (
                "  - deployment.yaml\n",
                "  - deployment.yaml\nreplicas:\n  - name: icu-mortality\n    count: 3\n",
            )
        },
        "BED-REF-024",
    ),
    "the number is written in another form": (
        {"k8s/deployment.yaml": ("  revisionHistoryLimit: 10\n", "  ? replicas\n  : 3\n")},
        "BED-REF-024",
    ),
    "a privileged container escalates whatever else it says": (
        {"k8s/deployment.yaml": ("            allowPrivilegeEscalation: false\n", "            privileged: true\n")},
        "BED-POD-013",
    ),
    "the return shares its line": (
        {
            "app/main.py": (
                '@app.get("/livez")',
                '@app.get("/x")\ndef x(bad: bool):\n    if bad: return {"bad": 1}, 503\n\n\n@app.get("/livez")',
            )
        },
        "BED-APP-001",
    ),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_has_no_one_right_answer_is_left(name: str) -> None:
    changes, rule = LEFT[name]
    broken = dict(BASE)
    for path, (old, new) in changes.items():
        assert old in broken[path]
        broken[path] = broken[path].replace(old, new, 1)
    assert rule in fired(broken)
    assert _corrected(broken) == broken


def test_a_diff_names_the_file_and_shows_both_sides() -> None:
    assert fixes.diff("a\nb\n", "a\nc\n", "x.yaml") == "--- a/x.yaml\n+++ b/x.yaml\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n"
    assert fixes.diff("a\n", "b\n", "/srv/x.yaml").startswith("--- a/srv/x.yaml\n+++ b/srv/x.yaml\n")

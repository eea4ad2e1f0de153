import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bedside import spec
from bedside.errors import SpecInvalid, UsageError
from bedside_runtime.contract import Auth, Band, Serve

GOOD = """\
schema = 1

[model]
name = "icu"
version = "1.0.0"
title = "A model"
framework = "sklearn"
artifact = "m.joblib"
card = "card.json"

[environment]
python = "3.11"
requirements = "requirements.in"

[[inputs]]
name = "temperature"
type = "number"
unit = "Cel"
valid = [25, 45]
expected = [34, 41]

[[inputs]]
name = "ward"
type = "category"
categories = ["A", "B"]

[output]
name = "mortality"
type = "probability"
positive = 1
bands = [{ name = "low", below = 0.1 }, { name = "high" }]

[golden]
cases = "golden.jsonl"

[serve.auth]
methods = ["api-key"]
"""
JWT = '\n[serve.auth.jwt]\nissuer = "https://login.example.org"\naudience = "icu"\n'
CASE = {"id": "one", "inputs": {"temperature": 37.0, "ward": "A"}, "expected": 0.2}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "bedside.toml").write_text(GOOD)
    (tmp_path / "m.joblib").write_bytes(b"model")
    (tmp_path / "card.json").write_text("{}")
    (tmp_path / "requirements.in").write_text("# ours\nscikit-learn==1.9.1  # pinned\n")
    (tmp_path / "golden.jsonl").write_text(json.dumps(CASE) + "\n")
    return tmp_path


def problems(project: Path, old: str = "", new: str = "") -> list[tuple[str, str, int]]:
    text = (project / "bedside.toml").read_text()
    assert old in text
    (project / "bedside.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(SpecInvalid) as refused:
        spec.load(project)
    assert all(finding.remedy for finding in refused.value.findings)
    return [(item.rule, item.path, item.line) for item in refused.value.findings]


def test_a_good_file_is_resolved(project: Path) -> None:
    loaded = spec.load(project)
    assert loaded.root == project.resolve()
    assert loaded.model.artifact == project.resolve() / "m.joblib"
    assert loaded.inputs[0].conversions["[degF]"].apply(98.6) == 37.0
    assert loaded.output.bands == (Band(name="low", below=0.1), Band(name="high"))
    assert loaded.golden.tolerance == 1e-9
    assert loaded.serve == Serve(auth=Auth(methods=("api-key",)))
    assert loaded.notes == ()


def test_the_file_itself_may_be_named(project: Path) -> None:
    assert spec.load(project / "bedside.toml") == spec.load(project)


def test_a_folder_without_the_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        spec.load(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('name = "icu"', 'name = "ICU Mortality"', ("BED-SPEC-010", "model.name", 4)),
        ('name = "icu"', f'name = "{"a" * 64}"', ("BED-SPEC-010", "model.name", 4)),
        ('version = "1.0.0"', 'version = "1.0"', ("BED-SPEC-011", "model.version", 5)),
        ('version = "1.0.0"', 'version = "1.0.0+build"', ("BED-SPEC-011", "model.version", 5)),
        ('version = "1.0.0"', "version = 1.0", ("BED-SPEC-005", "model.version", 5)),
        ('title = "A model"\n', "", ("BED-SPEC-002", "model.title", 3)),
        ('"sklearn"', '"scikit-learn"', ("BED-SPEC-004", "model.framework", 7)),
        ('"sklearn"', '"torch"', ("BED-SPEC-006", "model.framework", 7)),
        ('"m.joblib"', '"s3://bucket/m.joblib"', ("BED-SPEC-048", "model.artifact", 8)),
        ('"m.joblib"', f'"https://bucket/m.joblib"\nsha256 = "{"0" * 64}"', ("BED-SPEC-048", "model.artifact", 8)),
        ('"m.joblib"', f'"s3://KEY:SECRET@bucket/m"\nsha256 = "{"0" * 64}"', ("BED-SPEC-048", "model.artifact", 8)),
        ('"m.joblib"', '"s3://bucket/m.joblib"\nsha256 = "12"', ("BED-SPEC-005", "model.sha256", 9)),
        ('"m.joblib"', f'"m.joblib"\nsha256 = "{"0" * 64}"', ("BED-SPEC-048", "model.sha256", 9)),
        ('"m.joblib"', '"missing.joblib"', ("BED-SPEC-042", "model.artifact", 8)),
        ('"m.joblib"', '"."', ("BED-SPEC-041", "model.artifact", 8)),
        ('"m.joblib"', '"../m.joblib"', ("BED-SPEC-040", "model.artifact", 8)),
        ('"m.joblib"', '"/etc/hosts"', ("BED-SPEC-040", "model.artifact", 8)),
        ('"m.joblib"', '"m\\u0000.joblib"', ("BED-SPEC-044", "model.artifact", 8)),
        ('card = "card.json"', 'card = "m.joblib"', ("BED-SPEC-045", "model.card", 9)),
        ('card = "card.json"', 'card = "card.json"\ncode = ["os.py"]', ("BED-SPEC-042", "model.code[0]", 10)),
        ('card = "card.json"', 'card = "card.json"\nworkers = 4', ("BED-SPEC-003", "model.workers", 10)),
        ('python = "3.11"', 'python = "3.9"', ("BED-SPEC-012", "environment.python", 12)),
        ('python = "3.11"', 'python = "3.11.4"', ("BED-SPEC-012", "environment.python", 12)),
        ('"requirements.in"', '"golden.jsonl"', ("BED-SPEC-047", "environment.requirements", 13)),
        ('python = "3.11"', 'python = "3.11"\naccelerator = "tpu"', ("BED-SPEC-004", "environment.accelerator", 13)),
        ('name = "temperature"', 'name = "ward"', ("BED-SPEC-020", "inputs[0].name", 16)),
        ('name = "temperature"', 'name = "1st"', ("BED-SPEC-021", "inputs[0].name", 16)),
        ('type = "number"', 'type = "image"', ("BED-SPEC-006", "inputs[0].type", 17)),
        ('type = "number"', 'type = "boolean"', ("BED-SPEC-022", "inputs[0].valid", 19)),
        ('unit = "Cel"', 'unit = "celsius"', ("BED-SPEC-025", "inputs[0].unit", 18)),
        ("valid = [25, 45]", "valid = [45, 25]", ("BED-SPEC-022", "inputs[0].valid", 19)),
        ("valid = [25, 45]", "valid = [25, inf]", ("BED-SPEC-005", "inputs[0].valid[1]", 19)),
        ("valid = [25, 45]", "valid = [25]", ("BED-SPEC-002", "inputs[0].valid[1]", 19)),
        ("expected = [34, 41]", "expected = [24, 41]", ("BED-SPEC-023", "inputs[0].expected", 20)),
        ('categories = ["A", "B"]', "", ("BED-SPEC-024", "inputs[1].categories", 22)),
        ('categories = ["A", "B"]', 'categories = ["A", "A"]', ("BED-SPEC-024", "inputs[1].categories", 25)),
        ('categories = ["A", "B"]', 'categories = ["A", "B"]\ncode = "8480-6"', ("BED-SPEC-026", "inputs[1].code", 26)),
        ('categories = ["A", "B"]', 'categories = ["A", "B"]\nunit = "kg"', ("BED-SPEC-025", "inputs[1].unit", 26)),
        ("positive = 1\n", "", ("BED-SPEC-030", "output.positive", 27)),
        ('type = "probability"', 'type = "segmentation"', ("BED-SPEC-006", "output.type", 29)),
        ("positive = 1", 'positive = 1\nunit = "d"', ("BED-SPEC-031", "output.unit", 31)),
        ('{ name = "high" }', '{ name = "low" }', ("BED-SPEC-032", "output.bands", 31)),
        ('{ name = "high" }', '{ name = "high", below = 1 }', ("BED-SPEC-033", "output.bands", 31)),
        ("below = 0.1", "below = 1.5", ("BED-SPEC-033", "output.bands", 31)),
        ('cases = "golden.jsonl"', 'cases = "golden.jsonl"\ntolerance = -1', ("BED-SPEC-005", "golden.tolerance", 35)),
        ('cases = "golden.jsonl"', 'cases = "golden.jsonl"\ntolerance = nan', ("BED-SPEC-005", "golden.tolerance", 35)),
        ('cases = "golden.jsonl"', 'cases = "card.json"', ("BED-SPEC-050", "golden.cases", 34)),
        ("schema = 1", "schema = 2", ("BED-SPEC-002", "schema", 1)),
        ("schema = 1", 'schema = 1\n[audit]\npayload = "clear"', ("BED-SPEC-004", "audit.payload", 3)),
        ("schema = 1", 'schema = 1\n[audit]\non_failure = "ignore"', ("BED-SPEC-004", "audit.on_failure", 3)),
        ("schema = 1", "schema = 1\n[deploy]", ("BED-SPEC-060", "deploy", 2)),
        ("schema = 1", "schema = 1\n[serv]", ("BED-SPEC-003", "serv", 2)),
        ("schema = 1", "schema = 1\n[serve]\nworkers = 0", ("BED-SPEC-005", "serve.workers", 3)),
        ("schema = 1", 'schema = 1\n[serve]\nengine = "fast"', ("BED-SPEC-004", "serve.engine", 3)),
        ("schema = 1", "schema = 1\nmodel.x = 1", ("BED-SPEC-001", "", 0)),
    ],
)
def test_each_mistake_is_named_with_its_place(
    project: Path, old: str, new: str, expected: tuple[str, str, int]
) -> None:
    assert expected in problems(project, old, new)


@pytest.mark.parametrize(
    ("file", "data", "rule"),
    [
        ("m.joblib", b"", "BED-SPEC-043"),
        ("card.json", b"[]", "BED-SPEC-045"),
        ("card.json", b"{", "BED-SPEC-045"),
        ("requirements.in", b"--index-url https://example.org\nx==1\n", "BED-SPEC-047"),
        ("requirements.in", b"x @ https://example.org/x.whl\n", "BED-SPEC-047"),
        ("requirements.in", b"not a requirement !!\n", "BED-SPEC-047"),
        ("requirements.in", b"\xff\n", "BED-SPEC-047"),
        ("golden.jsonl", b'{"id": "a", "inputs": {"temperature": 37, "ward": "A"}}\n', "BED-SPEC-050"),
        ("golden.jsonl", b'{"id": "a", "inputs": {"pulse": 1}, "expected": 0.1}\n', "BED-SPEC-050"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_named(project: Path, file: str, data: bytes, rule: str) -> None:
    (project / file).write_bytes(data)
    assert {item[0] for item in problems(project)} == {rule}


def test_a_link_out_of_the_project_is_refused(project: Path) -> None:
    (project / "m.joblib").unlink()
    (project / "m.joblib").symlink_to("/etc/hosts")
    assert problems(project) == [("BED-SPEC-040", "model.artifact", 8)]


@pytest.mark.parametrize("name", ["json.py", "prepare.txt", "not-a-module.py"])
def test_code_that_cannot_be_imported_under_its_own_name_is_refused(project: Path, name: str) -> None:
    (project / name).write_text("x = 1\n")
    found = problems(project, 'card = "card.json"', f'card = "card.json"\ncode = ["{name}"]')
    assert found == [("BED-SPEC-046", "model.code[0]", 10)]


def test_code_with_a_syntax_error_is_refused(project: Path) -> None:
    (project / "prepare.py").write_text("def f(:\n")
    found = problems(project, 'card = "card.json"', 'card = "card.json"\ncode = ["prepare.py"]')
    assert found == [("BED-SPEC-046", "model.code[0]", 10)]


def test_all_problems_are_reported_at_once(project: Path) -> None:
    text = GOOD.replace('"1.0.0"', '"one"').replace('"Cel"', '"C elsius"').replace("positive = 1\n", "")
    text = text.replace('"m.joblib"', '"gone"').replace('title = "A model"', 'tittle = "A model"')
    (project / "bedside.toml").write_text(text)
    found = {(rule, path) for rule, path, _ in problems(project)}
    assert found == {
        ("BED-SPEC-002", "model.title"),
        ("BED-SPEC-003", "model.tittle"),
        ("BED-SPEC-025", "inputs[0].unit"),
        ("BED-SPEC-030", "output.positive"),
        ("BED-SPEC-042", "model.artifact"),
    }


def test_a_wrong_word_suggests_the_nearest(project: Path) -> None:
    text = GOOD.replace('type = "category"', 'type = "categroy"').replace("expected =", "expcted =")
    (project / "bedside.toml").write_text(text)
    with pytest.raises(SpecInvalid) as refused:
        spec.load(project)
    remedies = {item.path: item.remedy for item in refused.value.findings}
    assert remedies["inputs[1].type"] == "Did you mean 'category'?"
    assert remedies["inputs[0].expcted"] == "Did you mean 'expected'?"


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        ("methods = []", ("BED-SPEC-005", "serve.auth.methods")),
        ('methods = ["basic"]', ("BED-SPEC-004", "serve.auth.methods[0]")),
        ('methods = ["none", "api-key"]', ("BED-SPEC-070", "serve.auth.methods")),
        ('methods = ["api-key", "api-key"]', ("BED-SPEC-070", "serve.auth.methods")),
        ('methods = ["none"]\nacknowledged = "yes"', ("BED-SPEC-004", "serve.auth.acknowledged")),
        ('methods = ["api-key"]\nacknowledged = "mesh terminates it"', ("BED-SPEC-071", "serve.auth.acknowledged")),
        ('method = ["api-key"]', ("BED-SPEC-003", "serve.auth.method")),
        ('methods = ["mtls"]', ("BED-SPEC-075", "serve.auth.methods")),
        ('methods = ["mtls"]\n[serve.tls]\nminimum = "1.1"', ("BED-SPEC-004", "serve.tls.minimum")),
        ('methods = ["jwt"]', ("BED-SPEC-073", "serve.auth")),
        ('methods = ["api-key"]' + JWT, ("BED-SPEC-073", "serve.auth.jwt")),
        ('methods = ["jwt"]' + JWT.replace("issuer", "isuer"), ("BED-SPEC-003", "serve.auth.jwt.isuer")),
        ('methods = ["jwt"]' + JWT.replace('"icu"', '""'), ("BED-SPEC-005", "serve.auth.jwt.audience")),
        ('methods = ["jwt"]' + JWT + 'jwks = "http://login"', ("BED-SPEC-005", "serve.auth.jwt.jwks")),
        ('methods = ["jwt"]' + JWT + 'jwks = "https://u:p@login/"', ("BED-SPEC-005", "serve.auth.jwt.jwks")),
        ('methods = ["jwt"]' + JWT + 'jwks = "file:///keys"', ("BED-SPEC-005", "serve.auth.jwt.jwks")),
        ('methods = ["jwt"]' + JWT + 'algorithms = ["HS256"]', ("BED-SPEC-004", "serve.auth.jwt.algorithms[0]")),
        ('methods = ["jwt"]' + JWT + 'algorithms = ["none"]', ("BED-SPEC-004", "serve.auth.jwt.algorithms[0]")),
        ('methods = ["jwt"]' + JWT + "algorithms = []", ("BED-SPEC-005", "serve.auth.jwt.algorithms")),
        ('methods = ["jwt"]' + JWT + "skew_seconds = 3600", ("BED-SPEC-005", "serve.auth.jwt.skew_seconds")),
        ('methods = ["jwt"]' + JWT + "stale_seconds = 10", ("BED-SPEC-074", "serve.auth.jwt.stale_seconds")),
        ('methods = ["jwt"]' + JWT + "scopes = ['a b']", ("BED-SPEC-074", "serve.auth.jwt.scopes")),
    ],
)
def test_a_mistake_about_who_may_ask_is_never_taken_for_nobody(
    project: Path, auth: str, expected: tuple[str, str]
) -> None:
    (project / "bedside.toml").write_text(GOOD.replace('methods = ["api-key"]', auth))
    with pytest.raises(SpecInvalid) as refused:
        spec.load(project)
    assert expected in [(item.rule, item.path) for item in refused.value.findings]
    assert all(item.remedy for item in refused.value.findings)


def test_whose_tokens_are_believed_is_resolved(project: Path) -> None:
    auth = 'methods = ["jwt"]' + JWT + 'jwks = "https://login.example.org/keys"\nscopes = ["predict"]\n'
    (project / "bedside.toml").write_text(GOOD.replace('methods = ["api-key"]', auth))
    jwt = spec.load(project).serve.auth.jwt
    assert jwt is not None
    assert (jwt.jwks, jwt.scopes) == ("https://login.example.org/keys", ("predict",))
    assert jwt.algorithms == ("RS256", "PS256", "ES256", "EdDSA")


def test_that_nobody_authenticates_is_noted_unless_it_is_acknowledged(project: Path) -> None:
    without = GOOD.partition("\n[serve.auth]")[0]
    (project / "bedside.toml").write_text(without)
    assert [note.rule for note in spec.load(project).notes] == ["BED-SPEC-072"]
    (project / "bedside.toml").write_text(without + '\n[serve.auth]\nacknowledged = "mesh terminates it"\n')
    assert spec.load(project).notes == ()


def test_that_patients_may_be_answered_without_a_record_is_noted(project: Path) -> None:
    for chosen, noted in (('"answer-and-alarm"', ["BED-SPEC-053"]), ('"refuse"', [])):
        (project / "bedside.toml").write_text(f"{GOOD}\n[audit]\non_failure = {chosen}\n")
        assert [note.rule for note in spec.load(project).notes] == noted


def test_a_tolerance_as_wide_as_a_band_is_noted(project: Path) -> None:
    text = GOOD.replace('{ name = "high" }', '{ name = "mid", below = 0.11 }, { name = "high" }')
    text = text.replace('cases = "golden.jsonl"', 'cases = "golden.jsonl"\ntolerance = 0.02')
    (project / "bedside.toml").write_text(text)
    assert [note.rule for note in spec.load(project).notes] == ["BED-SPEC-051"]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_end_in_findings(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "bedside.toml").write_bytes(data)
    with pytest.raises(SpecInvalid):
        spec.load(tmp_path)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, len(GOOD) - 1), with_=st.text(max_size=6))
def test_a_good_file_with_a_piece_replaced_is_read_or_refused(project: Path, place: int, with_: str) -> None:
    (project / "bedside.toml").write_bytes((GOOD[:place] + with_ + GOOD[place + 3 :]).encode("utf-8", "surrogatepass"))
    with contextlib.suppress(SpecInvalid):
        spec.load(project)

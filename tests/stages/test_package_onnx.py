"""Packaging with ONNX Runtime as the engine: converted, proven, served; or refused, and nothing in dist/."""

import json
import shutil
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from xgboost import XGBClassifier

from bedside.cli.main import run
from bedside_runtime.contract import Converted, decode

pytestmark = pytest.mark.package

SPEC = """
schema = 1

[model]
name      = "sepsis"
version   = "1.0.0"
title     = "A test model"
framework = "sklearn"
artifact  = "m.joblib"
card      = "model_card.json"

[environment]
python       = "3.11"
requirements = "requirements.in"

[[inputs]]
name     = "lactate"
type     = "number"
unit     = "mmol/L"
valid    = [0, 30]
expected = [0.5, 4]
missing  = "allow"

[[inputs]]
name     = "systolic"
type     = "number"
unit     = "mm[Hg]"
valid    = [20, 300]
expected = [70, 220]

[output]
name     = "mortality"
type     = "probability"
positive = 1
bands    = [{ name = "low", below = 0.2 }, { name = "high" }]

[golden]
cases     = "golden.jsonl"
tolerance = 1e-6

[serve]
engine = "onnx"
"""
REQUIREMENTS = "joblib==1.6.0\nnumpy==2.4.6\nscikit-learn==1.9.1\nxgboost-cpu==3.2.0\nonnxruntime==1.32.0\n"
PATIENT = {"lactate": 3.3, "systolic": 97.0}


def written(project: Path, model: Any, spec: str = SPEC, requirements: str = REQUIREMENTS) -> float:
    """Write a project around ``model``, fitted here, and return what it answers the patient itself."""
    draw = np.random.default_rng(3)
    table = np.column_stack([draw.gamma(2, 2, 400), draw.normal(120, 25, 400)])
    model.fit(table, (table[:, 0] * 20 - table[:, 1] + draw.normal(0, 30, 400) > -40).astype(int))
    project.mkdir()
    joblib.dump(model, project / "m.joblib")
    cases = [
        {"id": f"c{number}", "inputs": dict(zip(PATIENT, row, strict=True)), "expected": _answer(model, row)}
        for number, row in enumerate(table[:20].tolist())
    ]
    (project / "golden.jsonl").write_text("".join(json.dumps(case) + "\n" for case in cases))
    (project / "model_card.json").write_text('{"name": "sepsis"}')
    (project / "bedside.toml").write_text(spec)
    (project / "requirements.in").write_text(requirements)
    return _answer(model, list(PATIENT.values()))


def _answer(model: Any, row: list[float]) -> float:
    return float(model.predict_proba(np.array([row]))[0, 1])


def refused(project: Path, capsys: pytest.CaptureFixture[str], exit_code: int) -> str:
    assert run(["package", str(project)]) == exit_code
    assert not (project / "dist").exists()
    return capsys.readouterr().err


def booster() -> Any:
    return XGBClassifier(n_estimators=20, max_depth=3)


def test_a_converted_booster_is_proven_the_same_twice_served_and_held_to_its_digest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = written(tmp_path / "one", booster())
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    assert run(["package", str(tmp_path / "one")]) == 0
    assert "engine: onnx" in capsys.readouterr().err
    assert run(["package", str(tmp_path / "two")]) == 0
    releases = [tmp_path / name / "dist" / "sepsis-1.0.0" for name in ("one", "two")]
    first, second = [(release / "contract.json").read_bytes() for release in releases]
    assert first == second
    engine = decode(first).engine
    assert (engine.name, isinstance(engine.converted, Converted)) == ("onnx", True)
    assert engine.proof is not None
    assert engine.proof.inputs > 10_000
    assert engine.proof.borders > 0
    assert 0 < engine.proof.largest_difference <= 1e-6
    assert "engine/model.onnx" in {file.path for file in decode(first).files}
    (tmp_path / "p.json").write_text(json.dumps(PATIENT))
    capsys.readouterr()
    assert run(["predict", str(releases[0]), str(tmp_path / "p.json")]) == 0
    answered = json.loads(capsys.readouterr().out)
    assert answered["value"] == pytest.approx(expected, abs=1e-6, rel=0)
    graph = releases[0] / "engine" / "model.onnx"
    data = bytearray(graph.read_bytes())
    data[len(data) // 2] ^= 1
    graph.write_bytes(data)
    assert run(["verify", str(releases[0])]) == 3
    assert "engine/model.onnx" in capsys.readouterr().err
    assert run(["predict", str(releases[0]), str(tmp_path / "p.json")]) == 3


def test_a_model_without_a_conversion_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path / "p", HistGradientBoostingClassifier(max_iter=5))
    said = refused(tmp_path / "p", capsys, 1)
    assert "the engine onnx cannot compute this model: skl2onnx cannot convert it" in said
    assert 'remedy: Write engine = "auto"' in said


def test_single_precision_beyond_the_study_s_tolerance_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path / "p", booster(), SPEC.replace("1e-6", "1e-9"))
    said = refused(tmp_path / "p", capsys, 1)
    assert "the engine onnx does not answer as the model" in said
    assert "single precision" in said


def test_a_lock_without_onnx_runtime_is_refused_before_anything_is_installed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path / "p", booster(), requirements=REQUIREMENTS.replace("onnxruntime==1.32.0\n", ""))
    said = refused(tmp_path / "p", capsys, 2)
    assert "nothing that requirements.in resolves to is ONNX Runtime" in said
    assert "remedy: Add onnxruntime to requirements.in" in said
    assert "making a fresh environment" not in said

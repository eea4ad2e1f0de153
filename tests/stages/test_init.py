"""`bedside init` and the way from it to a release."""

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from bedside.cli.main import run

pytestmark = pytest.mark.package
ICU = Path(__file__).parents[2] / "examples" / "icu-mortality"


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    found = importlib.util.spec_from_file_location("train_icu", ICU / "train.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    rows, died = module.cohort()
    rows.assign(died=died, name="Jane Canary").to_csv(tmp_path / "cohort.csv", index=False)
    return tmp_path / "cohort.csv"


def init(directory: Path, model: Path, cohort: Path, target: str = "died") -> int:
    return run(["init", str(directory), "--from", str(model), "--data", str(cohort), "--target", target])


def test_a_project_from_a_model_and_its_cohort_can_be_packaged(tmp_path: Path, cohort: Path, capsys: Any) -> None:
    project = tmp_path / "My Model"
    assert init(project, ICU / "model" / "icu.joblib", cohort) == 0
    said = capsys.readouterr().err
    assert "25 rows of the cohort were copied" in said
    assert "questions are left open" in said
    text = (project / "bedside.toml").read_text()
    assert 'name      = "my-model"' in text
    assert "OPEN QUESTION: in which UCUM unit" in text
    assert "scikit-learn==" in (project / "requirements.in").read_text()
    cases = [json.loads(line) for line in (project / "golden.jsonl").read_text().splitlines()]
    assert {case["inputs"]["consciousness"] for case in cases} == {"None", "Stupor", "Coma"}
    assert "Canary" not in "".join(path.read_text(errors="replace") for path in project.rglob("*") if path.is_file())
    assert run(["package", str(project)]) == 0
    assert "questions are left open" in capsys.readouterr().err
    assert (project / "dist" / "my-model-1.0.0" / "contract.json").is_file()


@pytest.mark.parametrize(
    ("change", "target", "said"),
    [
        (lambda text: text, "survived", "no column 'survived'"),
        (lambda text: text.replace("systolic", "bp", 1), "died", "'systolic', which the model needs"),
        (lambda text: text.replace("Emergency", "2026-11-23"), "died", "holds dates"),
        (lambda _: "", "died", "no rows"),
    ],
)
def test_a_cohort_that_cannot_be_used_leaves_no_project(
    tmp_path: Path, cohort: Path, capsys: Any, change: Any, target: str, said: str
) -> None:
    cohort.write_text(change(cohort.read_text()))
    assert init(tmp_path / "new", ICU / "model" / "icu.joblib", cohort, target) == 2
    assert said in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cohort.csv"]


def test_a_directory_that_is_taken_is_left_alone(tmp_path: Path, cohort: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").write_text("x")
    assert init(tmp_path / "taken", ICU / "model" / "icu.joblib", cohort) == 2
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["mine"]


def test_a_file_that_is_no_model_is_refused(tmp_path: Path, cohort: Path) -> None:
    shutil.copyfile(ICU / "model_card.json", tmp_path / "model.joblib")
    assert init(tmp_path / "new", tmp_path / "model.joblib", cohort) != 0
    assert not (tmp_path / "new").exists()

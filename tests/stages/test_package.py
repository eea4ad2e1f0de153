"""Packaging, as the command line does it: a proven release, or a clear refusal and nothing in dist/."""

import json
import os
import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from bedside import wiring
from bedside.cli.main import run
from bedside.stages.package import package
from bedside_runtime.contract import decode

pytestmark = pytest.mark.package
ICU = Path(__file__).parents[2] / "examples" / "icu-mortality"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    target = tmp_path / "icu"
    shutil.copytree(ICU, target, ignore=shutil.ignore_patterns("dist", "__pycache__"))
    return target


def refused(project: Path, capsys: pytest.CaptureFixture[str], exit_code: int) -> str:
    """Package, insist on the refusal's exit code, and on nothing being left behind."""
    assert run(["package", str(project)]) == exit_code
    assert not (project / "dist").exists()
    said = capsys.readouterr()
    assert said.out == ""
    assert "remedy:" in said.err
    return said.err


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def replace_model(project: Path, change: Any) -> None:
    path = project / "model" / "icu.joblib"
    model = joblib.load(path)
    change(model)
    joblib.dump(model, path)


def test_a_release_holds_what_its_contract_names_and_is_the_same_twice(project: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "copy"
    shutil.copytree(project, other)
    assert run(["package", str(project)]) == 0
    assert run(["package", str(other)]) == 0
    releases = [place / "dist" / "icu-mortality-1.0.0" for place in (project, other)]
    contracts = [(release / "contract.json").read_bytes() for release in releases]
    assert contracts[0] == contracts[1]
    contract = decode(contracts[0])
    on_disk = {str(path.relative_to(releases[0])) for path in releases[0].rglob("*") if path.is_file()}
    assert on_disk == {file.path for file in contract.files} | {"contract.json", "measurements.json"}
    assert contract.environment.distributions["bedside-runtime"]
    assert str(tmp_path).encode() not in contracts[0]
    assert b"://" not in (releases[0] / "requirements.lock").read_bytes()
    assert run(["verify", str(releases[0])]) == 0
    assert run(["verify", str(releases[0]), "--digest", "0" * 64]) == 3


TRANSFORM = """
import pandas as pd


def transform(rows):
    return pd.DataFrame(rows).astype({"heart_rate": "float64"}).rename(columns={"sbp": "systolic"})
"""


def test_an_author_s_own_transform_is_part_of_the_release(project: Path) -> None:
    edit(project / "bedside.toml", 'name        = "systolic"', 'name        = "sbp"')
    edit(project / "bedside.toml", '"model_card.json"', '"model_card.json"\ncode = ["preprocessing.py"]')
    (project / "golden.jsonl").write_text((project / "golden.jsonl").read_text().replace('"systolic"', '"sbp"'))
    (project / "preprocessing.py").write_text(TRANSFORM)
    assert run(["package", str(project)]) == 0
    release = project / "dist" / "icu-mortality-1.0.0"
    contract = decode((release / "contract.json").read_bytes())
    assert (contract.model.layout, contract.model.code) == ("code", ("code/preprocessing.py",))
    (release / "code" / "preprocessing.py").write_text(TRANSFORM + "# changed\n")
    assert run(["verify", str(release)]) == 3


def test_a_golden_case_that_differs_names_case_expected_and_got(project: Path, capsys: Any) -> None:
    cases = [json.loads(line) for line in (project / "golden.jsonl").read_text().splitlines()]
    right = cases[3]["expected"]
    cases[3]["expected"] = right + 1e-6
    (project / "golden.jsonl").write_text("".join(json.dumps(case) + "\n" for case in cases))
    said = refused(project, capsys, 3)
    assert f"{cases[3]['id']}: expected {right + 1e-6!r}" in said
    assert f"got {right!r}" in said


def test_a_model_that_answers_nan_is_refused(project: Path, capsys: Any) -> None:
    def poison(model: Any) -> None:
        model.named_steps["logistic"].intercept_ = np.array([np.nan])

    replace_model(project, poison)
    assert "NaN" in refused(project, capsys, 3)


def test_a_pickle_that_reaches_for_os_system_is_refused_before_anything_runs(project: Path, capsys: Any) -> None:
    canary = project / "canary"

    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.system, (f"touch {canary}",)

    (project / "model" / "icu.joblib").write_bytes(pickle.dumps(Evil()))
    assert "system" in refused(project, capsys, 3)
    assert not canary.exists()


def test_a_model_of_another_library_version_is_refused_with_both(project: Path, capsys: Any) -> None:
    edit(project / "requirements.in", "scikit-learn==1.9.1", "scikit-learn==1.8.0")
    said = refused(project, capsys, 3)
    assert "1.9.1" in said
    assert "1.8.0" in said


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name        = "heart_rate"', 'name        = "pulse"', ["heart_rate", "pulse"]),
        ("positive = 1", "positive = 7", ["7"]),
        ('type     = "probability"\npositive = 1', 'type     = "value"', []),
    ],
)
def test_inputs_and_output_that_are_not_the_model_s_are_refused(
    project: Path, capsys: Any, old: str, new: str, said: Sequence[str]
) -> None:
    edit(project / "bedside.toml", old, new)
    for path in [project / "golden.jsonl"]:
        path.write_text(path.read_text().replace('"heart_rate"', '"pulse"') if "pulse" in new else path.read_text())
    told = refused(project, capsys, 2)
    assert all(word in told for word in said)


def test_a_requirement_without_a_wheel_is_refused(project: Path, capsys: Any) -> None:
    (project / "requirements.in").write_text("pysam==0.8.0\n")
    assert "pysam" in refused(project, capsys, 2)


def test_a_damaged_model_file_is_refused(project: Path, capsys: Any) -> None:
    path = project / "model" / "icu.joblib"
    path.write_bytes(path.read_bytes()[:2000])
    refused(project, capsys, 2)


def test_a_version_stands_for_one_digest(project: Path, capsys: Any) -> None:
    assert run(["package", str(project)]) == 0
    before = (project / "dist" / "icu-mortality-1.0.0" / "contract.json").read_bytes()
    edit(project / "bedside.toml", "tolerance = 1e-9", "tolerance = 1e-8")
    assert run(["package", str(project)]) == 1
    assert "Raise [model] version" in capsys.readouterr().err
    assert (project / "dist" / "icu-mortality-1.0.0" / "contract.json").read_bytes() == before
    assert [path.name for path in (project / "dist").iterdir()] == ["icu-mortality-1.0.0"]


def test_an_interruption_leaves_nothing_half_written(project: Path) -> None:
    class Interrupted:
        def run(self, *_arguments: Any, **_named: Any) -> Any:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        package(project, runner=Interrupted(), uv=wiring.tools().uv)
    assert not (project / "dist").exists()
    assert not (project / "requirements.lock").exists()

"""The two models that everybody serves, and the patients that everybody is asked about."""

import json
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

EXAMPLES: Final = Path(__file__).parents[1] / "examples"


@dataclass(frozen=True, slots=True)
class Patient:
    """One golden case: the inputs, and the probability that the study recorded for them."""

    inputs: Mapping[str, Any]
    expected: float


@dataclass(frozen=True, slots=True)
class Workload:
    """One model.

    Attributes:
        name: Of the example, and in every result.
        title: As the report says it.
        project: The author's project.
        tolerance: Largest difference to the expected probability that passes for a right answer: what float32 costs.
        patients: All golden cases in which no input is missing, in their order.
        fields: Name, type and whether it must be there, of each input.
    """

    name: str
    title: str
    project: Path
    tolerance: float
    patients: tuple[Patient, ...]
    fields: tuple[tuple[str, str, bool], ...]


def read(name: str, title: str, tolerance: float) -> Workload:
    """Read the example ``name``."""
    project = EXAMPLES / name
    declared = tomllib.loads((project / "bedside.toml").read_text())["inputs"]
    fields = tuple((item["name"], item["type"], item.get("missing", "reject") == "reject") for item in declared)
    names = [name for name, _, _ in fields]
    cases = [json.loads(line) for line in (project / "golden.jsonl").read_text().splitlines()]
    patients = tuple(
        Patient(case["inputs"], case["expected"]) for case in cases if None not in map(case["inputs"].get, names)
    )
    return Workload(name, title, project, tolerance, patients, fields)


def workloads() -> tuple[Workload, ...]:
    """Return both."""
    return (
        read("icu-mortality", "scikit-learn pipeline on a DataFrame", 1e-9),
        read("breast-cytology", "XGBoost, 200 trees", 1e-6),
    )


def prepare(workload: Workload, folder: Path) -> None:
    """Write the model as each peer wants it: the fitted scikit-learn estimator or wrapper as joblib, and its inputs."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fields.json").write_text(json.dumps(workload.fields))
    (artifact,) = workload.project.glob("model/*")
    if artifact.suffix == ".joblib":
        shutil.copy(artifact, folder / "model.joblib")
    else:
        _wrap(artifact, folder)


def _wrap(booster: Path, folder: Path) -> None:
    """Put XGBoost's own file into the scikit-learn wrapper that a service in Python is usually given."""
    from joblib import dump
    from xgboost import XGBClassifier

    model = XGBClassifier(n_jobs=1)
    model.load_model(booster)
    dump(model, folder / "model.joblib")
    model.save_model(folder / "model.ubj")

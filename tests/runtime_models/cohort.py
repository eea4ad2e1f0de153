"""One small table with every type of input, and how a model file of it is asked through the adapters."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bedside_runtime import adapters
from bedside_runtime.adapters.predictor import Predictor
from bedside_runtime.contract import Framework, Input, Inspection, InspectionRequest, Model, Output, Row

RANDOM = np.random.default_rng(7)
ROWS = 60

NUMBERS = (
    Input(name="lactate", type="number", missing="allow"),
    Input(name="age", type="integer"),
    Input(name="systolic", type="number"),
)
MIXED = (*NUMBERS, Input(name="admission", type="category", categories=("Elective", "Emergency")))
MIXED = (*MIXED, Input(name="ventilated", type="boolean"))

FRAME = pd.DataFrame(
    {
        "lactate": np.where(RANDOM.random(ROWS) < 0.1, np.nan, RANDOM.gamma(2, 1, ROWS)),
        "age": RANDOM.integers(18, 95, ROWS),
        "systolic": RANDOM.normal(120, 20, ROWS),
        "admission": RANDOM.choice(["Elective", "Emergency"], ROWS).astype(object),
        "ventilated": RANDOM.random(ROWS) < 0.3,
    }
)
DIED = ((FRAME["age"] > 60) & (FRAME["systolic"] < 130)).astype("int64")
WARD = pd.Series(np.where(FRAME["age"] > 70, "geriatric", np.where(FRAME["systolic"] > 120, "cardiac", "general")))
STAY = FRAME["age"] * 0.1 + FRAME["systolic"] * 0.02

PROBABILITY = Output(name="mortality", type="probability", positive=1)
CLASS = Output(name="ward", type="class")
VALUE = Output(name="stay", type="value", unit="d")


def rows(inputs: Sequence[Input]) -> list[Row]:
    """The table as the service hands it over: plain cells in declared order, ``None`` where missing."""
    columns = [FRAME[item.name].tolist() for item in inputs]
    return [tuple(None if cell != cell else cell for cell in row) for row in zip(*columns, strict=True)]


def asked(
    path: Path, framework: Framework, inputs: Sequence[Input], output: Output, code: Mapping[str, bytes] | None = None
) -> tuple[Inspection, Predictor]:
    """Inspect the file, then open it as a release does, from what the inspection found."""
    files = []
    for name, source in (code or {}).items():
        (path.parent / name).write_bytes(source)
        files.append(str(path.parent / name))
    request = InspectionRequest(
        framework=framework, artifact=str(path), code=tuple(files), inputs=tuple(inputs), output=output
    )
    found = adapters.inspect(request)
    model = Model(
        framework=framework,
        format=found.format,
        artifact=f"model/{path.name}",
        features=found.features,
        layout=found.layout,
        globals=found.globals,
        trained_with=found.trained_with,
    )
    return found, adapters.open_model(model, inputs, output, path.read_bytes(), code or {})

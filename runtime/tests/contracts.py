"""A small real contract and a pure-Python model that fits it, for tests without model libraries."""

import math
from collections.abc import Sequence

from bedside_runtime.contract import (
    Band,
    Contract,
    Conversion,
    Environment,
    Golden,
    Input,
    Model,
    Output,
    Row,
    Scalar,
    Serve,
)

INPUTS = (
    Input(name="age", type="integer", unit="a", valid=(0, 130), expected=(18, 95)),
    Input(
        name="temperature",
        type="number",
        unit="Cel",
        valid=(25, 45),
        expected=(34, 41),
        conversions={
            "[degF]": Conversion(scale="5/9", offset="-160/9"),
            "K": Conversion(scale="1", offset="-5463/20"),
        },
    ),
    Input(name="lactate", type="number", unit="mmol/L", valid=(0, 40), missing="allow"),
    Input(name="admission", type="category", categories=("Elective", "Emergency")),
    Input(name="ventilated", type="boolean"),
)
OUTPUT = Output(
    name="mortality",
    type="probability",
    positive=1,
    bands=(Band(name="low", below=0.1), Band(name="elevated", below=0.35), Band(name="high")),
)


def contract(**changes: object) -> Contract:
    parts: dict[str, object] = {
        "name": "icu-test",
        "version": "1.2.3",
        "title": "A test model",
        "model": Model(
            framework="sklearn", format="joblib", artifact="model/m.joblib", features=("age",), layout="array"
        ),
        "inputs": INPUTS,
        "output": OUTPUT,
        "golden": Golden(path="golden.jsonl", cases=2, tolerance=1e-9),
        "environment": Environment(
            python="3.11.7",
            implementation="cpython",
            machine="x86_64",
            libc="glibc 2.36",
            blas={},
            threads={},
            distributions={"bedside-runtime": "0.1.0"},
        ),
        "serve": Serve(),
        "files": (),
    }
    return Contract(**{**parts, **changes})  # type: ignore[arg-type]


class Logistic:
    """A logistic model in plain floats; missing lactate counts as 1.5."""

    def predict(self, rows: Sequence[Row]) -> Sequence[Scalar]:
        return [self._one(*row) for row in rows]

    def _one(self, age, temperature, lactate, admission, ventilated) -> float:  # type: ignore[no-untyped-def]  # noqa: ANN001
        score = -6 + 0.03 * age + 0.1 * abs(temperature - 37) + 0.3 * (1.5 if lactate is None else lactate)
        score += 0.8 * (admission == "Emergency") + 1.1 * ventilated
        return 1 / (1 + math.exp(-score))

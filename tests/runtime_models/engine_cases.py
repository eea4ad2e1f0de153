"""Fitted models beside their engines, and the proof of one from the other."""

import functools
from collections.abc import Sequence
from typing import Any

from cohort import MIXED, NUMBERS, rows
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from bedside_runtime import equivalence, golden
from bedside_runtime.adapters import columns, engines, estimators
from bedside_runtime.adapters.edges import Drawn
from bedside_runtime.adapters.opened import bind
from bedside_runtime.adapters.predictor import Predictor
from bedside_runtime.contract import EngineName, Input, Model, Output
from bedside_runtime.inputs import ValidRow

NAMES = [item.name for item in NUMBERS]
TOLERANCE = 1e-9
CASES = 8

logistic = functools.partial(LogisticRegression, max_iter=20_000)


def mixed(numbers: Any, categories: Any, model: Any, flag: Any = "passthrough", **more: Any) -> Pipeline:
    """A pipeline over every type of input: numbers, one category, one boolean."""
    parts = [("numbers", numbers, NAMES), ("ward", categories, ["admission"]), ("flag", flag, ["ventilated"])]
    return Pipeline([("columns", ColumnTransformer(parts, **more)), ("model", model)])


def engine_and_native(
    name: EngineName,
    fitted: Any,
    inputs: Sequence[Input],
    output: Output,
    tolerance: float = TOLERANCE,
    drawn: Sequence[Drawn] = (),
) -> tuple[Predictor, Predictor]:
    opened = estimators.Model(fitted)
    features = columns.match(opened.names, opened.count, inputs)
    layout = opened.layout(inputs)
    model = Model(framework="sklearn", format="joblib", artifact="m", features=features, layout=layout)
    engine = engines.build(name, opened, model, inputs, output, tolerance, drawn=drawn)
    return engine, bind(opened, layout, features, inputs, output, None)


def cases(native: Predictor, inputs: Sequence[Input]) -> list[golden.Case]:
    cells = rows(inputs)[:CASES]
    return [golden.Case(str(n), ValidRow(row), native.predict([row])[0]) for n, row in enumerate(cells)]


def proven(
    name: EngineName,
    fitted: Any,
    inputs: Sequence[Input] = MIXED,
    output: Output | None = None,
    tolerance: float = TOLERANCE,
) -> float:
    """Prove the engine against the model and return the largest difference."""
    output = output or Output(name="mortality", type="probability", positive=1)
    engine, native = engine_and_native(name, fitted, inputs, output, tolerance)
    proof = equivalence.prove(native, engine, inputs, output, cases(native, inputs), tolerance)
    assert proof.inputs == equivalence.INPUTS + CASES
    assert equivalence.batch_invariant(engine, rows(inputs))
    return proof.largest_difference

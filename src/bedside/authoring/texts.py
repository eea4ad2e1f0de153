"""What `init` writes: bedside.toml with its open questions, the card's skeleton, the requirements. Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence

from bedside.authoring.columns import Column
from bedside_runtime.contract import Inspection, Output

OPEN = "OPEN QUESTION"
"""Marks what only the author can answer; `package` counts the ones that are left."""


def specification(
    *, name: str, version: str, framework: str, artifact: str, python: str, columns: Sequence[Column], output: Output
) -> str:
    """Return bedside.toml."""
    return "\n".join(
        [
            "# Everything that you decide about this model. What `bedside init` could see is written down;",
            "# what only you can answer stands there as an open question, in capitals.",
            "schema = 1",
            "",
            "[model]",
            f"name      = {_text(name)}",
            f"version   = {_text(version)}",
            f"title     = {_text(f'{OPEN}: what does it predict, in clinical words?')}",
            f"framework = {_text(framework)}",
            f"artifact  = {_text(artifact)}",
            'card      = "model_card.json"',
            "",
            "[environment]",
            f"python       = {_text(python)}",
            'requirements = "requirements.in"',
            "",
            *(line for column in columns for line in _input(column)),
            *_output(output),
            "[golden]",
            f"# {OPEN}: these cases show that the model is reproduced. Replace them by cases of your validation study.",
            'cases     = "golden.jsonl"',
            "tolerance = 1e-9",
            "",
            "[serve]",
            'engine = "auto"  # the fastest that is proven to answer as the model itself; "native": the model alone',
            "",
            "[serve.auth]",
            'methods = ["api-key"]  # who may ask beyond this machine; `bedside keys NAME` makes a key',
            "",
        ]
    )


def _input(column: Column) -> Iterator[str]:
    yield "[[inputs]]"
    yield f"name        = {_text(column.name)}"
    yield f"type        = {_text(column.type)}"
    if column.observed is not None:
        low, high = column.observed
        yield f'# unit      = "..."       # {OPEN}: in which UCUM unit was it measured?'
        yield f"# valid     = [{low:g}, {high:g}]  # {OPEN}: outside of which limits is a value a mistake?"
        yield f"expected    = [{_number(low)}, {_number(high)}]  # as observed; outside of it answers are flagged"
    if column.categories:
        yield f"categories  = [{', '.join(map(_text, column.categories))}]"
    if column.missing:
        yield 'missing     = "allow"'
    yield f'# description = "..."     # {OPEN}: what does it mean, measured when?'
    yield ""


def _output(output: Output) -> Iterator[str]:
    yield "[output]"
    yield f"name     = {_text(output.name)}"
    yield f"type     = {_text(output.type)}"
    if output.positive is not None:
        positive = output.positive
        yield f"positive = {_text(positive) if isinstance(positive, str) else json.dumps(positive)}"
    if output.type == "probability":
        yield f"# {OPEN}: from which probability does somebody act?"
        yield '# bands  = [{ name = "low", below = 0.1 }, { name = "high" }]'
    yield ""


def card(name: str, cases: int, rows: int) -> str:
    """Return the skeleton of model_card.json; the headings follow Mitchell et al., Model Cards (FAT* 2019)."""
    asked = {
        "date": "when was this version trained, YYYY-MM-DD?",
        "summary": "what does it predict, for whom, from what?",
        "intended_use": "who uses it, at which moment, for which decision?",
        "out_of_scope": "for which patients and decisions must it not be used?",
        "training_data": "where, when and how was the cohort collected; who is missing from it?",
        "performance": "discrimination and calibration with intervals, in which study?",
        "subgroups": "for which groups was performance compared, and with what result?",
        "limitations": "what would a sceptical colleague point out?",
        "contact": "who answers when it misbehaves?",
    }
    document = {
        "name": name,
        **{key: f"{OPEN}: {question}" for key, question in asked.items()},
        "golden_cases": f"{cases} of {rows} rows, answered by the model itself: they prove reproduction, not validity.",
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def golden(columns: Sequence[Column], rows: Sequence[int], answers: Sequence[float | int | str | bool]) -> str:
    """Return golden.jsonl: the chosen rows with the model's own answers."""
    lines = [
        json.dumps(
            {
                "id": f"row-{row + 1:05d}",
                "inputs": {column.name: column.values[row] for column in columns},
                "expected": answer,
            },
            ensure_ascii=False,
        )
        for row, answer in zip(rows, answers, strict=True)
    ]
    return "".join(f"{line}\n" for line in lines)


def requirements(inspection: Inspection, distributions: Mapping[str, Sequence[str]]) -> str:
    """Return requirements.in: the libraries that this model needs, at the versions in use.

    Args:
        inspection: What the model turned out to be.
        distributions: Distribution names by importable package.
    """
    roots = {item.module.partition(".")[0] for item in inspection.globals}
    roots |= {"pandas"} if inspection.layout == "frame" else set()
    roots |= {
        "xgboost-json": {"xgboost", "numpy"},
        "xgboost-ubj": {"xgboost", "numpy"},
        "lightgbm-text": {"lightgbm", "numpy"},
        "onnx": {"onnxruntime", "numpy"},
        "joblib": {"joblib"},
        "skops": {"skops", "sklearn"},
        "pickle": set(),
    }[inspection.format]
    installed = inspection.environment.distributions
    named = {name.lower().replace("_", "-") for root in roots for name in distributions.get(root, ())}
    return "".join(f"{name}=={installed[name]}\n" for name in sorted(named) if name in installed)


def open_questions(*written: str) -> int:
    """Return how many questions are left open in ``written``."""
    return sum(text.count(OPEN) for text in written)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)

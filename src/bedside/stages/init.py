"""`bedside init`: a project from a trained model and, where there is one, the cohort."""

import importlib.metadata
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bedside.authoring import columns as cohort
from bedside.authoring import selection, texts
from bedside.authoring.columns import Column
from bedside.errors import SpecInvalid, UsageError
from bedside.process import Runner
from bedside.stages import runtime
from bedside_runtime.contract import Framework, Input, Inspection, InspectionRequest, Output

_FRAMEWORKS: dict[str, Framework] = {
    ".joblib": "sklearn",
    ".pkl": "sklearn",
    ".pickle": "sklearn",
    ".skops": "sklearn",
    ".json": "xgboost",
    ".ubj": "xgboost",
    ".txt": "lightgbm",
    ".onnx": "onnx",
}


@dataclass(frozen=True, slots=True)
class Initialized:
    """What was written.

    Attributes:
        directory: The project.
        inputs: How many inputs were found.
        cases: How many rows of the cohort were copied as golden cases.
        questions: How many questions are left open for the author.
    """

    directory: Path
    inputs: int
    cases: int
    questions: int


@dataclass(frozen=True, slots=True)
class _Seen:
    framework: Framework
    inspection: Inspection
    output: Output
    columns: tuple[Column, ...]
    rows: tuple[int, ...]
    answers: tuple[float | int | str | bool, ...]


def init(
    directory: Path,
    *,
    model: Path,
    data: Path,
    target: str | None,
    runner: Runner,
    version: str = "1.0.0",
    on_step: Callable[[str], None] = lambda _: None,
) -> Initialized:
    """Write a project to ``directory``, whole or not at all.

    Args:
        directory: Made; must not exist, or be empty.
        model: The trained model's file; it is loaded in a process of its own, through the restricted unpickler.
        data: A CSV of the cohort, with the model's features as headings.
        target: The outcome's column; it names the output and is never an input.
        runner: Starts the runtime in this Python's environment, which has to hold the model's library.
        version: The model's version.
        on_step: Told what is being done.

    Raises:
        UsageError: The directory is taken, or a file cannot be used; the message says which column.
        BedsideError: The model refuses; see its message.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UsageError(f"{directory} is there already, and not empty", remedy="Name a new directory.")
    framework = _FRAMEWORKS.get(model.suffix.lower())
    if framework is None or not model.is_file():
        known = ", ".join(sorted(_FRAMEWORKS))
        raise UsageError(f"{model} is no model file", remedy=f"Name a file that ends in one of {known}.")
    on_step("reading the cohort")
    try:
        cells = cohort.read(data.read_bytes(), data.name)
    except OSError as error:
        raise UsageError(f"{data} cannot be read: {error.strerror}") from None
    if target is not None and target not in cells:
        raise UsageError(f"{data.name} has no column {target!r}", remedy=f"It has: {', '.join(cells)}.")
    on_step("asking the model")
    seen = _look(framework, model.resolve(), cells, target, runner)
    on_step("writing the project")
    return _write(directory, model, seen, version)


def _look(framework: Framework, model: Path, cells: dict[str, list[str]], target: str | None, runner: Runner) -> _Seen:
    """Ask the model for its features and answers. The first kind of output that it can give is taken."""
    name = re.sub(r"\W+", "_", target or "prediction")
    refusals: list[SpecInvalid] = []
    for output in _outputs(name, cells.get(target or "", ())):
        request = InspectionRequest(framework=framework, artifact=str(model), code=(), inputs=(), output=output)
        try:
            inspection = runtime.inspect(runner, Path(sys.executable), request)
        except SpecInvalid as refusal:
            refusals.append(refusal)
            continue
        columns = _features(inspection, cells, target)
        rows = selection.select(columns, len(columns[0].values))
        asked = InspectionRequest(
            framework=framework, artifact=str(model), code=(), inputs=tuple(map(_input, columns)), output=output
        )
        values = [{column.name: column.values[row] for column in columns} for row in rows]
        answers = runtime.answer(runner, Path(sys.executable), asked, values)
        checked = runtime.inspect(runner, Path(sys.executable), asked)
        return _Seen(framework, checked, output, columns, rows, tuple(answers))
    raise refusals[0]


def _outputs(name: str, outcomes: Sequence[str]) -> Iterator[Output]:
    """Yield what the model may answer, the likeliest first: the probability of the outcome, a value, a label."""
    labels = sorted(set(outcomes) - cohort.MISSING)
    if len(labels) <= 2:
        seen: list[int | str] = [1]
        seen += [label for label in reversed(labels) if label not in ("0", "1")]
        for positive in seen:
            yield Output(name=name, type="probability", positive=positive)
        yield Output(name=name, type="probability", positive=True)
    yield Output(name=name, type="value")
    yield Output(name=name, type="class")


def _features(inspection: Inspection, cells: dict[str, list[str]], target: str | None) -> tuple[Column, ...]:
    names = inspection.features
    if not names:
        raise UsageError(
            "the model carries no feature names, and an order of columns alone would be luck",
            remedy="Train it on a DataFrame, or write bedside.toml by hand with [[inputs]] in the trained order.",
        )
    missing = [name for name in names if name not in cells]
    if missing:
        raise UsageError(
            f"the cohort has no column {', '.join(map(repr, missing))}, which the model needs",
            remedy="Use the data that the model was trained on, under the same headings.",
        )
    if target in names:
        raise UsageError(f"the model takes {target!r} as an input", remedy="Name the outcome with --target.")
    return tuple(cohort.infer(name, cells[name]) for name in names)


def _input(column: Column) -> Input:
    missing = "allow" if column.missing else "reject"
    return Input(name=column.name, type=column.type, categories=column.categories, missing=missing)  # type: ignore[arg-type]


def _write(directory: Path, model: Path, seen: _Seen, version: str) -> Initialized:
    """Write everything beside ``directory`` and rename it: nothing half-written carries its name."""
    name = _label(directory.name)
    spec = texts.specification(
        name=name,
        version=version,
        framework=seen.framework,
        artifact=f"model/{model.name}",
        python=".".join(platform.python_version_tuple()[:2]),
        columns=seen.columns,
        output=seen.output,
    )
    total = len(seen.columns[0].values)
    card = texts.card(name, len(seen.rows), total)
    packages = importlib.metadata.packages_distributions()
    directory.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        (partial / "model").mkdir()
        shutil.copyfile(model, partial / "model" / model.name)
        for file, text in (
            ("bedside.toml", spec),
            ("model_card.json", card),
            ("golden.jsonl", texts.golden(seen.columns, seen.rows, seen.answers)),
            ("requirements.in", texts.requirements(seen.inspection, packages)),
        ):
            (partial / file).write_text(text, encoding="utf-8")
        partial.chmod(0o755)
        partial.rename(directory)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Initialized(directory, len(seen.columns), len(seen.rows), texts.open_questions(spec, card))


def _label(name: str) -> str:
    """Return a DNS-1123 label made of ``name``."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:63].strip("-") or "model"

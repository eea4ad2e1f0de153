"""Golden cases: inputs with the outputs that the validation study recorded, and replaying them.

A golden file is JSON Lines; each line is ``{"id": ..., "inputs": {...}, "expected": ...}``. A case passes
when the answer differs from ``expected`` by at most the tolerance and falls in the same band.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from bedside_runtime import canonical
from bedside_runtime.adapters.predictor import Predictor
from bedside_runtime.contract import Input, Output, Scalar
from bedside_runtime.errors import BedsideRuntimeError, GoldenMismatch, OutputInvalid
from bedside_runtime.inputs import InputDecoder, InvalidInputs, ValidRow, compile_inputs
from bedside_runtime.outputs import Answer, answer

_NAMED = 10
"""How many cases a message names; the count of all of them is always given."""


class Case(Struct, frozen=True):
    """One golden case, its inputs already validated."""

    id: str
    row: ValidRow
    expected: Scalar


class Problem(Struct, frozen=True):
    """One thing that is wrong with a golden file. ``line`` counts from 1; ``case`` may be unknown yet."""

    line: int
    case: str | None
    message: str


class GoldenInvalid(BedsideRuntimeError):
    """The golden file does not fit the contract; ``problems`` names every line concerned."""

    exit_code = 2
    code = "golden-invalid"
    remedy = 'Each line must be {"id": ..., "inputs": {...}, "expected": ...} with the declared inputs.'

    def __init__(self, problems: Sequence[Problem]) -> None:
        first = "; ".join(f"line {item.line}: {item.message}" for item in problems[:_NAMED])
        super().__init__(f"{len(problems)} problem(s) in the golden cases: {first}")
        self.problems = tuple(problems)


class Report(Struct, frozen=True):
    """How a replay went.

    Attributes:
        cases: How many passed; a replay that returns has passed them all.
        largest_difference: Largest absolute difference to ``expected``, one case at a time.
        largest_batch_difference: Largest absolute difference between a case answered alone and the same
            case answered together with all others; 0 says that batching changes no bit here.
    """

    cases: int
    largest_difference: float
    largest_batch_difference: float


def parse(data: bytes, inputs: Sequence[Input], output: Output) -> tuple[Case, ...]:
    """Read a golden file.

    Raises:
        GoldenInvalid: Naming every line that is no case, has an unknown or invalid input, lacks
            ``expected``, or repeats an id; or that there is no case at all.
    """
    decoder = compile_inputs(inputs)
    cases: dict[str, Case] = {}
    problems: list[Problem] = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        case = _case(number, line, decoder, output, problems)
        if case is None:
            continue
        if case.id in cases:
            problems.append(Problem(number, case.id, f"the id {case.id!r} stands on an earlier line already"))
        cases[case.id] = case
    if not cases and not problems:
        problems.append(Problem(1, None, "there is no golden case; a release needs at least one"))
    if problems:
        raise GoldenInvalid(problems)
    return tuple(cases.values())


def _case(number: int, line: bytes, decoder: InputDecoder, output: Output, problems: list[Problem]) -> Case | None:
    try:
        value = canonical.decode(line)
    except canonical.NotStrictJSON as error:
        problems.append(Problem(number, None, str(error)))
        return None
    if not isinstance(value, dict) or not isinstance(value.get("id"), str) or not value["id"]:
        problems.append(Problem(number, None, "a case must be an object with a non-empty string id"))
        return None
    name: str = value["id"]
    found = list(_shape(value, output))
    row = ValidRow(())
    try:
        (row,) = decoder.rows([value.get("inputs")])
    except InvalidInputs as error:
        found += [item.message for item in error.violations]
    problems += [Problem(number, name, f"case {name}: {message}") for message in found]
    return None if found else Case(name, row, value["expected"])


def _shape(value: Mapping[str, object], output: Output) -> Iterator[str]:
    for key in sorted(value.keys() - {"id", "inputs", "expected"}):
        yield f"unknown key {key!r}"
    if value.get("expected") is None:
        yield "expected is missing: it must come from the validation study"
        return
    expected = value["expected"]
    if not isinstance(expected, (bool, int, float, str)):
        yield "expected must be a number or a class label"
        return
    try:
        answer(output, expected)
    except OutputInvalid:
        yield f"expected is no {output.type} that {output.name} can take"


def replay(cases: Sequence[Case], output: Output, tolerance: float, predictor: Predictor) -> Report:
    """Answer every case alone, then all of them in one batch, and compare.

    Args:
        cases: At least one.
        output: What the model declares to answer.
        tolerance: Largest absolute difference that passes; 0 demands every bit. Labels must be equal.
        predictor: The model, loaded.

    Raises:
        GoldenMismatch: Naming the cases that differ, with expected and got.
        OutputInvalid: The model answers what the declared output cannot be.
    """
    alone = [predictor.predict([case.row.cells])[0] for case in cases]
    largest = _compare(cases, alone, output, tolerance, "")
    together = predictor.predict([case.row.cells for case in cases])
    if len(together) != len(cases):
        raise OutputInvalid(f"the model answers {len(together)} values for {len(cases)} rows")
    _compare(cases, together, output, tolerance, " in a batch")
    batch = max(difference(one, other) for one, other in zip(alone, together, strict=True))
    return Report(len(cases), largest, batch)


def check(case: Case, output: Output, tolerance: float, predictor: Predictor) -> None:
    """Answer one case and compare it; the self-check of a serving process.

    Raises:
        GoldenMismatch, OutputInvalid: As in ``replay``.
    """
    _compare([case], predictor.predict([case.row.cells]), output, tolerance, "")


def _compare(cases: Sequence[Case], got: Sequence[Scalar], output: Output, tolerance: float, how: str) -> float:
    largest, failed = 0.0, []
    for case, raw in zip(cases, got, strict=True):
        value = _answered(case, raw, output)
        apart = difference(case.expected, value.value)
        largest = max(largest, apart)
        band = answer(output, case.expected).band
        if apart > tolerance or band != value.band:
            failed.append(f"{case.id}: expected {_shown(case.expected, band)}, got {_shown(value.value, value.band)}")
    if failed:
        named = "\n  ".join(failed[:_NAMED])
        raise GoldenMismatch(
            f"{len(failed)} of {len(cases)} golden cases are not answered as the study recorded{how}"
            f" (tolerance {tolerance:g}):\n  {named}"
        )
    return largest


def _answered(case: Case, raw: Scalar, output: Output) -> Answer:
    try:
        return answer(output, raw)
    except OutputInvalid as error:
        raise OutputInvalid(f"golden case {case.id}: {error}") from None


def _shown(value: Scalar, band: str | None) -> str:
    return f"{value!r} (band {band})" if band else repr(value)


def difference(expected: Scalar, got: Scalar) -> float:
    """Return how far apart two answers are; infinity for labels that differ."""
    if isinstance(expected, (str, bool)) or isinstance(got, (str, bool)):
        return 0.0 if type(expected) is type(got) and expected == got else math.inf
    return abs(float(expected) - float(got))

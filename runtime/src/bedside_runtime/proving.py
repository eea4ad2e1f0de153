"""Choosing an engine for a release that is being packaged: every candidate is proven, or its reason is said."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from msgspec import UNSET, Struct, structs

from bedside_runtime import equivalence, golden, loading
from bedside_runtime.adapters import engines
from bedside_runtime.adapters.predictor import Predictor
from bedside_runtime.contract import Contract, Engine, EngineName, Row
from bedside_runtime.errors import EngineUnsuitable, EquivalenceFailed, GoldenMismatch

Wanted: TypeAlias = EngineName | Literal["native", "auto"]
OnProgress: TypeAlias = Callable[[str, int, int], None]
"""Told the engine, how many inputs are done, and of how many."""

_TIMED = 50
"""Rows that are timed, one at a time."""

_OTHER = (
    'Write engine = "native". ONNX computes in single precision: where the study allows it, a wider [golden] tolerance'
    " may pass; at the threshold of a tree none does."
)
"""What to do about an engine whose arithmetic is not the model's own."""


class Considered(Struct, frozen=True):
    """One engine that was looked at.

    Attributes:
        name: The engine.
        reason: Why it does not serve; ``None`` for the one that does, and for slower ones.
        microseconds: Median time of one row alone; ``None`` where it could not be built.
    """

    name: EngineName | Literal["native"]
    reason: str | None
    microseconds: float | None


class Choice(Struct, frozen=True):
    """What shall serve, and what was considered, native first."""

    engine: Engine
    considered: tuple[Considered, ...]


def choose(directory: Path, wanted: Wanted, on_progress: OnProgress = lambda _name, _done, _all: None) -> Choice:
    """Find out what shall compute the answers of the release in ``directory``.

    Args:
        directory: A release whose contract names the engine ``native``, and what was converted for another.
        wanted: An engine by name, or ``auto`` for the first of the preferred ones that is proven. ``native`` where
            none is.
        on_progress: Told how far a proof is.

    Raises:
        GoldenMismatch, OutputInvalid: The model itself does not answer as the study recorded.
        EquivalenceFailed: The model itself answers a case in a batch otherwise than alone.
        EngineUnsuitable: The engine that was named cannot compute this model.
        EquivalenceFailed: It can, and does not answer as the model itself. ``auto`` stops at that too: an engine that
            differs is a defect to be reported, not to be passed over.
    """
    found, files = loading.verified(directory)
    cases = loading.golden_cases(found, files)
    rows = [case.row.cells for case in cases]
    native = loading.open_model(found, files, "native")
    golden.replay(cases, found.output, found.golden.tolerance, native)
    rows += equivalence.sample(found.inputs, cases, max(0, _TIMED - len(rows)))
    equivalence.require_alike(native, found.output, found.golden.tolerance, rows)
    considered = [Considered("native", None, _microseconds(native, rows))]
    names: Sequence[EngineName] = () if wanted == "native" else engines.PREFERENCE if wanted == "auto" else (wanted,)
    for name in names:
        try:
            engine = loading.open_model(found, files, name)
        except EngineUnsuitable as error:
            if wanted != "auto":
                raise
            considered.append(Considered(name, str(error), None))
            continue
        chosen = _proven(name, native, engine, found, cases, rows, on_progress)
        considered.append(Considered(name, None, _microseconds(engine, rows)))
        return _choice(chosen, considered)
    return _choice(Engine(batch_invariant=equivalence.batch_invariant(native, rows)), considered)


def _choice(engine: Engine, considered: Sequence[Considered]) -> Choice:
    """Return ``engine`` with why each that comes before it does not serve."""
    reasons = {one.name: one.reason for one in considered if one.reason is not None and one.name != "native"}
    return Choice(structs.replace(engine, passed_over=reasons or UNSET), tuple(considered))


def _proven(
    name: EngineName,
    native: Predictor,
    engine: Predictor,
    found: Contract,
    cases: Sequence[golden.Case],
    rows: Sequence[Row],
    on_progress: OnProgress,
) -> Engine:
    """Return ``engine`` with its proof.

    Raises:
        EquivalenceFailed: There is none.
    """
    try:
        proof = equivalence.prove(
            native,
            engine,
            found.inputs,
            found.output,
            cases,
            found.golden.tolerance,
            lambda done, count: on_progress(name, done, count),
        )
    except (EquivalenceFailed, GoldenMismatch) as error:
        if name not in engines.NAMED:
            raise
        raise EquivalenceFailed(f"the engine {name} does not answer as the model: {error}", remedy=_OTHER) from None
    invariant = equivalence.batch_invariant(engine, rows)
    if name in engines.INLINE and not invariant:
        raise EquivalenceFailed(f"the engine {name} gives a case other bits in a batch than alone")
    converted = found.engine.converted if name == "onnx" else UNSET
    return Engine(name=name, proof=proof, batch_invariant=invariant, converted=converted)


def _microseconds(predictor: Predictor, rows: Sequence[Row]) -> float:
    times = []
    for row in rows[:_TIMED]:
        started = time.perf_counter()
        predictor.predict([row])
        times.append(time.perf_counter() - started)
    return round(sorted(times)[len(times) // 2] * 1e6, 1)

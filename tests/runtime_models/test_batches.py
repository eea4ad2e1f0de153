"""No answer depends on whom a patient was answered with: any case, any batch, any position, any concurrency."""

import asyncio
import functools
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from cohort import DIED, FRAME, MIXED, NUMBERS, rows
from engine_cases import NAMES, TOLERANCE, cases, engine_and_native, logistic, mixed
from hypothesis import given, settings
from hypothesis import strategies as st
from lightgbm import LGBMClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import XGBClassifier

from bedside_runtime import equivalence, proving
from bedside_runtime.adapters.predictor import Predictor
from bedside_runtime.batching import Asking, Batching, Inline
from bedside_runtime.contract import Band, EngineName, Input, Output, Row, Scalar
from bedside_runtime.errors import EquivalenceFailed
from bedside_runtime.outputs import answer
from contracts import contract

OUTPUT = Output(
    name="mortality",
    type="probability",
    positive=1,
    bands=(Band(name="low", below=0.1), Band(name="elevated", below=0.35), Band(name="high")),
)
NUMERIC = make_pipeline(SimpleImputer(), StandardScaler())


def both(name: EngineName, fitted: Any, inputs: Sequence[Input]) -> tuple[Predictor, Predictor]:
    return engine_and_native(name, fitted, inputs, OUTPUT)


FITTED = {
    "linear": mixed(NUMERIC, OneHotEncoder(), logistic()).fit(FRAME, DIED),
    "trees": mixed(NUMERIC, OneHotEncoder(), XGBClassifier(n_estimators=10, n_jobs=1)).fit(FRAME, DIED),
    "leaves": LGBMClassifier(n_estimators=10, n_jobs=1, verbose=-1).fit(FRAME[NAMES], DIED),
}
PREDICTORS: dict[str, tuple[Predictor, Sequence[Input]]] = {
    "folded": (both("folded", FITTED["linear"], MIXED)[0], MIXED),
    "linear, native": (both("folded", FITTED["linear"], MIXED)[1], MIXED),
    "trees": (both("trees", FITTED["trees"], MIXED)[0], MIXED),
    "booster": (both("booster", FITTED["trees"], MIXED)[0], MIXED),
    "booster, native": (both("booster", FITTED["trees"], MIXED)[1], MIXED),
    "lightgbm": (both("booster", FITTED["leaves"], NUMBERS)[0], NUMBERS),
}
LEAN = ("folded", "trees", "booster", "lightgbm")
PATIENTS = 12


def requests(most: int) -> st.SearchStrategy[list[tuple[list[int], int]]]:
    """Requests of some patients each, and how many turns of the loop each waits."""
    places = st.lists(st.integers(0, PATIENTS - 1), min_size=1, max_size=6)
    return st.lists(st.tuples(places, st.integers(0, 3)), min_size=1, max_size=most)


@functools.cache
def alone(name: str) -> list[Scalar]:
    predictor, inputs = PREDICTORS[name]
    return [predictor.predict([row])[0] for row in rows(inputs)[:PATIENTS]]


@functools.cache
def invariant(name: str) -> bool:
    predictor, inputs = PREDICTORS[name]
    return equivalence.batch_invariant(predictor, rows(inputs)[:PATIENTS])


def settle(asking: Asking, table: Sequence[Row], requests: Sequence[tuple[list[int], int]]) -> list[Sequence[Scalar]]:
    """Ask for all requests at once, each some turns of the loop later than the one before."""

    async def one(places: list[int], pauses: int) -> Sequence[Scalar]:
        for _ in range(pauses):
            await asyncio.sleep(0)
        return (await asking.predict([table[place] for place in places], 1e9)).values

    async def all_() -> list[Sequence[Scalar]]:
        return await asyncio.gather(*(one(*request) for request in requests))

    try:
        return asyncio.run(all_())
    finally:
        asking.close()


def require_same(name: str, asked: Sequence[tuple[list[int], int]], most: int, *, inline: bool) -> None:
    """Require that every patient is answered as alone: the same bits, or within the tolerance and in the same band."""
    predictor, inputs = PREDICTORS[name]
    asking = Inline(predictor) if inline else Batching(predictor, most)
    for (places, _), values in zip(asked, settle(asking, rows(inputs), asked), strict=True):
        for place, value in zip(places, values, strict=True):
            expected = alone(name)[place]
            if invariant(name):
                assert repr(value) == repr(expected)
            assert abs(float(value) - float(expected)) <= TOLERANCE
            assert answer(OUTPUT, value).band == answer(OUTPUT, expected).band


@pytest.mark.parametrize("name", LEAN)
@given(asked=requests(12), most=st.integers(1, 16), inline=st.booleans())
@settings(max_examples=30, deadline=None)
def test_a_case_is_answered_the_same_in_any_batch_at_any_position_with_any_concurrency(
    name: str, asked: list[tuple[list[int], int]], most: int, inline: bool
) -> None:
    require_same(name, asked, most, inline=inline)


@pytest.mark.parametrize("name", sorted(PREDICTORS.keys() - set(LEAN)))
@given(asked=requests(4), most=st.integers(1, 16))
@settings(max_examples=5, deadline=None)
def test_so_it_is_where_the_model_itself_computes(name: str, asked: list[tuple[list[int], int]], most: int) -> None:
    require_same(name, asked, most, inline=False)


@pytest.mark.parametrize("name", LEAN)
def test_a_lean_engine_gives_the_same_bits_in_every_batch(name: str) -> None:
    predictor, inputs = PREDICTORS[name]
    assert equivalence.batch_invariant(predictor, rows(inputs))


class Drifting:
    """The engine, its last bits another in a batch."""

    def __init__(self, engine: Predictor) -> None:
        self._engine = engine

    def predict(self, asked_: Sequence[Row]) -> Sequence[Scalar]:
        values = self._engine.predict(asked_)
        return values if len(asked_) == 1 else [float(value) + 1e-15 for value in values]


def test_an_engine_of_the_loop_whose_bits_depend_on_the_batch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(equivalence, "INPUTS", 100)
    output = msgspec.structs.replace(OUTPUT, bands=())  # at the edge of a band the last bits are found first
    engine, native = engine_and_native("folded", FITTED["linear"], MIXED, output)
    found = contract(inputs=MIXED, output=output)
    few = cases(native, MIXED)
    table = rows(MIXED)[:20]
    proven = proving._proven("folded", native, engine, found, few, table, lambda *_: None)
    assert proven.batch_invariant
    with pytest.raises(EquivalenceFailed, match="other bits in a batch"):
        proving._proven("folded", native, Drifting(engine), found, few, table, lambda *_: None)

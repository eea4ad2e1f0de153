"""No answer depends on whom a patient was answered with: any case, any batch, any position, any concurrency."""

import asyncio
import functools
import io
from collections.abc import Sequence
from typing import Any

import msgspec
import pandas as pd
import pytest
from cohort import DIED, FRAME, MIXED, NUMBERS, rows
from engine_cases import NAMES, TOLERANCE, cases, engine_and_native, logistic, mixed
from hypothesis import given, settings
from hypothesis import strategies as st
from lightgbm import LGBMClassifier
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from xgboost import XGBClassifier

from bedside_runtime import equivalence, proving
from bedside_runtime.adapters import estimators
from bedside_runtime.adapters.opened import bind
from bedside_runtime.adapters.predictor import Predictor
from bedside_runtime.batching import Answered, Asking, Batching, Inline
from bedside_runtime.contract import Band, EngineName, Input, Output, Row, Scalar
from bedside_runtime.errors import EngineUnsuitable, EquivalenceFailed
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
        answered = asking.predict([table[place] for place in places], 1e9)
        return answered.values if isinstance(answered, Answered) else (await answered).values

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


def _as_read() -> pd.DataFrame:
    """A table with missing words and truth values, as pandas reads it."""
    return pd.read_csv(io.StringIO("ward,septic,age\n" + "A,True,1\nB,False,2\n,,3\nA,,4\n,True,5\nB,False,6\n" * 20))


def asked_by(fitted: Any, inputs: Sequence[Input]) -> Sequence[Predictor]:
    """The model itself, and its engine if it can be folded: an imputer that overlooks ``None`` is not."""
    try:
        return both("folded", fitted, inputs)
    except EngineUnsuitable:
        opened = estimators.Model(fitted)
        names = [item.name for item in inputs]
        return [bind(opened, opened.layout(inputs), names, inputs, OUTPUT, None)]


@pytest.mark.parametrize("kind", ["as read", "with None"])
@pytest.mark.parametrize(
    "encoder",
    [
        pytest.param(OneHotEncoder(handle_unknown="ignore"), id="one hot"),
        pytest.param(OrdinalEncoder(encoded_missing_value=-2), id="ordinal"),
        pytest.param(make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder()), id="imputed"),
    ],
)
def test_a_missing_word_is_the_same_alone_and_beside_others_and_as_the_model_was_fitted(
    kind: str, encoder: Any
) -> None:
    table = _as_read()
    words = table[["ward", "septic"]]
    if kind == "with None":
        table[["ward", "septic"]] = words.astype(object).where(words.notna(), None)
    parts = ColumnTransformer([("words", encoder, ["ward", "septic"])], remainder="passthrough")
    died = [1, 0, 1, 0, 0, 1] * 20
    fitted = make_pipeline(parts, logistic())
    fitted.fit(table, died)
    inputs = (
        Input(name="ward", type="category", categories=("A", "B"), missing="allow"),
        Input(name="septic", type="boolean", missing="allow"),
        Input(name="age", type="number", valid=(0, 10)),
    )
    rows = [("A", True, 1.0), ("B", False, 2.0), (None, None, 3.0), ("A", None, 4.0), (None, True, 5.0)]
    expected = fitted.predict_proba(table)[:5, 1].tolist()
    for predictor in asked_by(fitted, inputs):
        assert [predictor.predict([row])[0] for row in rows] == pytest.approx(expected, abs=1e-12)
        assert list(predictor.predict(rows)) == pytest.approx(expected, abs=1e-12)
        equivalence.require_alike(predictor, OUTPUT, 1e-9, rows)


def test_a_model_whose_answer_depends_on_who_else_asks_is_refused() -> None:
    class Guessing:
        def predict(self, rows: Sequence[Row]) -> Sequence[Scalar]:
            return [0.2 + 0.1 * any(row[0] == "A" for row in rows)] * len(rows)

    with pytest.raises(EquivalenceFailed, match=r"otherwise than alone: 0\.1 apart"):
        equivalence.require_alike(Guessing(), OUTPUT, 1e-9, [("A",), (None,)])

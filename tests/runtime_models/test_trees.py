"""The trees engine gives the bits of the library whose trees it computes; the proof catches whatever is wrong."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from cohort import DIED, FRAME, MIXED, NUMBERS, PROBABILITY, STAY, VALUE, WARD, asked, rows
from engine_cases import NAMES, TOLERANCE, cases, engine_and_native, mixed, proven
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import XGBClassifier, XGBRegressor

from bedside_runtime import borders, equivalence, golden
from bedside_runtime.adapters import direct, engines, features, folding, forests, leaves, lightgbm, trees
from bedside_runtime.adapters import xgboost as adapter
from bedside_runtime.adapters.edges import AtEdges
from bedside_runtime.adapters.predictor import Predictor
from bedside_runtime.adapters.trees import Forest, Split, Tree
from bedside_runtime.contract import Band, Input, Model, Output, Row, Scalar
from bedside_runtime.errors import EngineUnsuitable, EquivalenceFailed

X = FRAME[NAMES]
CLASS_OF_THREE = Output(name="ward", type="class")


@pytest.fixture(autouse=True)
def _short_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw little: a proof of all takes seconds, and packaging the examples makes it."""
    monkeypatch.setattr(equivalence, "INPUTS", 400)
    monkeypatch.setattr(borders, "WALKS", 16)


# -- the library's bits: random boosters, asked at and beside every threshold


OBJECTIVES: dict[str, Callable[[Any], Any]] = {
    "binary:logistic": lambda score: score > 0.3,
    "reg:logistic": lambda score: score > 0.3,
    "multi:softprob": lambda score: np.digitize(score, [-0.5, 0.7]),
    "reg:squarederror": lambda score: score,
    "reg:absoluteerror": lambda score: score,
    "reg:quantileerror": lambda score: score,
    "reg:pseudohubererror": lambda score: score,
    "reg:squaredlogerror": lambda score: np.abs(score) + 0.1,
    "count:poisson": lambda score: np.abs(score) + 0.1,
    "reg:gamma": lambda score: np.abs(score) + 0.1,
    "reg:tweedie": lambda score: np.abs(score) + 0.1,
    "survival:cox": lambda score: np.abs(score) + 0.1,
}

VARIANTS: dict[str, dict[str, Any]] = {
    "shallow": {"max_depth": 2},
    "deep": {"max_depth": 8, "min_child_weight": 0.1},
    "stumps": {"max_depth": 1},
    "by leaves": {"grow_policy": "lossguide", "max_leaves": 12, "max_depth": 0},
    "exact": {"tree_method": "exact", "max_depth": 4},
    "monotone": {"max_depth": 4, "monotone_constraints": "(1,-1,0,0)"},
    "a forest a round": {"max_depth": 4, "num_parallel_tree": 3, "subsample": 0.6},
    "dart": {"max_depth": 4, "booster": "dart", "rate_drop": 0.3},
}


@pytest.mark.parametrize(("variant", "objective"), list(itertools.product(VARIANTS, OBJECTIVES)))
def test_random_boosters_of_xgboost_are_computed_to_the_bit(variant: str, objective: str) -> None:
    draw = np.random.default_rng(len(variant) * 100 + len(objective))
    table, score = _table(draw)
    more: dict[str, Any] = {"quantile_alpha": 0.7} if objective == "reg:quantileerror" else {}
    more |= {"num_class": 3} if objective == "multi:softprob" else {}
    settings = {"objective": objective, "nthread": 1, "seed": 3, **VARIANTS[variant], **more}
    data = xgboost.DMatrix(table, OBJECTIVES[objective](score))
    booster = xgboost.train(settings, data, 15)
    _same_bits(adapter.Model(bytes(booster.save_raw("ubj"))), booster.inplace_predict, table, draw)


@pytest.mark.parametrize("base", [0.02, 0.5, 0.97])
def test_a_base_score_is_taken_into_the_space_of_the_sum(base: float) -> None:
    draw = np.random.default_rng(5)
    table, score = _table(draw)
    for objective in ("binary:logistic", "count:poisson", "reg:squarederror"):
        settings = {"objective": objective, "base_score": base, "max_depth": 3, "nthread": 1}
        booster = xgboost.train(settings, xgboost.DMatrix(table, OBJECTIVES[objective](score)), 10)
        _same_bits(adapter.Model(bytes(booster.save_raw("json"))), booster.inplace_predict, table, draw)


@pytest.mark.parametrize("variant", ["", "zero as missing", "no missing values", "regularised", "many leaves"])
@pytest.mark.parametrize(
    "objective", ["binary", "multiclass", "regression", "poisson", "gamma", "tweedie", "huber", "cross_entropy"]
)
def test_random_boosters_of_lightgbm_are_computed_to_the_bit(variant: str, objective: str) -> None:
    more: dict[str, Any] = {
        "zero as missing": {"zero_as_missing": True},
        "regularised": {"reg_lambda": 2.0, "path_smooth": 1.0, "extra_trees": True},
        "many leaves": {"num_leaves": 200, "min_child_samples": 1},
    }.get(variant, {})
    draw = np.random.default_rng(len(variant) * 10 + len(objective))
    table, score = _table(draw)
    if variant == "no missing values":
        table = np.nan_to_num(table)
    if variant == "zero as missing":
        table[draw.random(table.shape) < 0.2] = 0.0
    positive = objective in ("poisson", "gamma", "tweedie")
    target = {"binary": score > 0, "multiclass": np.digitize(score, [-0.5, 0.7]), "cross_entropy": score > 0}
    kind = LGBMClassifier if objective in ("binary", "multiclass") else LGBMRegressor
    fitted = kind(n_estimators=12, objective=objective, n_jobs=1, verbose=-1, **more)
    fitted.fit(table, target.get(objective, np.abs(score) + 0.1 if positive else score))
    text = fitted.booster_.model_to_string().encode()
    _same_bits(lightgbm.Model(text), lambda values: fitted.booster_.predict(values, num_threads=1), table, draw)


def _table(draw: np.random.Generator) -> tuple[Any, Any]:
    table = draw.normal(size=(400, 4)).round(3)
    table[draw.random(table.shape) < 0.15] = np.nan
    return table, np.nansum(table[:, :3], axis=1) + draw.normal(size=400)


def _same_bits(
    model: adapter.Model | lightgbm.Model, predict: Callable[[Any], Any], table: Any, draw: np.random.Generator
) -> None:
    """Compare for known rows, and for rows at and one double beside the thresholds, missing, zero and huge values."""
    forest = model.forest()
    near = [[] for _ in range(4)]  # type: list[list[float]]
    for tree in forest.trees:
        for split in tree.splits:
            around = np.float32(split.cut)
            near[split.column] += [split.cut, math.nextafter(split.cut, -math.inf), float(around)]
            near[split.column] += [float(np.nextafter(around, np.float32(side))) for side in (-np.inf, np.inf)]
    special = [
        math.nan,
        0.0,
        -0.0,
        1e-35,
        -1.0000000180025095e-35,
        1.0000000180025095e-35,
        -1e-36,
        1e-300,
        1e38,
        3.5e38,
        -1e300,
    ]
    columns = [draw.choice([*one, *special], 600) for one in near]
    asked_for = np.concatenate([table, np.stack(columns, axis=1)])
    inputs = tuple(Input(name=f"x{place}", type="number", missing="allow") for place in range(4))
    find = leaves.exits(forest, features.begin(inputs, [item.name for item in inputs], math.nan), zero_is_missing=False)
    given = [tuple(None if math.isnan(cell) else cell for cell in row) for row in asked_for.tolist()]
    exits = [find(row) for row in given]
    add = leaves.sums(forest)
    together = forest.finish(add(exits))
    expected = predict(asked_for)
    assert together.dtype == expected.dtype
    assert np.array_equal(together, expected.reshape(together.shape))
    for place in range(0, len(exits), 97):
        assert np.array_equal(forest.finish(add([exits[place]]))[0], together[place])


# -- whole models


@pytest.mark.parametrize(
    ("fit", "output"),
    [
        (lambda: HistGradientBoostingClassifier(max_iter=20, min_samples_leaf=3).fit(X, DIED), PROBABILITY),
        (
            lambda: HistGradientBoostingClassifier(max_iter=20, min_samples_leaf=3).fit(X, DIED),
            Output(name="alive", type="probability", positive=0),
        ),
        (lambda: HistGradientBoostingClassifier(max_iter=20, min_samples_leaf=3).fit(X, WARD), CLASS_OF_THREE),
        (lambda: HistGradientBoostingClassifier(max_iter=20, min_samples_leaf=3).fit(X, DIED), CLASS_OF_THREE),
        (
            lambda: HistGradientBoostingClassifier(max_iter=20, min_samples_leaf=3).fit(X, WARD),
            Output(name="p", type="probability", positive="general"),
        ),
        (lambda: HistGradientBoostingRegressor(max_iter=20, min_samples_leaf=3).fit(X, STAY), VALUE),
        (lambda: HistGradientBoostingRegressor(loss="poisson", max_iter=20).fit(X, STAY), VALUE),
        (lambda: HistGradientBoostingRegressor(loss="gamma", max_iter=20).fit(X, STAY), VALUE),
        (lambda: make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=9)).fit(X, DIED), PROBABILITY),
    ],
)
def test_histogram_gradient_boosting_is_computed_to_the_bit(fit: Any, output: Output) -> None:
    assert proven("trees", fit(), NUMBERS, output) == 0.0


@pytest.mark.parametrize(
    ("fit", "reason"),
    [
        (lambda: RandomForestClassifier(3).fit(X.fillna(1.0), DIED), "no wrapper around a booster"),
        (lambda: XGBClassifier(n_estimators=3, booster="gblinear").fit(X.fillna(1.0), DIED), "kind gblinear"),
        (lambda: _with_numbered_categories(XGBClassifier), "splits by categories"),
        (lambda: LGBMClassifier(n_estimators=3, verbose=-1, min_child_samples=3, linear_tree=True).fit(X, DIED),
         "linear model"),
        (lambda: LGBMClassifier(n_estimators=3, verbose=-1, boosting_type="rf", bagging_freq=1, subsample=0.5)
         .fit(X, DIED), "averages its trees"),
        (lambda: HistGradientBoostingClassifier(categorical_features=[1]).fit(X.to_numpy(), DIED), "takes categories"),
    ],
)  # fmt: skip
def test_what_it_does_not_compute_is_said(fit: Any, reason: str) -> None:
    with pytest.raises(EngineUnsuitable, match=reason):
        engine_and_native("trees", fit(), NUMBERS, PROBABILITY)


def _with_numbered_categories(kind: Any) -> Any:
    table = np.column_stack([X["lactate"], X["age"] - 18, X["systolic"]])
    return kind(n_estimators=9, enable_categorical=True, feature_types=["q", "c", "q"]).fit(table, DIED)


def test_a_model_of_another_objective_is_left_to_its_library() -> None:
    fitted = XGBRegressor(n_estimators=3, objective="survival:aft")
    booster = xgboost.train(
        {"objective": "survival:aft"},
        xgboost.DMatrix(X, label_lower_bound=STAY, label_upper_bound=STAY),
        3,
    )
    fitted._Booster = booster
    with pytest.raises(EngineUnsuitable, match="survival:aft makes of the trees' sum"):
        engine_and_native("trees", fitted, NUMBERS, VALUE)


@pytest.mark.parametrize("name", ["model.ubj", "model.json", "model.txt"])
def test_a_booster_in_its_library_s_own_format_is_computed_too(tmp_path: Path, name: str) -> None:
    opened: adapter.Model | lightgbm.Model
    if name == "model.txt":
        LGBMClassifier(n_estimators=9, verbose=-1).fit(X, DIED).booster_.save_model(tmp_path / name)
        opened = lightgbm.Model((tmp_path / name).read_bytes())
    else:
        XGBClassifier(n_estimators=9).fit(X, DIED).save_model(tmp_path / name)
        opened = adapter.Model((tmp_path / name).read_bytes())
    framework = "lightgbm" if name == "model.txt" else "xgboost"
    found, native = asked(tmp_path / name, framework, NUMBERS, PROBABILITY)
    model = Model(framework=framework, format=found.format, artifact=name, features=found.features, layout=found.layout)
    engine = engines.build("trees", opened, model, NUMBERS, PROBABILITY, TOLERANCE)
    assert list(engine.predict(rows(NUMBERS))) == list(native.predict(rows(NUMBERS)))
    with pytest.raises(EngineUnsuitable, match="library's own format"):
        engines.build("booster", opened, model, NUMBERS, PROBABILITY, TOLERANCE)


def test_zeros_of_a_sparse_matrix_are_missing_for_xgboost_and_zero_for_lightgbm() -> None:
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    for model in (XGBClassifier(n_estimators=9, n_jobs=1), LGBMClassifier(n_estimators=9, verbose=-1, n_jobs=1)):
        fitted = mixed(numbers, OneHotEncoder(), model, sparse_threshold=1.0).fit(FRAME, DIED)
        assert proven("trees", fitted, MIXED, PROBABILITY) == 0.0


# -- large forests


def test_a_forest_in_several_parts_gives_the_bits_of_one_part(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = XGBClassifier(n_estimators=30, max_depth=5, n_jobs=1, objective="multi:softprob").fit(
        X, WARD.map({"cardiac": 0, "general": 1, "geriatric": 2})
    )
    output = Output(name="p", type="probability", positive=2)
    whole, _ = engine_and_native("trees", fitted, NUMBERS, output)
    forest = direct.inside(fitted).model.forest()
    bits = sum(len(tree.splits) for tree in forest.trees) * sum(leaves._bits(forest.trees) for _ in forest.trees)
    monkeypatch.setattr(leaves, "_LARGEST", bits // 8 // 3)
    assert 2 < len(leaves._parts(forest)) <= leaves._MOST_PARTS
    parted, _ = engine_and_native("trees", fitted, NUMBERS, output)
    assert list(parted.predict(rows(NUMBERS))) == list(whole.predict(rows(NUMBERS)))
    monkeypatch.setattr(leaves, "_LARGEST", bits // 8 // 100)
    with pytest.raises(EngineUnsuitable, match="too many to be held as bits"):
        engine_and_native("trees", fitted, NUMBERS, output)


# -- planted errors


BANDS = (Band(name="low", below=0.3), Band(name="high"))
BANDED = Output(name="mortality", type="probability", positive=1, bands=BANDS)
RANGED = tuple(Input(name=item.name, type="number", valid=(0, 200), missing=item.missing) for item in NUMBERS)


def _fitted() -> Any:
    return XGBClassifier(n_estimators=40, max_depth=3, n_jobs=1, base_score=0.3).fit(X + 1 / 3, DIED)


def _every_split(forest: Forest, change: Callable[[Split], Split]) -> Forest:
    changed = [dataclasses.replace(tree, splits=tuple(map(change, tree.splits))) for tree in forest.trees]
    return dataclasses.replace(forest, trees=tuple(changed))


def _threshold(split: Split) -> float:
    """The threshold in single precision that a cut was made of."""
    found = np.float32(split.cut)
    return float(found)


def _every_leaf(forest: Forest, change: Callable[[float], float]) -> Forest:
    changed = [dataclasses.replace(tree, leaves=tuple(map(change, tree.leaves))) for tree in forest.trees]
    return dataclasses.replace(forest, trees=tuple(changed))


PLANTED: dict[str, Callable[[Forest], Forest]] = {
    "at most where it is below": lambda forest: _every_split(
        forest,
        lambda split: dataclasses.replace(
            split, cut=trees.single([float(np.nextafter(np.float32(_threshold(split)), np.float32(np.inf)))])[0]
        ),
    ),
    "thresholds compared in double precision": lambda forest: _every_split(
        forest, lambda split: dataclasses.replace(split, cut=_threshold(split))
    ),
    "missing values on the other side": lambda forest: _every_split(
        forest, lambda split: dataclasses.replace(split, missing_left=not split.missing_left)
    ),
    "missing taken for zero": lambda forest: _every_split(
        forest, lambda split: dataclasses.replace(split, missing_left=split.cut > 0.0)
    ),
    "trees summed in another order": lambda forest: dataclasses.replace(forest, trees=tuple(reversed(forest.trees))),
    "sums in double precision": lambda forest: dataclasses.replace(forest, width="float64"),
    "a base score that is no sum": lambda forest: dataclasses.replace(forest, begins=(0.3,)),
    "no base score": lambda forest: dataclasses.replace(forest, begins=(0.0,)),
    "the last tree left out": lambda forest: dataclasses.replace(forest, trees=forest.trees[:-1]),
    "left and right swapped": lambda forest: _every_split(
        forest, lambda split: dataclasses.replace(split, left=split.right, right=split.left)
    ),
    "two columns swapped": lambda forest: _every_split(
        forest, lambda split: dataclasses.replace(split, column=(1, 0, 2)[split.column])
    ),
    "zero taken for missing": lambda forest: dataclasses.replace(
        forest, taken=dict.fromkeys(range(3), (leaves._NO_ZERO,))
    ),
    "leaves in half precision": lambda forest: _every_leaf(forest, lambda leaf: float(np.float16(leaf))),
}


def _computed(fitted: Any, change: Callable[[Forest], Forest]) -> tuple[Predictor, Predictor]:
    """The engine with a change to its forest, and the model."""
    _, native = engine_and_native("trees", fitted, RANGED, BANDED)
    inside = direct.inside(fitted)
    followed = folding.pipeline(fitted, NAMES, RANGED)
    computes = forests.compiled(change(inside.model.forest()), followed, lambda raw: inside.ask(BANDED, raw))
    return AtEdges(computes, lambda: native, BANDED, TOLERANCE), native


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_error_is_caught_by_the_proof(planted: str) -> None:
    right, native = _computed(_fitted(), lambda forest: forest)
    golden_cases = cases(native, RANGED)
    assert equivalence.prove(native, right, RANGED, BANDED, golden_cases, TOLERANCE).largest_difference == 0.0
    wrong, _ = _computed(_fitted(), PLANTED[planted])
    few = [case for case in golden_cases if wrong.predict([case.row.cells])[0] == case.expected]
    with pytest.raises((EquivalenceFailed, golden.GoldenMismatch)):
        equivalence.prove(native, wrong, RANGED, BANDED, few or golden_cases, TOLERANCE)


def test_a_fit_that_stopped_early_counts_its_best_trees_alone() -> None:
    fitted = XGBClassifier(n_estimators=20, max_depth=3, n_jobs=1, early_stopping_rounds=3)
    fitted.fit(X[20:], DIED[20:], eval_set=[(X[:20], 1 - DIED[:20])], verbose=False)
    counted = direct.inside(fitted).model.forest()
    assert len(counted.trees) == fitted.best_iteration + 1 < fitted.get_booster().num_boosted_rounds()
    assert proven("trees", fitted, NUMBERS, PROBABILITY) == 0.0

    class OfAll:
        def predict(self, asked_for: Sequence[Row]) -> Sequence[Scalar]:
            values: list[Scalar] = fitted.get_booster().inplace_predict(np.array(asked_for, dtype=float)).tolist()
            return values

    _, native = engine_and_native("trees", fitted, NUMBERS, PROBABILITY)
    with pytest.raises((EquivalenceFailed, golden.GoldenMismatch)):
        equivalence.prove(native, OfAll(), NUMBERS, PROBABILITY, cases(native, NUMBERS)[:1], TOLERANCE)


@pytest.mark.parametrize(
    "threshold", [0.0, 1.0, -1.0, 0.1, 1e-45, -1e-45, 1e-38, 3e38, float(np.float32(np.pi)), 16_777_217.0]
)
def test_a_cut_lies_exactly_where_single_precision_changes_sides(threshold: float) -> None:
    (cut,) = trees.single([threshold])
    narrow = np.float32(threshold)
    assert np.float32(cut) >= narrow
    assert np.float32(math.nextafter(cut, -math.inf)) < narrow


def test_a_tree_of_one_leaf_and_one_of_many_words_are_added_in_order() -> None:
    chain = tuple(Split(0, float(place), False, ~place, place + 1 if place < 149 else ~150) for place in range(150))
    forest = Forest(
        trees=(Tree((), (0.5,)), Tree(chain, tuple(float(place) for place in range(151))), Tree((), (0.25,))),
        begins=(100.0,),
        width="float64",
        finish=lambda sums: sums[:, 0],
    )
    inputs = (Input(name="x", type="number"),)
    find = leaves.exits(forest, features.begin(inputs, ["x"], math.nan), zero_is_missing=False)
    values = leaves.sums(forest)([find((x,)) for x in (-1.0, 0.0, 63.5, 64.0, 148.9, 1e9)])[:, 0].tolist()
    assert values == [100.75, 101.75, 164.75, 165.75, 249.75, 250.75]

"""Every format and every output: bit for bit what the estimator answers when it is asked directly."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import lightgbm
import numpy as np
import pytest
import xgboost
from cohort import CLASS, DIED, FRAME, MIXED, NUMBERS, PROBABILITY, STAY, VALUE, WARD, asked, rows
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from skops import io as skops

from bedside_runtime.contract import Framework, Input, Output
from bedside_runtime.errors import EnvironmentMismatch, ForbiddenGlobal, ModelMismatch

X = FRAME[[item.name for item in NUMBERS]]
ARRAY = X.to_numpy(dtype="float64")


def pipeline() -> Any:
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["systolic", "age", "lactate"]),
        (OneHotEncoder(), ["admission"]),
        ("passthrough", ["ventilated"]),
    )
    return make_pipeline(columns, LogisticRegression()).fit(FRAME, DIED)


def linear(data: Any = X) -> Any:
    return make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()).fit(data, DIED)


SAVERS: dict[str, Callable[[Any, Path], None]] = {
    "m.joblib": lambda model, path: joblib.dump(model, path),
    "small.joblib": lambda model, path: joblib.dump(model, path, compress=3),
    "m.pkl": lambda model, path: path.write_bytes(pickle.dumps(model)),
    "m.skops": lambda model, path: skops.dump(model, path),
}


@pytest.mark.parametrize("name", SAVERS)
@pytest.mark.parametrize(
    ("fit", "layout"),
    [
        (pipeline, "frame"),
        (linear, "array"),
        (lambda: RandomForestClassifier(20, n_jobs=2, random_state=0).fit(X.fillna(0), DIED), "array"),
        (lambda: HistGradientBoostingClassifier(max_iter=5).fit(ARRAY, DIED), "array"),
    ],
    ids=["columns", "linear", "forest", "histogram"],
)
def test_an_estimator_answers_what_it_answers_directly(tmp_path: Path, name: str, fit: Any, layout: str) -> None:
    model, path = fit(), tmp_path / name
    SAVERS[name](model, path)
    inputs = MIXED if layout == "frame" else NUMBERS
    data = FRAME if layout == "frame" else X if hasattr(model, "feature_names_in_") else ARRAY
    found, predictor = asked(path, "sklearn", inputs, PROBABILITY)
    assert found.layout == layout
    assert list(predictor.predict(rows(inputs))) == model.predict_proba(data)[:, 1].tolist()
    assert list(predictor.predict(rows(inputs)[:1])) == model.predict_proba(data[:1])[:, 1].tolist()


def test_the_order_of_the_declared_inputs_does_not_matter(tmp_path: Path) -> None:
    model, inputs = pipeline(), MIXED[::-1]
    joblib.dump(model, tmp_path / "m.joblib")
    _, predictor = asked(tmp_path / "m.joblib", "sklearn", inputs, PROBABILITY)
    assert list(predictor.predict(rows(inputs))) == model.predict_proba(FRAME)[:, 1].tolist()


def test_a_class_and_a_value_are_answered_as_python_scalars(tmp_path: Path) -> None:
    ward = RandomForestClassifier(5, random_state=0).fit(ARRAY, WARD)
    stay = RandomForestRegressor(5, random_state=0).fit(ARRAY, STAY)
    for model, output, kind in ((ward, CLASS, str), (stay, VALUE, float)):
        joblib.dump(model, tmp_path / "m.joblib")
        _, predictor = asked(tmp_path / "m.joblib", "sklearn", NUMBERS, output)
        answers = list(predictor.predict(rows(NUMBERS)))
        assert answers == model.predict(ARRAY).tolist()
        assert {type(answer) for answer in answers} == {kind}


@pytest.mark.parametrize("suffix", ["json", "ubj"])
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("permuted", [True, False])
def test_an_xgboost_booster_answers_what_the_classifier_does(
    tmp_path: Path, suffix: str, named: bool, permuted: bool
) -> None:
    model = xgboost.XGBClassifier(n_estimators=5).fit(X if named else ARRAY, DIED)
    model.save_model(tmp_path / f"m.{suffix}")
    inputs = NUMBERS[::-1] if permuted and named else NUMBERS
    found, predictor = asked(tmp_path / f"m.{suffix}", "xgboost", inputs, PROBABILITY)
    assert found.trained_with == {"xgboost": xgboost.__version__}
    assert list(predictor.predict(rows(inputs))) == model.predict_proba(X if named else ARRAY)[:, 1].tolist()


def test_an_xgboost_booster_stops_where_its_classifier_stopped_early(tmp_path: Path) -> None:
    model = xgboost.XGBClassifier(n_estimators=60, early_stopping_rounds=2, learning_rate=0.9)
    model.fit(X[:40], DIED[:40], eval_set=[(X[40:], DIED[40:])], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    model.save_model(tmp_path / "m.ubj")
    _, predictor = asked(tmp_path / "m.ubj", "xgboost", NUMBERS, PROBABILITY)
    assert list(predictor.predict(rows(NUMBERS))) == model.predict_proba(X)[:, 1].tolist()


def test_an_xgboost_booster_answers_classes_and_values(tmp_path: Path) -> None:
    codes = WARD.astype("category").cat.codes
    several = xgboost.XGBClassifier(n_estimators=5).fit(X, codes)
    several.save_model(tmp_path / "c.ubj")
    _, predictor = asked(tmp_path / "c.ubj", "xgboost", NUMBERS, CLASS)
    assert list(predictor.predict(rows(NUMBERS))) == several.predict(X).tolist()
    _, predictor = asked(tmp_path / "c.ubj", "xgboost", NUMBERS, Output(name="w", type="probability", positive=2))
    assert list(predictor.predict(rows(NUMBERS))) == several.predict_proba(X)[:, 2].tolist()
    stay = xgboost.XGBRegressor(n_estimators=5).fit(X, STAY)
    stay.save_model(tmp_path / "v.json")
    _, predictor = asked(tmp_path / "v.json", "xgboost", NUMBERS, VALUE)
    assert list(predictor.predict(rows(NUMBERS))) == stay.predict(X).tolist()


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("framework", ["xgboost", "lightgbm"])
def test_a_pickled_wrapper_of_a_booster_goes_the_estimators_way(
    tmp_path: Path, framework: Framework, named: bool
) -> None:
    data = X if named else ARRAY
    model: Any = xgboost.XGBClassifier(n_estimators=5)
    if framework == "lightgbm":
        model = lightgbm.LGBMClassifier(n_estimators=5, min_child_samples=2, verbose=-1)
    joblib.dump(model.fit(data, DIED), tmp_path / "m.joblib")
    _, predictor = asked(tmp_path / "m.joblib", framework, NUMBERS, PROBABILITY)
    expected = (
        joblib.load(tmp_path / "m.joblib").get_booster().inplace_predict(data)
        if framework == "xgboost"
        else (model.booster_.predict(data))
    )
    assert list(predictor.predict(rows(NUMBERS))) == expected.tolist()


@pytest.mark.parametrize("permuted", [True, False])
def test_a_lightgbm_booster_answers_what_it_answers_directly(tmp_path: Path, permuted: bool) -> None:
    inputs = NUMBERS[::-1] if permuted else NUMBERS
    for objective, target, output in (("binary", DIED, PROBABILITY), ("regression", STAY, VALUE)):
        settings = {"objective": objective, "min_data_in_leaf": 2, "verbose": -1}
        model = lightgbm.train(settings, lightgbm.Dataset(X, target), 5)
        model.save_model(tmp_path / "m.txt")
        found, predictor = asked(tmp_path / "m.txt", "lightgbm", inputs, output)
        assert found.features == ("lactate", "age", "systolic")
        assert list(predictor.predict(rows(inputs))) == model.predict(X).tolist()


@pytest.mark.parametrize("zipmap", [True, False])
def test_an_onnx_graph_answers_what_its_session_answers(tmp_path: Path, zipmap: bool) -> None:
    import onnxruntime

    model = linear(ARRAY)
    graph = to_onnx(
        model, initial_types=[("X", FloatTensorType([None, 3]))], options={"zipmap": zipmap}
    ).SerializeToString()
    (tmp_path / "m.onnx").write_bytes(graph)
    found, predictor = asked(tmp_path / "m.onnx", "onnx", NUMBERS, PROBABILITY)
    session = onnxruntime.InferenceSession(graph)
    (raw,) = session.run([session.get_outputs()[1].name], {"X": ARRAY.astype("float32")})
    expected = [item[1] for item in raw] if zipmap else raw[:, 1].tolist()
    assert found.layout == "array"
    assert list(predictor.predict(rows(NUMBERS))) == expected
    _, predictor = asked(tmp_path / "m.onnx", "onnx", NUMBERS, CLASS)
    assert list(predictor.predict(rows(NUMBERS))) == session.run(None, {"X": ARRAY.astype("float32")})[0].tolist()


def test_a_transform_of_the_author_makes_the_models_input(tmp_path: Path) -> None:
    model = LogisticRegression().fit(X[["age"]].to_numpy(), DIED)
    joblib.dump(model, tmp_path / "m.joblib")
    code = {"preparing.py": b"def transform(rows):\n    return [[row['age']] for row in rows]\n"}
    found, predictor = asked(tmp_path / "m.joblib", "sklearn", MIXED, PROBABILITY, code)
    assert found.layout == "code"
    assert list(predictor.predict(rows(MIXED))) == model.predict_proba(X[["age"]].to_numpy())[:, 1].tolist()


def test_a_function_of_numpy_may_be_a_step(tmp_path: Path) -> None:
    model = make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()).fit(X.fillna(0), DIED)
    joblib.dump(model, tmp_path / "m.joblib")
    inputs = (Input(name="lactate", type="number"), *NUMBERS[1:])
    _, predictor = asked(tmp_path / "m.joblib", "sklearn", inputs, PROBABILITY)
    cells = [tuple(0.0 if cell is None else cell for cell in row) for row in rows(inputs)]
    assert list(predictor.predict(cells)) == model.predict_proba(X.fillna(0))[:, 1].tolist()


REFUSED: list[tuple[Any, tuple[Input, ...], Output, str]] = [
    (linear, NUMBERS[:2], PROBABILITY, "declared are not: systolic"),
    (linear, MIXED, PROBABILITY, "does not know: admission, ventilated"),
    (lambda: linear(ARRAY), NUMBERS[:2], PROBABILITY, "takes 3 features without names; 2 inputs"),
    (linear, NUMBERS, Output(name="m", type="probability", positive="1"), "none of the model's classes: 0, 1"),
    (linear, NUMBERS, VALUE, "cannot answer a value"),
    (lambda: RandomForestRegressor(2).fit(ARRAY, STAY), NUMBERS, PROBABILITY, "cannot answer a probability"),
    (lambda: RandomForestRegressor(2).fit(ARRAY, STAY), NUMBERS, CLASS, "cannot answer a class"),
    (lambda: {"model": 1}, NUMBERS, CLASS, "holds dict, which cannot predict"),
]


@pytest.mark.parametrize(("fit", "inputs", "output", "why"), REFUSED, ids=[item[3] for item in REFUSED])
def test_a_model_that_does_not_fit_the_declaration_is_refused(
    tmp_path: Path, fit: Any, inputs: tuple[Input, ...], output: Output, why: str
) -> None:
    joblib.dump(fit(), tmp_path / "m.joblib")
    with pytest.raises(ModelMismatch, match=why):
        asked(tmp_path / "m.joblib", "sklearn", inputs, output)


def test_another_scikit_learn_is_named_with_the_one_installed(tmp_path: Path) -> None:
    import sklearn

    model = linear()
    data = pickle.dumps(model)
    here = sklearn.__version__
    (tmp_path / "m.pkl").write_bytes(data.replace(here.encode(), b"0" * len(here)))
    with pytest.raises(EnvironmentMismatch, match=f"{'0' * len(here)}; installed is {here}"):
        asked(tmp_path / "m.pkl", "sklearn", NUMBERS, PROBABILITY)


def test_another_xgboost_is_named_with_the_one_installed(tmp_path: Path) -> None:
    model = xgboost.XGBClassifier(n_estimators=2).fit(X, DIED)
    model.save_model(tmp_path / "m.json")
    parts = ",".join(xgboost.__version__.split("."))
    text = (tmp_path / "m.json").read_text()
    (tmp_path / "m.json").write_text(text.replace(f'"version":[{parts}]', '"version":[1,7,3]'))
    with pytest.raises(EnvironmentMismatch, match=r"1\.7\.3; installed is"):
        asked(tmp_path / "m.json", "xgboost", NUMBERS, PROBABILITY)


def test_a_skops_file_with_a_foreign_type_is_refused(tmp_path: Path) -> None:
    import subprocess

    model = FunctionTransformer(subprocess.check_output)
    skops.dump(make_pipeline(model, LogisticRegression()), tmp_path / "m.skops")
    with pytest.raises(ForbiddenGlobal, match=r"subprocess.check_output"):
        asked(tmp_path / "m.skops", "sklearn", NUMBERS, PROBABILITY)


@pytest.mark.parametrize("function", [np.load, np.random._pickle.__bit_generator_ctor])
def test_a_skops_file_keeps_no_function_but_a_calculation(tmp_path: Path, function: Any) -> None:
    skops.dump(make_pipeline(FunctionTransformer(function), LogisticRegression()), tmp_path / "m.skops")
    with pytest.raises(ForbiddenGlobal, match="has no need of it"):
        asked(tmp_path / "m.skops", "sklearn", NUMBERS, PROBABILITY)


@pytest.mark.parametrize(
    ("name", "framework"),
    [
        ("m.joblib", "sklearn"),
        ("m.skops", "sklearn"),
        ("m.ubj", "xgboost"),
        ("m.json", "xgboost"),
        ("m.txt", "lightgbm"),
    ],
)
def test_a_damaged_file_is_refused_with_a_sentence(tmp_path: Path, name: str, framework: Framework) -> None:
    path = tmp_path / name
    match framework:
        case "sklearn":
            SAVERS[name](linear(), path)
        case "xgboost":
            xgboost.XGBClassifier(n_estimators=2).fit(X, DIED).save_model(path)
        case _:
            settings = {"objective": "binary", "verbose": -1}
            lightgbm.train(settings, lightgbm.Dataset(X, DIED), 2).save_model(path)
    whole = path.read_bytes()
    for data in (b"", whole[: len(whole) // 2], whole[: len(whole) - len(whole) // 5], b"\x00garbage" * 9):
        path.write_bytes(data)
        with pytest.raises(ModelMismatch):
            asked(path, framework, NUMBERS, PROBABILITY)


def test_a_directory_is_no_model_file(tmp_path: Path) -> None:
    with pytest.raises(ModelMismatch, match="cannot be read"):
        asked(tmp_path, "sklearn", NUMBERS, PROBABILITY)


def test_a_suffix_that_contradicts_the_bytes_is_refused(tmp_path: Path) -> None:
    joblib.dump(linear(), tmp_path / "m.onnx")
    with pytest.raises(ModelMismatch, match=r"which its suffix \.onnx denies"):
        asked(tmp_path / "m.onnx", "onnx", NUMBERS, PROBABILITY)

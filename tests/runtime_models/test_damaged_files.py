"""A damaged model file is refused in the runtime's own words, whatever its format: no process ends, no memory fills."""

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import lightgbm
import numpy as np
import onnx
import pytest
import skops.io
import xgboost
from cohort import DIED, FRAME, NUMBERS
from skl2onnx import to_onnx
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from bedside_runtime.adapters import lightgbm_text, pickles, ubjson, xgboost_file
from bedside_runtime.adapters import xgboost as xgboost_adapter
from bedside_runtime.adapters.lightgbm import Model
from bedside_runtime.errors import ModelMismatch

X = FRAME[[item.name for item in NUMBERS]]
PIPELINE = make_pipeline(SimpleImputer(), LogisticRegression()).fit(X, DIED)
XGBOOST = xgboost.XGBClassifier(n_estimators=4, max_depth=3, n_jobs=1).fit(X, DIED)
LIGHTGBM = lightgbm.LGBMClassifier(n_estimators=4, min_child_samples=3, n_jobs=1, verbose=-1).fit(X, DIED)


def graph(path: Path) -> None:
    options = {"zipmap": False}
    onnx.save(to_onnx(PIPELINE, X.fillna(1.0).to_numpy(dtype=np.float32), options=options, target_opset=17), path)


FILES: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "m.txt": ("lightgbm", LIGHTGBM.booster_.save_model),
    "m.json": ("xgboost", XGBOOST.save_model),
    "m.ubj": ("xgboost", XGBOOST.save_model),
    "m.onnx": ("onnx", graph),
    "m.skops": ("sklearn", lambda path: skops.io.dump(PIPELINE, path)),
    "m.pkl": ("sklearn", lambda path: path.write_bytes(pickle.dumps(PIPELINE, protocol=0))),
    "m.joblib": ("sklearn", lambda path: joblib.dump(PIPELINE, path)),
    "xgboost.joblib": ("xgboost", lambda path: joblib.dump(XGBOOST, path)),
    "lightgbm.joblib": ("lightgbm", lambda path: joblib.dump(LIGHTGBM, path)),
    **{
        f"{kind}.joblib": ("sklearn", lambda path, kind=kind: joblib.dump(PIPELINE, path, compress=(kind, 3)))
        for kind in ("zlib", "gzip", "bz2", "lzma", "xz")
    },
}


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_read_or_refused_and_ends_no_process(tmp_path: Path, name: str) -> None:
    framework, save = FILES[name]
    save(tmp_path / name)
    script = Path(__file__).with_name("damaged.py")
    done = subprocess.run(
        [sys.executable, script, tmp_path / name, framework, "40"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    last = done.stdout.splitlines()[-1:]
    assert (done.returncode, last) == (0, ["all were answered"]), f"{last}: {done.stderr[-2000:]}"


def changed(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new, 1)


def test_a_pickled_lightgbm_booster_of_garbage_is_refused() -> None:
    held = LIGHTGBM.booster_.model_to_string()
    data = pickle.dumps(LIGHTGBM.booster_, protocol=2)
    for text in ("no booster" + "." * (len(held) - 10), changed(held, "objective=binary", "objective=binarx")):
        crafted = changed_bytes(data, held.encode(), text.encode())
        with pytest.raises(ModelMismatch, match="cannot be read"):
            pickles.load(crafted, pickles.record_globals(crafted))


def changed_bytes(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    assert len(old) == len(new)
    return data.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    {
        "a line without a value": ("[boosting: gbdt]", "[boosting gbdt]"),
        "a tree without its features": ("split_feature=", "split_featurk="),
        "a child that is none": ("left_child=", "left_child=9"),
        "a feature that is beyond 32 bits": ("split_feature=", "split_feature=99999999999"),
        "a feature that is none": ("split_feature=", "split_feature=7"),
        "a tree of another size": ("tree_sizes=", "tree_sizes=1"),
        "more classes than trees": ("num_class=1", "num_class=9"),
        "a number that is none": ("threshold=", "threshold=x"),
        "the ends of lines of Windows": ("tree\n", "tree\r\n"),
        "the end of a C string": ("[data: ]", "[data: \0]"),
        "no objective": ("objective=binary sigmoid:1\n", "objective=\n\n"),
    }.values(),
)
def test_a_lightgbm_text_that_does_not_agree_with_itself_is_not_served(old: str, new: str) -> None:
    text = changed(LIGHTGBM.booster_.model_to_string(), old, new)
    with pytest.raises(ModelMismatch):
        Model(text.encode()).ask(None)  # type: ignore[arg-type] # refused before


def test_honest_boosters_of_every_kind_are_whole() -> None:
    words = FRAME[["lactate", "admission"]].astype({"admission": "category"})
    for settings, table in (
        ({"objective": "binary"}, X),
        ({"objective": "binary", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}, X),
        ({"objective": "regression", "linear_tree": True}, X),
        ({"objective": "multiclass", "num_class": 2}, X),
        ({"objective": "binary", "min_data_in_leaf": 1000}, X),
        ({"objective": "binary", "min_data_per_group": 1, "cat_smooth": 0, "max_cat_to_onehot": 1}, words),
    ):
        least = {"verbose": -1, "min_data_in_leaf": 3, **settings}
        lightgbm_text.require_whole(lightgbm.train(least, lightgbm.Dataset(table, DIED), 5).model_to_string())
    for settings, table in (
        ({"booster": "dart"}, X),
        ({"booster": "gblinear"}, X.fillna(0.0)),
        ({"gamma": 5.0, "tree_method": "exact"}, X),
        ({"multi_strategy": "multi_output_tree"}, X),
        ({"max_cat_to_onehot": 1}, words),
    ):
        label = np.column_stack([DIED, 1 - DIED]) if "multi_strategy" in settings else DIED
        booster = xgboost.train(settings, xgboost.DMatrix(table, label, enable_categorical=True), 5)
        for data in (booster.save_raw("json"), booster.save_raw("ubj"), booster.__getstate__()["handle"]):
            xgboost_file.require_whole(bytes(data))


@pytest.mark.parametrize(
    ("lefts", "rights"),
    {
        "a node that is its own child": ([0, -2], [1, -3]),
        "a node that two have": ([1, 1], [-1, -2]),
        "a circle beside the root": ([-1, 2, 1], [-2, -3, -4]),
        "a leaf that is none": ([1, -1], [-2, -4]),
    }.values(),
)
def test_nodes_are_a_tree(lefts: list[int], rights: list[int]) -> None:
    with pytest.raises(ValueError, match="no tree"):
        lightgbm_text._require_shape(lefts, rights)
    lightgbm_text._require_shape([1, -1], [-3, -2])


def spoilt(key: str, value: object) -> bytes:
    """A booster in JSON in which the second tree, or what holds the trees, says something else."""
    saved = json.loads(bytes(XGBOOST.get_booster().save_raw("json")))
    model = saved["learner"]["gradient_booster"]["model"]
    tree = model["trees"][1]
    room = next(place for place in (tree, tree["tree_param"], model) if key in place)
    if isinstance(room[key], list) and not isinstance(value, list):
        room[key][0] = value
    else:
        room[key] = value
    return json.dumps(saved).encode()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("left_children", 0),
        ("left_children", 99_999_999),
        ("right_children", []),
        ("parents", [0, 99_999_999, 0, 2, 2, 3, 3, 4, 4]),
        ("split_indices", 99_999_999),
        ("size_leaf_vector", "-1"),
        ("num_nodes", "99999999"),
        ("tree_info", 7),
        ("iteration_indptr", [0, 9]),
        ("categories_nodes", [3]),
        ("split_type", 1),
    ],
)
def test_an_xgboost_file_that_does_not_agree_with_itself_is_refused(key: str, value: object) -> None:
    with pytest.raises(ModelMismatch, match="cannot be read by xgboost"):
        xgboost_adapter.Model(spoilt(key, value))


@pytest.mark.parametrize(
    "data",
    {
        "a length beyond the end": b"[$d#L\x00\x00\x00\xff\x00\x00\x00\x00",
        "a count beyond the end": b"[#L\x00\x00\x00\xff\x00\x00\x00\x00",
        "a length below zero": b"Si\xff",
        "a length that is a fraction": b"Sd\x00\x00\x00\x00",
        "arrays without end": b"[" * 100_000,
        "nothing": b"",
        "two values": b"ZZ",
        "the same key twice": b"{U\x01aZU\x01aZ}",
    }.values(),
)
def test_ubjson_is_believed_as_far_as_there_are_bytes(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        ubjson.decode(data)


def test_ubjson_is_what_xgboost_says_in_json() -> None:
    booster = XGBOOST.get_booster()
    in_text = json.loads(bytes(booster.save_raw("json")))
    in_bytes = ubjson.decode(bytes(booster.save_raw("ubj")))
    assert in_bytes["learner"]["objective"] == in_text["learner"]["objective"]
    tree = in_bytes["learner"]["gradient_booster"]["model"]["trees"][0]
    assert [*tree["left_children"]] == in_text["learner"]["gradient_booster"]["model"]["trees"][0]["left_children"]

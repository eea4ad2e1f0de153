"""Crafted model files: what each would read, write or run is refused before any of it happens.

Every attack names a file that lies there, or would be made, and is looked at afterwards.
"""

import copy
import copyreg
import functools
import io
import operator
import os
import pickle
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import lightgbm
import numpy as np
import onnxruntime
import pandas as pd
import pytest
import scipy.io
import scipy.stats
import sklearn.datasets
import sklearn.utils
import xgboost
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from bedside_runtime.adapters import pickles
from bedside_runtime.contract import Global
from bedside_runtime.errors import BedsideRuntimeError, ForbiddenGlobal

LONG_AGO = 1_000_000_000


class Call:
    """Pickles as a call of ``function``, which stands in the stream by reference; ``state`` is then given to it."""

    def __init__(self, function: object, *arguments: object, state: object = None) -> None:
        self.reduced = (function, arguments, state) if state is not None else (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reduced


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A file that nothing may read: its time of access is older than that of its change, so reading moves it."""
    path = tmp_path / "canary.csv"
    path.write_text("1,2\n3,4\n")
    os.utime(path, (LONG_AGO, LONG_AGO + 1))
    yield path
    assert path.stat().st_atime == LONG_AGO, "the canary was read"
    assert sorted(tmp_path.iterdir()) == [path], "something was written"


def refused(data: bytes, why: str = "the model") -> None:
    with pytest.raises(ForbiddenGlobal, match=why) as caught:
        pickles.record(data)
    assert caught.value.remedy
    with pytest.raises(BedsideRuntimeError):
        pickles.load(data, ())


def by_hand(*lines: str) -> bytes:
    """A stream of protocol 0, as an attacker writes it."""
    return ("\n".join(lines)).encode()


CALLS: dict[str, Callable[[str], Call]] = {
    "onnxruntime.InferenceSession": lambda path: Call(onnxruntime.InferenceSession, path),
    "xgboost.DMatrix": lambda path: Call(xgboost.DMatrix, f"{path}?format=csv"),
    "xgboost.Booster": lambda path: Call(xgboost.Booster, None, None, path),
    "lightgbm.Booster": lambda path: Call(lightgbm.Booster, None, None, path),
    "xgboost.XGBClassifier": lambda path: Call(xgboost.XGBClassifier),
    "numpy.load": lambda path: Call(np.load, path),
    "numpy.memmap": lambda path: Call(np.memmap, path),
    "numpy.fromfile": lambda path: Call(np.fromfile, path),
    "numpy.loadtxt": lambda path: Call(np.loadtxt, path),
    "numpy.save": lambda path: Call(np.save, f"{path}.npy", 1),
    "pandas.read_pickle": lambda path: Call(pd.read_pickle, path),
    "pandas.read_csv": lambda path: Call(pd.read_csv, path),
    "pandas.eval": lambda path: Call(pd.eval, f"@pd.read_csv('{path}')"),
    "joblib.load": lambda path: Call(joblib.load, path),
    "joblib.dump": lambda path: Call(joblib.dump, 1, f"{path}.joblib"),
    "sklearn.datasets.load_svmlight_file": lambda path: Call(sklearn.datasets.load_svmlight_file, path),
    "sklearn.datasets.load_files": lambda path: Call(sklearn.datasets.load_files, str(Path(path).parent)),
    "sklearn.datasets.fetch_openml": lambda path: Call(sklearn.datasets.fetch_openml, "iris"),
    "sklearn.utils.resample": lambda path: Call(sklearn.utils.resample, [1]),
    "sklearn.utils.check_array": lambda path: Call(sklearn.utils.check_array, [[1]]),
    "sklearn.LogisticRegression": lambda path: Call(LogisticRegression),
    "scipy.io.loadmat": lambda path: Call(scipy.io.loadmat, path),
    "scipy.stats.norm": lambda path: Call(type(scipy.stats.norm)),
    "functools.partial": lambda path: Call(functools.partial, os.unlink, path),
    "functools.partial of a reader": lambda path: Call(functools.partial, np.load, path),
    "operator.attrgetter": lambda path: Call(operator.attrgetter, "system"),
    "operator.methodcaller": lambda path: Call(operator.methodcaller, "unlink"),
    "builtins.getattr": lambda path: Call(getattr, LogisticRegression, "fit"),
    "builtins.open": lambda path: Call(open, path),
    "a generator of a reader": lambda path: Call(np.random._pickle.__generator_ctor, path, np.load),
    "a generator of a function": lambda path: Call(np.random._pickle.__generator_ctor, path, np.mean),
    "a generator of a class": lambda path: Call(np.random._pickle.__generator_ctor, path, xgboost.Booster),
    "a bit generator of a class": lambda path: Call(np.random._pickle.__bit_generator_ctor, xgboost.DMatrix),
    "a bit generator of a model": lambda path: Call(np.random._pickle.__bit_generator_ctor, xgboost.Booster),
    "a base that is made": lambda path: Call(copyreg._reconstructor, LogisticRegression, xgboost.Booster, path),
}


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize("attack", CALLS.values(), ids=CALLS.keys())
def test_a_call_of_a_librarys_own_is_refused(canary: Path, attack: Callable[[str], Call], protocol: int) -> None:
    refused(pickle.dumps([attack(str(canary))], protocol=protocol))


@pytest.mark.parametrize("attack", CALLS.values(), ids=CALLS.keys())
def test_a_call_inside_an_array_of_objects_is_refused(canary: Path, attack: Callable[[str], Call]) -> None:
    file = io.BytesIO()
    joblib.dump(make_pipeline(FunctionTransformer(kw_args=np.array([attack(str(canary)), None], dtype=object))), file)
    refused(file.getvalue())


def test_the_canary_of_these_tests_notices(tmp_path: Path) -> None:
    path = tmp_path / "canary.csv"
    path.write_text("1,2\n")
    os.utime(path, (LONG_AGO, LONG_AGO + 1))
    pickle.loads(pickle.dumps(Call(np.loadtxt, str(path), np.str_)))
    if path.stat().st_atime == LONG_AGO and os.statvfs(tmp_path).f_flag & os.ST_NOATIME:
        pytest.skip("the file system of the temporary directory keeps no time of access")
    assert path.stat().st_atime > LONG_AGO


def test_an_array_that_maps_a_file_is_not_made_by_the_back_door(canary: Path) -> None:
    path = str(canary).encode()
    refused(b"\x80\x02cnumpy\nmemmap\nX" + len(path).to_bytes(4, "little") + path + b"\x85\x81.", "numpy.memmap")


def test_a_distribution_that_runs_its_own_state_is_refused(tmp_path: Path) -> None:
    canary = tmp_path / "c"
    norm = copy.copy(scipy.stats.norm)
    norm._parse_arg_template = f"open({str(canary)!r}, 'w').close()"
    attack = pickle.dumps(norm)
    refused(attack, "scipy.stats._continuous_distns.norm_gen")
    assert not canary.exists()
    with pytest.raises(KeyError):
        pickle.loads(attack)
    assert canary.exists()  # it would have worked


@pytest.mark.parametrize("function", [np.load, joblib.dump, pd.read_pickle, os.system, xgboost.Booster, eval])
def test_what_would_be_called_with_a_patients_values_is_not_kept(function: object) -> None:
    refused(pickle.dumps(FunctionTransformer(function, kw_args={"model_file": "/etc/passwd"})))


def test_a_class_that_would_be_called_later_is_not_kept_wherever_it_is_put(canary: Path) -> None:
    refused(pickle.dumps(defaultdict(xgboost.Booster)), "would keep it")
    refused(pickle.dumps({"a": [(1, {xgboost.Booster})]}), "would keep it")
    late: list[object] = []
    refused(pickle.dumps([FunctionTransformer(late), late.append(xgboost.Booster)]), "would keep it")


def test_a_function_is_not_given_attributes_that_make_the_policy_forget(canary: Path) -> None:
    data = by_hand("cnumpy", "mean", "(dVcallable", "I01", "sVuse", "I01", f"sb(V{canary}", "tR.")
    refused(data, "changes a class or a function")


@pytest.mark.parametrize("state", [("(dVpredict", "I1", "sb."), ("(N(dVpredict", "I1", "stb.")])
def test_a_class_is_not_given_attributes(state: tuple[str, ...]) -> None:
    data = by_hand("csklearn.linear_model._logistic", "LogisticRegression", *state)
    refused(data, "changes a class")
    with pytest.raises(ForbiddenGlobal, match="changes a class"):
        pickles.load(data, [Global(module="sklearn.linear_model._logistic", name="LogisticRegression")])
    assert callable(LogisticRegression.predict)


def test_a_class_that_comes_out_of_a_nested_stream_is_not_changed_either() -> None:
    file = io.BytesIO()
    joblib.dump(np.array([None], dtype=object), file)
    wrapped = file.getvalue()
    nested = wrapped.index(b"\x80", 2)
    inner = by_hand("csklearn.linear_model._logistic", "LogisticRegression", ".")
    data = wrapped[:nested] + inner + b"(N}\x8c\x07predictK\x01stb."
    refused(data, "changes a class")
    allowed = [*pickles.record_globals(wrapped), *pickles.record_globals(pickle.dumps(LogisticRegression()))]
    with pytest.raises(ForbiddenGlobal, match="changes a class"):
        pickles.load(data, allowed)
    assert callable(LogisticRegression.predict)


ESTIMATOR = (
    "ccopyreg",
    "_reconstructor",
    "(csklearn.linear_model._logistic",
    "LogisticRegression",
    "cbuiltins",
    "object",
)


def test_an_object_is_not_changed_after_it_has_its_state() -> None:
    assert pickles.record(by_hand(*ESTIMATOR, "NtR(dVC", "I1", "sb.")).globals
    refused(by_hand(*ESTIMATOR, "NtR(dVC", "cnumpy", "mean", "sbVpath", "b."), "takes no more")


@pytest.mark.parametrize("items", ["(VC\nI1\nu.", "(I1\ne.", "I1\na."])
def test_items_are_given_to_containers_alone(items: str) -> None:
    refused(by_hand(*ESTIMATOR, f"NtR{items}"), "takes no more")


def test_attributes_are_not_set_one_by_one() -> None:
    selector = (*ESTIMATOR[:2], "(csklearn.compose._column_transformer", "make_column_selector", *ESTIMATOR[4:])
    refused(by_hand(*selector, "NtR(N(dV__class__", "I1", "stb."), "may run code")


def test_an_array_takes_no_field_that_joblib_does_not_write() -> None:
    file = io.BytesIO()
    joblib.dump(np.arange(3.0), file)
    whole = file.getvalue()
    pickles.record(whole)
    with pytest.raises(BedsideRuntimeError, match="cannot be read"):
        pickles.record(whole.replace(b"allow_mmap", b"allow_MMAP"))


def test_a_function_is_not_asked_to_make_an_object() -> None:
    refused(b"\x80\x02cnumpy\nmean\n)\x81.", "makes an object of what is no model's class")


def test_a_program_that_runs_when_it_is_imported_is_not_imported() -> None:
    refused(b"cnumpy.f2py.__main__\nmain\n.", "has no need of it")
    assert "numpy.f2py.__main__" not in sys.modules


THIRD_PARTY = """
from sklearn.base import BaseEstimator

class Plain(BaseEstimator):
    pass

class Reads(BaseEstimator):
    def __setstate__(self, state):
        open(state["path"]).read()

class Opens(BaseEstimator):
    def __new__(cls, path=None):
        open(path).read()

class Closes(BaseEstimator):
    def __del__(self):
        open(self.path).read()

class NoEstimator:
    pass

def rebuild(path):
    return open(path).read()
"""


@pytest.fixture
def third_party(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An installed distribution that builds on scikit-learn, as the hospital's environment has them."""
    site = tmp_path_factory.mktemp("site")
    (site / "third_party_estimators.py").write_text(THIRD_PARTY)
    info = site / "third_party_estimators-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: third-party-estimators\nVersion: 1.0\nRequires-Dist: scikit-learn>=1\n"
    )
    (info / "top_level.txt").write_text("third_party_estimators\n")
    monkeypatch.syspath_prepend(str(site))
    import third_party_estimators  # type: ignore[import-not-found]

    yield third_party_estimators
    del sys.modules["third_party_estimators"]


def test_an_estimator_of_a_library_that_builds_on_scikit_learn_comes_back(third_party: Any) -> None:
    data = pickle.dumps(make_pipeline(third_party.Plain()))
    loaded = pickles.load(data, pickles.record_globals(data))
    assert isinstance(loaded[0], third_party.Plain)


@pytest.mark.parametrize("name", ["Reads", "Opens", "Closes", "NoEstimator"])
def test_a_class_whose_making_runs_code_of_its_own_is_refused(canary: Path, third_party: Any, name: str) -> None:
    data = by_hand(*ESTIMATOR[:2], "(cthird_party_estimators", name, *ESTIMATOR[4:], f"NtR(dVpath\nV{canary}\nsb.")
    refused(data, f"third_party_estimators.{name}: a fitted model has no need of it")


def test_a_function_of_such_a_library_is_refused(canary: Path, third_party: Any) -> None:
    refused(pickle.dumps(Call(third_party.rebuild, str(canary))), "third_party_estimators.rebuild")


def test_the_same_class_as_the_authors_own_code_is_allowed(third_party: Any) -> None:
    data = pickle.dumps([third_party.NoEstimator()])
    loaded = pickles.load(data, pickles.record_globals(data, ["third_party_estimators"]))
    assert isinstance(loaded[0], third_party.NoEstimator)


def test_the_refusal_says_what_an_honest_author_does() -> None:
    with pytest.raises(ForbiddenGlobal, match=r"onnxruntime\S*InferenceSession") as caught:
        pickles.record(pickle.dumps(FunctionTransformer(onnxruntime.InferenceSession)))
    assert "[model] code" in caught.value.remedy
    with pytest.raises(ForbiddenGlobal) as caught:
        pickles.record(pickle.dumps(scipy.stats.loguniform(1, 2)))
    assert "best_estimator_" in caught.value.remedy

"""Pickles of real models: read back bit for bit, and no hostile one among them gets anything run."""

import io
import os
import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from pandas.core.computation.expr import Expr
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from bedside_runtime.adapters import pickles
from bedside_runtime.errors import ForbiddenGlobal, ModelMismatch

X, Y = load_iris(return_X_y=True)


class Attack:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.canary}",)


class Call:
    """Pickles as a call of ``function``, which stands in the stream by reference."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


def dumped(value: object, compress: object = 0) -> bytes:
    file = io.BytesIO()
    joblib.dump(value, file, compress=compress)
    return file.getvalue()


def refused(data: bytes, canary: Path, why: str) -> None:
    with pytest.raises(ForbiddenGlobal, match=why):
        pickles.record(data)
    with pytest.raises((ForbiddenGlobal, ModelMismatch)):
        pickles.load(data, pickles.record_globals(dumped(np.array([object, 1.5]))))
    assert not canary.exists()


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)])
def test_an_attack_beside_an_array_in_a_joblib_file_never_runs(tmp_path: Path, compress: object) -> None:
    refused(dumped([np.arange(9.0), Attack(tmp_path / "c")], compress), tmp_path / "c", "posix.system")


@pytest.mark.parametrize("compress", [0, 3])
def test_an_attack_inside_an_array_of_objects_never_runs(tmp_path: Path, compress: object) -> None:
    attack = np.array([Attack(tmp_path / "c"), None], dtype=object)
    refused(dumped(attack, compress), tmp_path / "c", "posix.system")


def test_an_attack_two_arrays_deep_never_runs(tmp_path: Path) -> None:
    inner = np.array([Attack(tmp_path / "c"), None], dtype=object)
    refused(dumped({"a": np.array([inner, None], dtype=object)}), tmp_path / "c", "posix.system")


@pytest.mark.parametrize(
    "function", [np.load, np.save, np.fromfile, np.savetxt, joblib.load, np.testing.measure, np.memmap]
)
def test_a_librarys_function_is_not_called_by_the_file(tmp_path: Path, function: object) -> None:
    canary = tmp_path / "c"
    refused(pickle.dumps(Call(function, str(canary))), canary, r"numpy|joblib")


@pytest.mark.parametrize("kind", ["pandas.core.computation.expr.Expr", "pandas.core.computation.eval.Expr"])
def test_a_class_that_runs_the_text_it_is_made_with_is_refused(tmp_path: Path, kind: str) -> None:
    module, _, name = kind.rpartition(".")
    canary = tmp_path / "c"
    attack = Call(Expr, f"@sys.modules['os'].system('touch {canary}')", "python", "pandas")
    data = pickle.dumps(attack, 0).replace(b"pandas.core.computation.expr\nExpr", f"{module}\n{name}".encode())
    refused(data, canary, "has no need of it")
    pickle._loads(data)  # type: ignore[attr-defined]  # as the reader here, written in Python
    assert canary.exists()  # it would have worked


def test_another_name_for_what_is_refused_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "Expr", Expr, raising=False)
    with pytest.raises(ForbiddenGlobal, match="another name"):
        pickles.record(b"cnumpy\nExpr\n.")


@pytest.mark.parametrize("name", ["eval", "ExcelWriter", "HDFStore"])
def test_what_writes_or_runs_what_it_is_given_may_not_even_be_named(name: str) -> None:
    with pytest.raises(ForbiddenGlobal, match="has no need of it"):
        pickles.record(f"cpandas\n{name}\n.".encode())


def test_a_librarys_function_may_be_kept() -> None:
    data = pickle.dumps([np.log1p])
    assert pickles.load(data, pickles.record_globals(data)) == [np.log1p]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["<f8", ">f8", "<f4", "i8", "?", "U7", "S3", "O", "f8,i4", "M8[D]"])
def test_an_array_comes_back_as_joblib_reads_it(kind: str, order: str) -> None:
    array = np.asarray(np.zeros((3, 4), dtype=kind), order=order)
    array[1, 2] = np.ones(1, dtype=kind)[0]
    for compress in (0, 3):
        data = dumped({"a": array, "after": "the array"}, compress)
        found = pickles.load(data, pickles.record_globals(data))
        expected = joblib.load(io.BytesIO(data))
        assert found["after"] == "the array"
        assert found["a"].dtype == expected["a"].dtype
        assert (found["a"] == expected["a"]).all()
        assert found["a"].flags.writeable == expected["a"].flags.writeable
        assert found["a"].flags.f_contiguous == expected["a"].flags.f_contiguous


MODELS = [
    LogisticRegression(max_iter=500),
    RandomForestClassifier(3, random_state=0),
    HistGradientBoostingClassifier(max_iter=3),
    SVC(),
    KNeighborsClassifier(algorithm="kd_tree"),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_a_fitted_model_reads_back_from_every_protocol(model: Any) -> None:
    model.fit(X, Y)
    for data in (dumped(model), dumped(model, 3), *(pickle.dumps(model, protocol=number) for number in range(6))):
        loaded = pickles.load(data, pickles.record_globals(data))
        assert (loaded.predict(X) == model.predict(X)).all()


def test_the_version_that_saved_an_estimator_is_recorded() -> None:
    import sklearn

    assert pickles.record(dumped(LogisticRegression())).sklearn_versions == (sklearn.__version__,)


def test_every_cut_of_a_model_file_is_refused() -> None:
    data = dumped(LogisticRegression(max_iter=500).fit(X, Y))
    for size in range(0, len(data), 7):
        with pytest.raises((ModelMismatch, ForbiddenGlobal)):
            pickles.record(data[:size])

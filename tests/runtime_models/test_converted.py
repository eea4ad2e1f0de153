"""The engine onnx: what converts answers as the model; what does not, or answers otherwise, is refused."""

import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import joblib
import msgspec
import numpy as np
import onnx
import pytest
from cohort import CLASS, DIED, FRAME, MIXED, NUMBERS, PROBABILITY, STAY, VALUE, WARD, rows
from engine_cases import CASES, NAMES, cases, logistic, mixed
from lightgbm import LGBMClassifier
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import XGBClassifier, XGBRegressor

from bedside_runtime import adapters, borders, contract, environment, equivalence, loading, proving
from bedside_runtime.adapters import converted, converting
from bedside_runtime.adapters.edges import AtEdges
from bedside_runtime.adapters.predictor import Predictor
from bedside_runtime.contract import (
    Band,
    Contract,
    Converted,
    Engine,
    File,
    Golden,
    Input,
    InspectionRequest,
    Model,
    Output,
    Serve,
)
from bedside_runtime.errors import EngineUnsuitable, EquivalenceFailed, GoldenMismatch, IntegrityError, LibraryMissing

pytestmark = pytest.mark.filterwarnings("ignore")  # of the converters, in an environment that packaging alone has

PATH = "engine/model.onnx"
TOLERANCE = 1e-5
AGE = (NUMBERS[1],)
TABLE = FRAME[NAMES]
BANDED = Output(
    name="mortality", type="probability", positive=1, bands=(Band(name="low", below=0.5), Band(name="high"))
)
TREES = {"n_estimators": 12, "max_depth": 3, "random_state": 1}


@pytest.fixture(autouse=True)
def _short_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw a tenth: a proof of all takes seconds."""
    monkeypatch.setattr(equivalence, "INPUTS", 1_000)
    monkeypatch.setattr(equivalence, "ALONE", 8)
    monkeypatch.setattr(borders, "WALKS", 16)


class Released:
    """A model file as a release has it: inspected, converted, and opened as itself and through its graph."""

    def __init__(self, directory: Path, fitted: Any, inputs: Sequence[Input], output: Output) -> None:
        self.inputs, self.output = inputs, output
        path = directory / "m.joblib"
        joblib.dump(fitted, path)
        self.artifact = path.read_bytes()
        self.request = InspectionRequest(
            framework="sklearn", artifact=str(path), code=(), inputs=tuple(inputs), output=output
        )
        found = adapters.inspect(self.request)
        self.model = Model(
            framework="sklearn",
            format=found.format,
            artifact="model/m.joblib",
            features=found.features,
            layout=found.layout,
            globals=found.globals,
        )
        self.native = adapters.open_model(self.model, inputs, output, self.artifact, {})

    def convert(self) -> tuple[bytes, Converted]:
        return adapters.convert(self.request, PATH)

    def engine(self, graph: bytes | None, tolerance: float = TOLERANCE) -> Predictor:
        return adapters.open_model(self.model, self.inputs, self.output, self.artifact, {}, "onnx", tolerance, graph)

    def proven(self, engine: Predictor, tolerance: float = TOLERANCE) -> float:
        golden_cases = cases(self.native, self.inputs)
        proof = equivalence.prove(self.native, engine, self.inputs, self.output, golden_cases, tolerance)
        return proof.largest_difference


def _golden(released: Released) -> Iterator[dict[str, object]]:
    for case in cases(released.native, released.inputs):
        cells = dict(zip(NAMES, case.row.cells, strict=True))
        yield {"id": case.id, "inputs": cells, "expected": case.expected}


def packaged(directory: Path, released: Released, graph: bytes, found: Converted) -> Path:
    """Write the release as packaging stages it: native, with what was converted; return its directory."""
    for path, data in {
        "model/m.joblib": released.artifact,
        PATH: graph,
        "golden.jsonl": b"\n".join(map(msgspec.json.encode, _golden(released))),
    }.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(data)
    files = tuple(
        File(path=path, sha256=hashlib.sha256(data).hexdigest(), size=len(data))
        for path in ("engine/model.onnx", "golden.jsonl", "model/m.joblib")
        for data in [(directory / path).read_bytes()]
    )
    value = Contract(
        name="icu",
        version="1.0.0",
        title="A test model",
        model=released.model,
        inputs=tuple(released.inputs),
        output=released.output,
        golden=Golden(path="golden.jsonl", cases=CASES, tolerance=TOLERANCE),
        environment=environment.fingerprint(),
        engine=Engine(converted=found),
        serve=Serve(),
        files=files,
    )
    (directory / "contract.json").write_bytes(contract.encode(value))
    return directory


def test_it_is_taken_by_its_name_alone_and_read_from_the_bytes_that_were_compared(tmp_path: Path) -> None:
    fitted = make_pipeline(SimpleImputer(), RandomForestClassifier(**TREES)).fit(TABLE, DIED)
    released = Released(tmp_path, fitted, NUMBERS, PROBABILITY)
    graph, found = released.convert()
    directory = packaged(tmp_path / "r", released, graph, found)
    auto = proving.choose(directory, "auto")
    assert (auto.engine.name, auto.engine.converted) == ("native", msgspec.UNSET)
    assert "onnx" not in {item.name for item in auto.considered}
    assert set(auto.engine.passed_over) == {"folded", "trees", "booster"}  # type: ignore[arg-type]
    named = proving.choose(directory, "onnx").engine
    assert (named.name, named.converted) == ("onnx", found)
    value = contract.decode((directory / "contract.json").read_bytes())
    (directory / "contract.json").write_bytes(contract.encode(msgspec.structs.replace(value, engine=named)))
    assert isinstance(loading.load(directory).predictor, AtEdges)
    (directory / PATH).write_bytes(graph[:200] + bytes([graph[200] ^ 1]) + graph[201:])
    with pytest.raises(IntegrityError, match=r"engine/model\.onnx is not the file that was validated"):
        loading.load(directory)


def test_auto_takes_the_first_that_is_proven_and_the_contract_says_why_none_before_it(tmp_path: Path) -> None:
    released = Released(tmp_path, XGBClassifier(**TREES).fit(TABLE, DIED), NUMBERS, PROBABILITY)
    graph, found = released.convert()
    engine = proving.choose(packaged(tmp_path / "r", released, graph, found), "auto").engine
    assert engine.name == "trees"
    assert engine.batch_invariant
    assert engine.proof is not None
    assert engine.proof.largest_difference == 0.0
    assert engine.passed_over == {
        "folded": "the engine folded cannot compute this model: XGBClassifier is not scikit-learn's own"
    }


def test_an_engine_that_was_named_and_differs_says_that_it_is_the_precision(tmp_path: Path) -> None:
    fitted = RandomForestClassifier(**TREES).fit(TABLE, DIED)
    released = Released(tmp_path, fitted, NUMBERS, PROBABILITY)
    directory = packaged(tmp_path / "r", released, *released.convert())
    with pytest.raises(EquivalenceFailed, match="the engine onnx does not answer as the model") as refused:
        proving.choose(directory, "onnx")
    assert "single precision" in refused.value.remedy


Fit: Any = Callable[[], Any]
CONVERTED: dict[str, tuple[Fit, Sequence[Input], Output]] = {
    "XGBoost": (lambda: XGBClassifier(**TREES).fit(TABLE, DIED), NUMBERS, PROBABILITY),
    "XGBoost, a value": (lambda: XGBRegressor(**TREES).fit(TABLE, STAY), NUMBERS, VALUE),
    "XGBoost, the other class": (
        lambda: XGBClassifier(**TREES).fit(TABLE, DIED),
        NUMBERS,
        Output(name="survival", type="probability", positive=0),
    ),
    "LightGBM over whole numbers": (
        lambda: LGBMClassifier(n_estimators=12, min_child_samples=5, verbose=-1).fit(FRAME[["age"]], DIED),
        AGE,
        PROBABILITY,
    ),
    "a forest behind an imputer": (
        lambda: make_pipeline(SimpleImputer(), RandomForestClassifier(**TREES)).fit(TABLE, DIED),
        NUMBERS,
        PROBABILITY,
    ),
    "a forest over columns of every type": (
        lambda: mixed(SimpleImputer(), OneHotEncoder(), RandomForestClassifier(**TREES)).fit(FRAME, DIED),
        MIXED,
        PROBABILITY,
    ),
    "a forest's labels, words": (
        lambda: make_pipeline(SimpleImputer(), ExtraTreesClassifier(**TREES)).fit(TABLE, WARD),
        NUMBERS,
        CLASS,
    ),
    "labels that are booleans": (
        lambda: make_pipeline(SimpleImputer(), RandomForestClassifier(**TREES)).fit(TABLE, DIED.astype(bool)),
        NUMBERS,
        CLASS,
    ),
    "a forest's value": (
        lambda: make_pipeline(SimpleImputer(), RandomForestRegressor(**TREES)).fit(TABLE, STAY),
        NUMBERS,
        VALUE,
    ),
    "a linear pipeline": (
        lambda: mixed(make_pipeline(SimpleImputer(), StandardScaler()), OneHotEncoder(), logistic()).fit(FRAME, DIED),
        MIXED,
        PROBABILITY,
    ),
}


@pytest.mark.parametrize("name", CONVERTED)
def test_what_converts_answers_as_the_model_and_converts_to_the_same_bytes_twice(name: str, tmp_path: Path) -> None:
    fit, inputs, output = CONVERTED[name]
    released = Released(tmp_path, fit(), inputs, output)
    graph, found = released.convert()
    assert released.proven(released.engine(graph)) < TOLERANCE
    assert [type(value) for value in released.engine(graph).predict(rows(inputs))] == [
        type(value) for value in released.native.predict(rows(inputs))
    ]
    assert released.convert() == (graph, found)
    assert found.path == PATH
    assert set(found.converters) == {"onnx", "onnxmltools", "skl2onnx"}
    assert found.opsets == {
        item.domain or "ai.onnx": item.version for item in onnx.load_from_string(graph).opset_import
    }


def test_a_study_that_allows_no_rounding_refuses_single_precision(tmp_path: Path) -> None:
    released = Released(tmp_path, *_xgboost())
    graph, _ = released.convert()
    with pytest.raises((EquivalenceFailed, GoldenMismatch)):
        released.proven(released.engine(graph, 1e-9), 1e-9)


def _xgboost() -> tuple[Any, Sequence[Input], Output]:
    return XGBClassifier(**TREES).fit(TABLE, DIED), NUMBERS, PROBABILITY


def _changed(graph: bytes, attribute: str, change: Callable[[list[Any]], list[Any]]) -> bytes:
    """Return the graph with one attribute of its trees changed."""
    model = onnx.load_from_string(graph)
    found = [item for node in model.graph.node for item in node.attribute if item.name == attribute]
    for item in found:
        values = item.floats if item.floats else item.strings if item.strings else item.ints
        changed = change(list(values))
        assert changed != list(values)
        values[:] = changed
    assert found
    data: bytes = model.SerializeToString()
    return data


PLANTED: dict[str, Callable[[bytes], bytes]] = {
    "one threshold, the next number": lambda graph: _changed(
        graph, "nodes_values", lambda values: [float(np.nextafter(np.float32(values[0]), np.inf)), *values[1:]]
    ),
    "two inputs swapped": lambda graph: _changed(
        graph, "nodes_featureids", lambda places: [{0: 2, 2: 0}.get(place, place) for place in places]
    ),
    "another side for what is missing": lambda graph: _changed(
        graph, "nodes_missing_value_tracks_true", lambda sides: [1 - side for side in sides]
    ),
    "at most, where the tree says less than": lambda graph: _changed(
        graph, "nodes_modes", lambda modes: [b"BRANCH_LEQ" if mode == b"BRANCH_LT" else mode for mode in modes]
    ),
    "the leaves of one tree": lambda graph: _changed(
        graph, "class_weights", lambda weights: [*weights[:-4], *(weight + 0.01 for weight in weights[-4:])]
    ),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_wrong_conversion_is_caught_by_the_proof(planted: str, tmp_path: Path) -> None:
    stump = XGBClassifier(n_estimators=3, max_depth=2).fit(TABLE, DIED)
    inputs = tuple(Input(name=item.name, type="number", valid=(0, 200), missing="allow") for item in NUMBERS)
    released = Released(tmp_path, stump, inputs, PROBABILITY)
    graph, _ = released.convert()
    assert released.proven(released.engine(graph)) < TOLERANCE
    with pytest.raises((EquivalenceFailed, GoldenMismatch)):
        released.proven(released.engine(PLANTED[planted](graph)))


def test_the_graph_of_another_model_is_caught_by_the_proof(tmp_path: Path) -> None:
    released = Released(tmp_path, *_xgboost())
    (tmp_path / "other").mkdir()
    other = XGBClassifier(n_estimators=11, max_depth=3, random_state=1).fit(TABLE, DIED)
    graph, _ = Released(tmp_path / "other", other, NUMBERS, PROBABILITY).convert()
    with pytest.raises((EquivalenceFailed, GoldenMismatch)):
        released.proven(released.engine(graph))


OTHERWISE: dict[str, tuple[Fit, Sequence[Input]]] = {
    "missing values in a forest, which the converter overlooks": (
        lambda: RandomForestClassifier(**TREES).fit(TABLE, DIED),
        NUMBERS,
    ),
    "zeros that XGBoost takes for missing in a sparse matrix": (
        lambda: mixed(SimpleImputer(), OneHotEncoder(), XGBClassifier(**TREES), sparse_threshold=1.0).fit(FRAME, DIED),
        MIXED,
    ),
    "scaled numbers at the cuts of XGBoost, which are numbers that it was fitted with": (
        lambda: make_pipeline(StandardScaler(), XGBClassifier(**TREES)).fit(TABLE, DIED),
        NUMBERS,
    ),
}


@pytest.mark.parametrize("name", OTHERWISE)
def test_what_converts_to_something_else_is_caught_by_the_proof(name: str, tmp_path: Path) -> None:
    """None of these is planted: the converters write such graphs."""
    fit, inputs = OTHERWISE[name]
    released = Released(tmp_path, fit(), inputs, BANDED)
    graph, _ = released.convert()
    with pytest.raises((EquivalenceFailed, GoldenMismatch)):
        released.proven(released.engine(graph))


def test_thresholds_in_double_precision_are_refused_at_the_border(tmp_path: Path) -> None:
    """LightGBM compares doubles; a graph cannot tell two of them that are one in single precision."""
    fitted = LGBMClassifier(n_estimators=12, min_child_samples=5, verbose=-1).fit(TABLE, DIED)
    inputs = tuple(Input(name=item.name, type="number", valid=(0, 200)) for item in NUMBERS)
    released = Released(tmp_path, fitted, inputs, BANDED)
    graph, _ = released.convert()
    with pytest.raises(EquivalenceFailed, match="of the borders"):
        released.proven(released.engine(graph))


class Mine(LogisticRegression):
    """A class of the author, which no converter knows."""


REFUSED: dict[str, tuple[Fit, Sequence[Input], str]] = {
    "no converter for these trees": (
        lambda: HistGradientBoostingClassifier().fit(TABLE, DIED),
        NUMBERS,
        "skl2onnx cannot convert it",
    ),
    "a number that stands for missing": (
        lambda: XGBClassifier(missing=-1.0, **TREES).fit(TABLE.fillna(-1.0), DIED),
        NUMBERS,
        "XGBClassifier takes a number for missing",
    ),
    "zero that stands for missing": (
        lambda: LGBMClassifier(zero_as_missing=True, verbose=-1).fit(TABLE, DIED),
        NUMBERS,
        "LGBMClassifier takes zero for missing",
    ),
    "a category that may be missing": (
        lambda: mixed(SimpleImputer(), OneHotEncoder(), logistic()).fit(FRAME, DIED),
        (*MIXED[:3], msgspec.structs.replace(MIXED[3], missing="allow"), MIXED[4]),
        "a category may be missing, which ONNX cannot say: admission",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_without_a_conversion_is_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    fit, inputs, said = REFUSED[name]
    released = Released(tmp_path, fit(), inputs, PROBABILITY)
    with pytest.raises(EngineUnsuitable, match=said) as refused:
        released.convert()
    assert 'engine = "native"' in refused.value.remedy


def test_a_booster_that_was_searched_for_is_converted_though_the_search_keeps_one_that_is_not_fitted() -> None:
    search = GridSearchCV(XGBClassifier(**TREES), {"reg_lambda": [1.0, 2.0]}, cv=2).fit(TABLE, DIED)
    graph = converting._graph(search, [("features", "numbers", len(NAMES))])
    assert [item.name for item in graph.graph.input] == ["features"]


def test_a_class_of_the_author_has_no_conversion() -> None:
    with pytest.raises(EngineUnsuitable, match="MissingShapeCalculator"):
        converting._graph(Mine().fit(FRAME[["age"]], DIED), [("age", "numbers", 1)])


def test_a_booster_in_its_own_format_is_refused_for_its_wrapper(tmp_path: Path) -> None:
    path = tmp_path / "m.ubj"
    XGBClassifier(**TREES).fit(TABLE, DIED).get_booster().save_model(path)
    request = InspectionRequest(framework="xgboost", artifact=str(path), code=(), inputs=NUMBERS, output=PROBABILITY)
    with pytest.raises(EngineUnsuitable, match="a scikit-learn wrapper around it can be converted"):
        adapters.convert(request, PATH)


def test_an_input_that_the_author_s_code_makes_is_refused(tmp_path: Path) -> None:
    released = Released(tmp_path, *_xgboost())
    code = tmp_path / "preprocessing.py"
    code.write_text("def transform(rows):\n    return [[row[name] for name in row] for row in rows]\n")
    request = InspectionRequest(
        framework="sklearn", artifact=released.request.artifact, code=(str(code),), inputs=NUMBERS, output=PROBABILITY
    )
    with pytest.raises(EngineUnsuitable, match="made by code of its author"):
        adapters.convert(request, PATH)


def test_a_release_without_the_graph_has_no_such_engine(tmp_path: Path) -> None:
    with pytest.raises(EngineUnsuitable, match="carries no conversion"):
        Released(tmp_path, *_xgboost()).engine(None)


@pytest.mark.parametrize("library", ["onnxruntime", "skl2onnx"])
def test_a_missing_library_is_named(library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released = Released(tmp_path, *_xgboost())
    graph, _ = released.convert()
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(LibraryMissing, match=library):
        released.engine(graph) if library == "onnxruntime" else released.convert()


@pytest.mark.parametrize("rounded", [1.0000001, -1e-9, float("nan")])
def test_a_probability_that_rounding_puts_outside_is_the_model_s_own(rounded: float) -> None:
    class Graph:
        def ask(self, _: Output) -> Callable[[Any], Any]:
            return lambda feed: np.array([rounded, 0.25])

    class Estimator:
        classes_ = np.array([0, 1])

    graph: Any = Graph()
    assert converted._numbers(graph, Estimator(), PROBABILITY)([None]) == [None, 0.25]


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        ([[0.5, 0.5], [0.5000001, 0.4999999], [0.51, 0.49]], [False, False, True]),
        ([[1e6, 1e6 + 1, 0.0], [1e6, 2e6, 0.0]], [False, True]),
        ([0.0, 1e-6, 0.5, 0.7], [False, False, False, True]),
    ],
)
def test_labels_that_are_as_good_as_equal_are_the_model_s_own(scores: Any, told: Sequence[bool]) -> None:
    class Graph:
        def labels_and_scores(self) -> Callable[[Any], tuple[Any, Any]]:
            return lambda feed: (np.ones(len(scores), dtype=int), np.array(scores))

    class Estimator:
        classes_ = np.array([0, 1])

    graph: Any = Graph()
    assert converted._labels(graph, Estimator())(None) == [1 if one else None for one in told]

"""Every row of both cohorts, over HTTP, against the estimator called directly.

Bit for bit where the model itself computes; where a proven engine does, within the rounding that its proof allows.
Where the contract says that batches change nothing, a row has the same bits alone and in the whole cohort.
"""

import importlib.util
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import joblib
import pytest
import xgboost

from bedside import wiring
from bedside.stages.package import package
from bedside.stages.serve import command, running

pytestmark = pytest.mark.package
EXAMPLES = Path(__file__).parents[2] / "examples"
AUTO = 'engine = "auto"'
ROUNDING = 1e-12
"""Largest difference between a proven engine and the estimator: the last bits of a probability."""


def training(example: str) -> ModuleType:
    """Return the example's own training script; it knows how to read its cohort."""
    found = importlib.util.spec_from_file_location(f"train_{example}", EXAMPLES / example / "train.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Served:
    """An example that is being served.

    Attributes:
        example: Its name.
        engine: What computes the answers.
        batch_invariant: What the contract says about its answers in batches.
        url: Where it listens.
    """

    example: str
    engine: str
    batch_invariant: bool
    url: str

    def same(self, values: list[float], direct: list[float]) -> None:
        """Require that ``values`` are what the estimator answers directly."""
        if self.engine in ("native", "trees"):
            assert values == direct
        else:
            assert values == pytest.approx(direct, rel=0, abs=ROUNDING)


@pytest.fixture(
    scope="module",
    params=[
        ("icu-mortality", "native"),
        ("icu-mortality", "folded"),
        ("breast-cytology", "native"),
        ("breast-cytology", "trees"),
    ],
)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    example, engine = request.param
    project = tmp_path_factory.mktemp("examples") / example
    shutil.copytree(EXAMPLES / example, project, ignore=shutil.ignore_patterns("dist", "__pycache__"))
    settings = project / "bedside.toml"
    text = settings.read_text()
    assert text.count(AUTO) == 1
    settings.write_text(text.replace(AUTO, f'engine = "{engine}"'))
    tools = wiring.tools()
    release = package(project, runner=tools.runner, uv=tools.uv).release
    assert release.contract.engine.name == engine
    with running(command(release.directory, environments=tools.environments, port=0, admin_port=0)) as server:
        yield Served(example, engine, release.contract.engine.batch_invariant, server.url)


def estimator(example: str) -> Any:
    """Return what answers directly: rows of a DataFrame in, probabilities out."""
    if example == "icu-mortality":
        pipeline = joblib.load(EXAMPLES / example / "model" / "icu.joblib")
        return lambda rows: pipeline.predict_proba(rows)[:, 1].tolist()
    booster = xgboost.Booster(model_file=EXAMPLES / example / "model" / "cytology.ubj")
    return lambda rows: booster.predict(xgboost.DMatrix(rows)).tolist()


def test_each_row_alone_is_answered_as_the_estimator_answers_it(served: Served) -> None:
    rows = training(served.example).cohort()[0]
    direct = estimator(served.example)
    with httpx.Client(base_url=served.url, timeout=30) as client:
        for index, row in enumerate(rows.to_dict("records")):
            answer = client.post("/predict", json={"inputs": row}).json()
            served.same([answer["predictions"][0]["value"]], direct(rows.iloc[[index]]))


def test_the_whole_cohort_in_one_request_is_answered_as_the_estimator_answers_it(served: Served) -> None:
    rows = training(served.example).cohort()[0]
    served.same(whole(served, rows.to_dict("records")), estimator(served.example)(rows))


def test_a_row_alone_and_in_the_whole_cohort_differ_only_where_the_contract_says_so(served: Served) -> None:
    rows = training(served.example).cohort()[0].to_dict("records")
    together = whole(served, rows)
    alone = [httpx.post(f"{served.url}/predict", json={"inputs": row}).json()["predictions"] for row in rows[::10]]
    bound = 0 if served.batch_invariant else ROUNDING
    assert [predictions[0]["value"] for predictions in alone] == pytest.approx(together[::10], rel=0, abs=bound)
    assert served.batch_invariant == ((served.example, served.engine) != ("icu-mortality", "native"))


def whole(served: Served, rows: list[dict[str, Any]]) -> list[float]:
    """Return the values of all ``rows``, asked for in one request."""
    answer = httpx.post(f"{served.url}/predict", json={"instances": rows}, timeout=60).json()
    return [item["value"] for item in answer["predictions"]]


def test_the_order_of_keys_changes_nothing(served: Served) -> None:
    rows = training(served.example).cohort()[0]
    first = rows.to_dict("records")[0]
    shuffled = dict(sorted(first.items(), key=lambda item: hash(item[0])))
    answers = [
        httpx.post(f"{served.url}/predict", json={"inputs": row}).json()["predictions"] for row in (first, shuffled)
    ]
    assert answers[0] == answers[1]

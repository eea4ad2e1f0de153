"""Every row of both cohorts, over HTTP, against the estimator called directly: bit for bit."""

import importlib.util
import shutil
from collections.abc import Iterator
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


def training(example: str) -> ModuleType:
    """Return the example's own training script; it knows how to read its cohort."""
    found = importlib.util.spec_from_file_location(f"train_{example}", EXAMPLES / example / "train.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=["icu-mortality", "breast-cytology"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    example: str = request.param
    project = tmp_path_factory.mktemp("examples") / example
    shutil.copytree(EXAMPLES / example, project, ignore=shutil.ignore_patterns("dist", "__pycache__"))
    tools = wiring.tools()
    release = package(project, runner=tools.runner, uv=tools.uv).release
    with running(command(release.directory, environments=tools.environments, port=0, admin_port=0)) as server:
        yield example, server.url


def estimator(example: str) -> Any:
    """Return what answers directly: rows of a DataFrame in, probabilities out."""
    if example == "icu-mortality":
        pipeline = joblib.load(EXAMPLES / example / "model" / "icu.joblib")
        return lambda rows: pipeline.predict_proba(rows)[:, 1].tolist()
    booster = xgboost.Booster(model_file=EXAMPLES / example / "model" / "cytology.ubj")
    return lambda rows: booster.predict(xgboost.DMatrix(rows)).tolist()


def test_each_row_alone_is_answered_as_the_estimator_answers_it(served: tuple[str, str]) -> None:
    example, url = served
    rows = training(example).cohort()[0]
    direct = estimator(example)
    with httpx.Client(base_url=url, timeout=30) as client:
        for index, row in enumerate(rows.to_dict("records")):
            answer = client.post("/predict", json={"inputs": row}).json()
            assert answer["predictions"][0]["value"] == direct(rows.iloc[[index]])[0], index


def test_the_whole_cohort_in_one_request_is_answered_as_the_estimator_answers_it(served: tuple[str, str]) -> None:
    example, url = served
    rows = training(example).cohort()[0]
    answer = httpx.post(f"{url}/predict", json={"instances": rows.to_dict("records")}, timeout=60).json()
    assert [item["value"] for item in answer["predictions"]] == estimator(example)(rows)


def test_the_order_of_keys_changes_nothing(served: tuple[str, str]) -> None:
    example, url = served
    rows = training(example).cohort()[0]
    first = rows.to_dict("records")[0]
    shuffled = dict(sorted(first.items(), key=lambda item: hash(item[0])))
    answers = [httpx.post(f"{url}/predict", json={"inputs": row}).json()["predictions"] for row in (first, shuffled)]
    assert answers[0] == answers[1]

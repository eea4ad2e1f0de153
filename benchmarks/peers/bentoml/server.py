"""BentoML with adaptive batching: the dispatcher may hold a request for as long as the latency that it is allowed."""

import os
from pathlib import Path
from typing import Any

import bentoml
import joblib
import pandas as pd


@bentoml.service(workers=1, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Predicting:
    def __init__(self) -> None:
        self.model = joblib.load(Path(os.environ["BENCH_MODEL"], "model.joblib"))

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1_000)
    def predict(self, patients: list[dict[str, Any]]) -> list[float]:
        return [float(value) for value in self.model.predict_proba(pd.DataFrame(patients))[:, 1]]

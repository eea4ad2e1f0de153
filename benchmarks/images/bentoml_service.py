"""The same model as a BentoML service; `bentoml build` makes its context, podman builds its Dockerfile."""

import bentoml
import joblib
import pandas as pd


@bentoml.service
class Mortality:
    def __init__(self) -> None:
        self.model = joblib.load("model.joblib")

    @bentoml.api
    def predict(self, patient: dict[str, float]) -> float:
        return float(self.model.predict_proba(pd.DataFrame([patient]))[0, 1])

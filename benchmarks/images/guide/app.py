"""The guide's service: a joblib file and an endpoint."""

import joblib
import pandas as pd
from fastapi import FastAPI

app = FastAPI()
model = joblib.load("model.joblib")


@app.get("/health")
def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/predict")
def predict(patient: dict[str, float | str | bool | None]) -> dict[str, float]:
    return {"probability": float(model.predict_proba(pd.DataFrame([patient]))[0, 1])}

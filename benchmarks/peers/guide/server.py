"""The guide's service: a pydantic model, a joblib file, a synchronous endpoint; asked for one patient at a time."""

import json
import os
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel, create_model

FOLDER = Path(os.environ["BENCH_MODEL"])
TYPES: dict[str, Any] = {"number": float, "integer": int, "boolean": bool, "category": str}

fields: dict[str, Any] = {
    name: (TYPES[kind] if required else TYPES[kind] | None, ... if required else None)
    for name, kind, required in json.loads((FOLDER / "fields.json").read_text())
}
Patient = create_model("Patient", **fields)

app = FastAPI()
model = joblib.load(FOLDER / "model.joblib")


class Prediction(BaseModel):
    probability: float


@app.get("/health")
def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/predict")
def predict(patient: Patient) -> Prediction:  # type: ignore[valid-type]
    rows = pd.DataFrame([patient.model_dump()])  # type: ignore[attr-defined]
    return Prediction(probability=model.predict_proba(rows)[0, 1])

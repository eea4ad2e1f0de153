"""Sepsis risk prediction service."""

import logging
import os
from contextlib import asynccontextmanager

import joblib
import numpy as np
import pandas as pd
from fastapi import FastAPI, HTTPException
from prometheus_client import Counter, make_asgi_app
from pydantic import BaseModel

logger = logging.getLogger(__name__)
PREDICTIONS = Counter("predictions_total", "Predictions made")
model = None


class Patient(BaseModel):
    age: float
    heart_rate: float
    systolic_bp: float
    lactate: float = 1.0


@asynccontextmanager
async def lifespan(app: FastAPI):
    global model
    model = joblib.load(os.environ.get("MODEL_PATH", "/app/models/sepsis.joblib"))
    yield


app = FastAPI(title="Sepsis risk", version="1.2.0", lifespan=lifespan)
app.mount("/metrics", make_asgi_app())


@app.get("/health")
def health():
    return {"status": "healthy"}


@app.get("/ready")
def ready():
    if model is None:
        return {"status": "not ready"}, 503
    try:
        model.predict_proba(np.zeros((1, 4)))
    except Exception as error:
        return {"status": "not ready", "reason": str(error)}, 503
    return {"status": "ready"}


@app.post("/predict")
def predict(patient: Patient):
    logger.info("predicting for %s", patient.model_dump())
    try:
        risk = float(model.predict_proba(pd.DataFrame([patient.model_dump()]))[0, 1])
    except Exception as error:
        raise HTTPException(status_code=500, detail=str(error))
    PREDICTIONS.inc()
    return {"risk": risk}

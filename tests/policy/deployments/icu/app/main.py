"""The ICU mortality model behind HTTP."""

import asyncio
import contextlib
import hashlib
import hmac
import logging
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
import onnxruntime
from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from app.golden import replay

logger = logging.getLogger("icu")
predicting = ThreadPoolExecutor(max_workers=1)
state: dict[str, onnxruntime.InferenceSession] = {}


class Case(BaseModel):
    model_config = ConfigDict(extra="forbid")

    systolic: float = Field(ge=20, le=300)
    lactate: float = Field(ge=0.1, le=40)


def load() -> None:
    data = Path(os.environ["MODEL_PATH"]).read_bytes()
    recorded = Path(os.environ["MODEL_PATH"] + ".sha256").read_text().strip()
    if hashlib.sha256(data).hexdigest() != recorded:
        raise SystemExit("the model is not the validated one")
    session = onnxruntime.InferenceSession(data)
    replay(session)
    state["session"] = session


@contextlib.asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    asyncio.get_running_loop().run_in_executor(predicting, load)
    yield


def caller(authorization: Annotated[str, Header()]) -> None:
    expected = Path(os.environ["TOKEN_FILE"]).read_text().strip()
    if not hmac.compare_digest(authorization, f"Bearer {expected}"):
        raise HTTPException(status_code=401)


app = FastAPI(
    title="icu-mortality", version="1.0.0", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None
)


@app.get("/livez")
async def livez() -> JSONResponse:
    return JSONResponse({"alive": True})


@app.get("/readyz")
async def readyz() -> JSONResponse:
    if "session" not in state:
        return JSONResponse({"ready": False}, status_code=503)
    return JSONResponse({"ready": True})


@app.get("/model")
async def model() -> JSONResponse:
    return JSONResponse({"name": "icu-mortality", "version": app.version})


@app.get("/metrics")
async def metrics() -> JSONResponse:
    return JSONResponse({})


@app.post("/predict", dependencies=[Depends(caller)])
async def predict(case: Case) -> JSONResponse:
    row = np.array([[case.systolic, case.lactate]], dtype=np.float64)
    try:
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(predicting, state["session"].run, None, {"input": row})
    except RuntimeError as error:
        logger.error("predicting failed: %s", type(error).__name__)
        raise HTTPException(status_code=503, detail="the model gave no answer") from None
    return JSONResponse({"mortality": float(answer[0][0])})

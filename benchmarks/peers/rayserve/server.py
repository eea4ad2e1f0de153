"""Ray Serve: requests batched as they come, one replica."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import ray
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=1, max_ongoing_requests=200)
class Predicting:
    def __init__(self, folder: str) -> None:
        self.model = joblib.load(Path(folder, "model.joblib"))

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.0)
    async def answer(self, patients: list[dict[str, Any]]) -> list[float]:
        return [float(value) for value in self.model.predict_proba(pd.DataFrame(patients))[:, 1]]

    async def __call__(self, request: Request) -> dict[str, float]:
        return {"probability": await self.answer(await request.json())}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    deployment: Any = Predicting  # what the decorator made of it
    serve.run(deployment.bind(os.environ["BENCH_MODEL"]), route_prefix="/predict")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.pause()

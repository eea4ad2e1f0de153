"""LitServe: up to 16 requests in a batch; what waits is taken at once."""

import os
import sys
from pathlib import Path
from typing import Any

import joblib
import litserve
import pandas as pd

FOLDER = Path(os.environ["BENCH_MODEL"])


class Predicting(litserve.LitAPI):
    def setup(self, _device: str) -> None:
        self.model = joblib.load(FOLDER / "model.joblib")

    def batch(self, inputs: list[dict[str, Any]]) -> pd.DataFrame:
        return pd.DataFrame(inputs)

    def predict(self, rows: pd.DataFrame) -> Any:
        return self.model.predict_proba(rows)[:, 1]

    def unbatch(self, output: Any) -> list[float]:
        return list(map(float, output))

    def encode_response(self, output: float) -> dict[str, float]:
        return {"probability": output}


if __name__ == "__main__":
    api = Predicting(max_batch_size=16, batch_timeout=0.0)
    server = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")

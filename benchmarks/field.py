"""The field: every contender, each in the best setting that we know of.

Everyone gets one process that computes, as bedside does, and the same patients one at a time. What can batch may.
"""

import json
import subprocess
from collections.abc import Callable
from typing import Any, Final

from benchmarks import releases
from benchmarks.contenders import Command, Contender, Place
from benchmarks.environments import PEERS, environment, version
from benchmarks.workloads import Patient


def _plain(patient: Patient) -> Any:
    return dict(patient.inputs)


def _bedside(patient: Patient) -> Any:
    return {"inputs": dict(patient.inputs)}


def _probability(answer: Any) -> float:
    return float(answer["probability"])


# -- the guide's way


def _guide(place: Place) -> Command:
    bin_ = environment("guide", place.cache)
    words = (str(bin_ / "uvicorn"), "server:app", "--port", str(place.port), "--no-access-log")
    return Command(words, {"BENCH_MODEL": str(place.model)}, PEERS / "guide")


# -- MLServer


def _mlserver(place: Place, *, batch: int, native: bool) -> Command:
    bin_ = environment("mlserver", place.cache)
    settings = {
        "debug": False,
        "host": "127.0.0.1",
        "http_port": place.port,
        "grpc_port": place.port + 1,
        "metrics_port": place.port + 2,
        "parallel_workers": 0,  # in the process that listens: a worker would cost a hop for every request
        "gzip_enabled": False,
    }
    model = {
        "name": "model",
        "implementation": "mlserver_xgboost.XGBoostModel" if native else "mlserver_sklearn.SKLearnModel",
        "max_batch_size": batch,
        "max_batch_time": 0.005 if batch else 0.0,
        "parameters": {"uri": str(place.model / ("model.ubj" if native else "model.joblib"))},
    }
    (place.scratch / "settings.json").write_text(json.dumps(settings))
    (place.scratch / "model-settings.json").write_text(json.dumps(model))
    return Command((str(bin_ / "mlserver"), "start", str(place.scratch)), folder=place.scratch)


_DATATYPES: Final = {bool: "BOOL", int: "INT64", float: "FP64", str: "BYTES"}


def _frame(patient: Patient) -> Any:
    """One tensor a column, which MLServer makes a DataFrame of."""
    tensors = [
        {"name": name, "shape": [1, 1], "datatype": _DATATYPES[type(value)], "data": [value]}
        | ({"parameters": {"content_type": "str"}} if isinstance(value, str) else {})
        for name, value in patient.inputs.items()
    ]
    return {"parameters": {"content_type": "pd"}, "inputs": tensors, "outputs": [{"name": "predict_proba"}]}


def _matrix(patient: Patient) -> Any:
    """One tensor with all columns, for the runtime that asks XGBoost with an array."""
    values = list(patient.inputs.values())
    tensor = {"name": "rows", "shape": [1, len(values)], "datatype": "FP64", "data": values}
    return {"inputs": [tensor], "outputs": [{"name": "predict_proba"}]}


def _tensor(answer: Any) -> float:
    return float(answer["outputs"][0]["data"][1])


# -- BentoML, LitServe, MLflow, Ray Serve


def _bentoml(place: Place) -> Command:
    bin_ = environment("bentoml", place.cache)
    words = (str(bin_ / "bentoml"), "serve", "server:Predicting", "--host", "127.0.0.1", "--port", str(place.port))
    environ = _model(place) | {"BENTOML_DO_NOT_TRACK": "true", "BENTOML_HOME": str(place.scratch)}
    return Command(words, environ, PEERS / "bentoml")


def _litserve(place: Place) -> Command:
    bin_ = environment("litserve", place.cache)
    return Command((str(bin_ / "python"), "server.py", str(place.port)), _model(place), PEERS / "litserve")


def _rayserve(place: Place) -> Command:
    bin_ = environment("rayserve", place.cache)
    environ = _model(place) | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": "/tmp"}  # noqa: S108 - its sockets' paths must be short
    return Command((str(bin_ / "python"), "server.py", str(place.port)), environ, PEERS / "rayserve")


def _mlflow(place: Place) -> Command:
    bin_ = environment("mlflow", place.cache)
    if not (place.model / "mlflow").exists():
        subprocess.run([bin_ / "python", PEERS / "mlflow" / "save.py", place.model], check=True, capture_output=True)
    port = ("--host", "127.0.0.1", "--port", str(place.port), "--workers", "1")
    words = (
        str(bin_ / "mlflow"),
        "models",
        "serve",
        "-m",
        str(place.model / "mlflow"),
        "--env-manager",
        "local",
        *port,
    )
    return Command(words, {"PATH": f"{bin_}:/usr/bin:/bin"}, place.scratch)


def _model(place: Place) -> dict[str, str]:
    return {"BENCH_MODEL": str(place.model)}


def _split(patient: Patient) -> Any:
    return {"dataframe_split": {"columns": list(patient.inputs), "data": [list(patient.inputs.values())]}}


def _second_of_pair(answer: Any) -> float:
    return float(answer["predictions"][0][1])


# -- floors


def _echo(place: Place) -> Command:
    bin_ = environment("echo", place.cache)
    words = (str(bin_ / "uvicorn"), "asgi:app", "--port", str(place.port), "--no-access-log", "--log-level", "warning")
    return Command(words, folder=PEERS / "echo")


def _protocol(place: Place) -> Command:
    bin_ = environment("echo", place.cache)
    return Command((str(bin_ / "python"), "protocol.py", str(place.port)), folder=PEERS / "echo")


def _granian(place: Place) -> Command:
    bin_ = environment("granian", place.cache)
    words = ("--interface", "rsgi", "--host", "127.0.0.1", "--port", str(place.port), "--loop", "uvloop", "--no-log")
    return Command((str(bin_ / "granian"), *words, "rsgi:app"), folder=PEERS / "granian")


# -- bedside


def _value(answer: Any) -> float:
    return float(answer["predictions"][0]["value"])


def _release(engine: str, *, audit: bool) -> Callable[[Place], Command]:
    return lambda place: releases.serve(place, engine=engine, audit=audit)


FIELD: Final = (
    Contender(
        name="guide",
        title=f"the guide's FastAPI service ({version('guide', 'fastapi')})",
        kind="guide",
        setting="synchronous endpoint, pydantic model, joblib, uvicorn over httptools and uvloop",
        command=_guide,
        path="/predict",
        body=_plain,
        answered=_probability,
    ),
    Contender(
        name="mlserver",
        title=f"MLServer {version('mlserver', 'mlserver')}, adaptive batching",
        kind="peer",
        setting="its scikit-learn runtime, batches of 64 within 5 ms, in the listening process",
        command=lambda place: _mlserver(place, batch=64, native=False),
        path="/v2/models/model/infer",
        body=_frame,
        answered=_tensor,
    ),
    Contender(
        name="mlserver-xgboost",
        title=f"MLServer {version('mlserver', 'mlserver')}, XGBoost runtime, adaptive batching",
        kind="peer",
        setting="its XGBoost runtime with an array, batches of 64 within 5 ms, in the listening process",
        command=lambda place: _mlserver(place, batch=64, native=True),
        path="/v2/models/model/infer",
        body=_matrix,
        answered=_tensor,
        only="breast-cytology",
    ),
    Contender(
        name="mlserver-single",
        title=f"MLServer {version('mlserver', 'mlserver')}, one by one",
        kind="peer",
        setting="its scikit-learn runtime without batching, in the listening process",
        command=lambda place: _mlserver(place, batch=0, native=False),
        path="/v2/models/model/infer",
        body=_frame,
        answered=_tensor,
    ),
    Contender(
        name="bentoml",
        title=f"BentoML {version('bentoml', 'bentoml')}, adaptive batching",
        kind="peer",
        setting="one worker, batches of 64, a second of latency allowed (with 100 ms it sheds load)",
        command=_bentoml,
        path="/predict",
        body=lambda patient: {"patients": [dict(patient.inputs)]},
        answered=lambda answer: float(answer[0]),
    ),
    Contender(
        name="litserve",
        title=f"LitServe {version('litserve', 'litserve')}, batching",
        kind="peer",
        setting="one worker, batches of 16 of what waits",
        command=_litserve,
        path="/predict",
        body=_plain,
        answered=_probability,
    ),
    Contender(
        name="mlflow",
        title=f"MLflow {version('mlflow', 'mlflow')}",
        kind="peer",
        setting="mlflow models serve, one worker; it does not batch",
        command=_mlflow,
        path="/invocations",
        body=_split,
        answered=_second_of_pair,
    ),
    Contender(
        name="rayserve",
        title=f"Ray Serve {version('rayserve', 'ray')}, batching",
        kind="peer",
        setting="one replica, batches of 64 of what waits",
        command=_rayserve,
        path="/predict",
        body=_plain,
        answered=_probability,
    ),
    Contender(
        name="echo",
        title=f"bare uvicorn echo ({version('echo', 'uvicorn')})",
        kind="floor",
        setting="an ASGI application that reads and writes the JSON with orjson; httptools, uvloop",
        command=_echo,
        path="/predict",
        body=_bedside,
        answered=None,
    ),
    Contender(
        name="granian",
        title=f"bare Granian echo ({version('granian', 'granian')})",
        kind="floor",
        setting="the same on RSGI, one worker, uvloop",
        command=_granian,
        path="/predict",
        body=_bedside,
        answered=None,
    ),
    Contender(
        name="protocol",
        title="bare asyncio Protocol echo",
        kind="floor",
        setting="the same without any framework: httptools and uvloop",
        command=_protocol,
        path="/predict",
        body=_bedside,
        answered=None,
    ),
    Contender(
        name="bedside-native",
        title="bedside, native engine",
        kind="bedside",
        setting='engine = "native"; everything else as it comes',
        command=_release("native", audit=False),
        path="/predict",
        body=_bedside,
        answered=_value,
    ),
    Contender(
        name="bedside",
        title="bedside, proven engine",
        kind="bedside",
        setting='engine = "auto"; everything else as it comes',
        command=_release("auto", audit=False),
        path="/predict",
        body=_bedside,
        answered=_value,
    ),
    Contender(
        name="bedside-native-audited",
        title="bedside, native engine, audit log",
        kind="bedside",
        setting='engine = "native", [audit] as it comes: every answer after its durable record, inputs as HMAC',
        command=_release("native", audit=True),
        path="/predict",
        body=_bedside,
        answered=_value,
    ),
    Contender(
        name="bedside-audited",
        title="bedside, proven engine, audit log",
        kind="bedside",
        setting='engine = "auto", [audit] as it comes: every answer after its durable record, inputs as HMAC',
        command=_release("auto", audit=True),
        path="/predict",
        body=_bedside,
        answered=_value,
    ),
)
"""Everybody who takes part."""

PACER: Final = next(one for one in FIELD if one.name == "echo")
"""Runs beside everybody, and is what everybody is measured by."""

QUICK: Final = ("guide", "litserve", "bedside-native", "bedside", "bedside-audited")
"""Who takes part in the short form."""

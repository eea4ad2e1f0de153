"""What others build of the same model: the contexts that a guide, BentoML and MLflow lay out.

Their tools come into an environment of their own, made when the first of them is needed.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.images.rows import HERE, ROOT

ICU = ROOT / "examples" / "icu-mortality"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
PACKAGES = (
    "bentoml==1.4.40",
    "mlflow==3.17.2",
    "joblib==1.6.0",
    "pandas",
    "scikit-learn==1.9.1",
    "fastapi",
    "uvicorn",
    "uv",
)
VERSIONS = PACKAGES[:2]


@dataclass(frozen=True)
class Context:
    """What an engine builds, and how its model is exchanged for another one."""

    dockerfile: Path
    directory: Path
    exchange: Callable[[], None]


def with_pip(work: Path, slim: str) -> str:
    """Return a base that has what python:3.11-slim has and the stand-in lacks: pip, and python under its own name."""
    context = work / "with-pip"
    context.mkdir()
    (context / "Dockerfile").write_text(
        f"FROM {slim}\nRUN python3.11 -m venv /usr/local/python && "
        f"printf '[global]\\ncert = {CERTIFICATES}\\n' > /etc/pip.conf\n"
        f'ENV PATH="/usr/local/python/bin:$PATH" SSL_CERT_FILE={CERTIFICATES}\n'
    )
    name = "localhost/library/python:3.11-slim"
    words = ["podman", "build", "--tls-verify=false", "--tag", name, str(context)]
    subprocess.run(words, check=True, stdout=sys.stderr)
    return name


def guide(work: Path) -> Context:
    """As guides write it."""
    directory = Path(shutil.copytree(HERE / "guide", work / "guide"))
    shutil.copyfile(ICU / "requirements.in", directory / "requirements.txt")
    with (directory / "requirements.txt").open("a") as file:
        file.write("fastapi\nuvicorn\n")
    shutil.copyfile(ICU / "model" / "icu.joblib", directory / "model.joblib")
    return Context(directory / "Dockerfile", directory, lambda: _append(directory / "model.joblib"))


def bentoml(work: Path, base: str) -> Context:
    """As `bentoml containerize` would build it."""
    project = work / "bento"
    project.mkdir()
    shutil.copyfile(HERE / "bentoml_service.py", project / "service.py")
    shutil.copyfile(ICU / "model" / "icu.joblib", project / "model.joblib")
    packages = [*(ICU / "requirements.in").read_text().split(), VERSIONS[0]]
    settings = {
        "service": "service:Mortality",
        "include": ["*"],
        "python": {"packages": packages, "lock_packages": False},
        "docker": {"base_image": base},
    }
    (project / "bentofile.yaml").write_text(json.dumps(settings))
    _tool(work, "bentoml", "build", "--output", "tag", cwd=project)
    where = [_python(work), "-c", "import bentoml; print(bentoml.list()[0].path)"]
    found = subprocess.run(where, check=True, capture_output=True, text=True, env=_environment(work))
    directory = Path(found.stdout.strip())
    return Context(directory / "env/docker/Dockerfile", directory, lambda: _append(directory / "src/model.joblib"))


def mlflow(work: Path, base: str) -> Context:
    """As `mlflow models build-docker` would build it."""
    directory, model = work / "mlflow", work / "mlflow-model"
    save = (
        "import joblib, mlflow.sklearn, sys; mlflow.sklearn.save_model(joblib.load(sys.argv[1]), sys.argv[2], "
        "pip_requirements=sys.argv[3], serialization_format='cloudpickle')"
    )
    words = [_python(work), "-c", save, str(ICU / "model" / "icu.joblib"), str(model), str(ICU / "requirements.in")]
    subprocess.run(words, check=True)
    options = ("-m", str(model), "-d", str(directory), "--env-manager", "local")
    _tool(work, "mlflow", "models", "generate-dockerfile", *options)
    path = directory / "Dockerfile"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(f"FROM {base}" if line.startswith("FROM ") else line for line in lines) + "\n")
    return Context(path, directory, lambda: _append(next(directory.rglob("model.pkl"))))


def _append(path: Path) -> None:
    """Change a model file so that it still loads: bytes behind the end of a pickle are not read."""
    with path.open("ab") as file:
        file.write(b"another model")


def _python(work: Path) -> str:
    """Return the Python of the peers' own environment, made when it is first asked for."""
    home = work / "peers"
    if not home.exists():
        subprocess.run([sys.executable, "-m", "uv", "venv", "--quiet", "--python", "3.11", str(home)], check=True)
        install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", f"{home}/bin/python", *PACKAGES]
        subprocess.run(install, check=True)
    return f"{home}/bin/python"


def _environment(work: Path) -> dict[str, str]:
    own = {"BENTOML_HOME": str(work / "bentos"), "BENTOML_DO_NOT_TRACK": "1", "MLFLOW_DISABLE_TELEMETRY": "1"}
    return {**os.environ, **own}


def _tool(work: Path, name: str, *words: str, cwd: Path | None = None) -> None:
    program = Path(_python(work)).with_name(name)
    subprocess.run([str(program), *words], check=True, cwd=cwd, env=_environment(work), stdout=sys.stderr)

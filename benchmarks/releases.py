"""bedside's own contenders: the examples packaged with one engine or another, with the audit log or without."""

import hashlib
import shutil
from pathlib import Path
from typing import Final

from bedside import wiring
from bedside.locking.environments import EnvironmentCache
from bedside.stages import package
from bedside.stages import serve as serving
from benchmarks.contenders import Command, Place
from benchmarks.workloads import Workload

ROOT: Final = Path(__file__).parents[1]
_SOURCES: Final = ("src", "runtime/src", "examples", "benchmarks/releases.py")
_HMAC_KEY: Final = "5a" * 32


def serve(place: Place, *, engine: str, audit: bool) -> Command:
    """Return how the release of a workload is served, packaged first where it is not in the cache."""
    release = _packaged(place, engine, audit=audit)
    environments = EnvironmentCache(wiring.tools().uv, place.cache / "locked")  # of the benchmark's own interpreter
    words = serving.command(release, environments=environments, port=place.port, admin_port=place.port + 1)
    if not audit:
        return Command(words)
    keys = place.scratch / "keys"
    keys.mkdir()
    (keys / "audit-hmac.key").write_text(_HMAC_KEY)
    return Command(words, {"BEDSIDE_AUDIT_DIRECTORY": str(place.scratch / "log"), "BEDSIDE_AUDIT_KEYS": str(keys)})


def _packaged(place: Place, engine: str, *, audit: bool) -> Path:
    """Return a release made from exactly these sources."""
    name = f"{place.workload.name}-{engine}{'-audited' if audit else ''}"
    made = place.cache / "releases" / _digest() / name
    if not made.exists():
        project = place.scratch / name
        _project(project, place.workload, place.model, engine, audit=audit)
        tools = wiring.tools()
        package.package(project, runner=tools.runner, uv=tools.uv)
        made.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(project, made)
    (release,) = (made / "dist").iterdir()
    return release


def _project(project: Path, workload: Workload, model: Path, engine: str, *, audit: bool) -> None:
    """The example as its author left it, but for the engine, the audit log, and the file that the peers serve too."""
    shutil.copytree(workload.project, project, ignore=shutil.ignore_patterns("dist", "__pycache__"))
    declared = project / "bedside.toml"
    text = declared.read_text()
    artifact = next(line.split('"')[1] for line in text.splitlines() if line.startswith("artifact"))
    shutil.copy(model / "model.joblib", project / "model" / "model.joblib")
    text = text.replace(f'"{artifact}"', '"model/model.joblib"').replace('engine = "auto"', f'engine = "{engine}"')
    if 'engine = "' not in text:
        text = text.replace("[serve]\n", f'[serve]\nengine = "{engine}"\n')
    declared.write_text(text + ("\n[audit]\n" if audit else ""))
    if "joblib==" not in (project / "requirements.in").read_text():
        with (project / "requirements.in").open("a") as requirements:
            requirements.write(_wrapper_requirements())


def _wrapper_requirements() -> str:
    """What it takes to load XGBoost's scikit-learn wrapper, in the versions of the other example."""
    lines = (ROOT / "examples" / "icu-mortality" / "requirements.in").read_text().splitlines()
    return "".join(f"{line}\n" for line in lines if line.startswith(("joblib", "pandas", "scikit-learn")))


def _digest() -> str:
    digest = hashlib.sha256()
    for source in _SOURCES:
        path = ROOT / source
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and not {"__pycache__", "dist"} & set(file.parts):
                digest.update(file.read_bytes())
    return digest.hexdigest()[:16]

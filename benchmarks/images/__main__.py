"""`make bench-image`: how long an image takes, how large it is, and what moves when only the model changes.

One model, one base, one engine for everybody: the ICU example's pipeline, a stand-in for python:3.11-slim, podman.
Peers are built as their own commands lay them out: `bentoml build`, `mlflow models generate-dockerfile`, and the
Dockerfile of a guide; their tools come into an environment of their own. Writes docs/benchmarks-images.md,
and the table alone to docs/benchmarks/images.md, which the next `make bench` puts into its page;
with names (`python -m benchmarks.images assembled guide`) those rows are measured again, and the others stay.
"""

import contextlib
import importlib.util
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from string import Template
from types import ModuleType
from typing import TYPE_CHECKING, Any

from bedside.cli.main import run
from bedside.image import contents
from bedside.image.layout import open_layout

if TYPE_CHECKING:
    from tests import built

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ICU = ROOT / "examples" / "icu-mortality"
PAGE = ROOT / "docs" / "benchmarks-images.md"
TABLE = ROOT / "docs" / "benchmarks" / "images.md"
RESULTS = HERE / "results.json"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
PEERS = ("bentoml==1.4.40", "mlflow==3.17.2", "joblib==1.6.0", "pandas", "scikit-learn==1.9.1", "fastapi", "uvicorn")
COLUMNS = (
    "image",
    "cold, s",
    "of it the proof",
    "new model, s",
    "of it the proof",
    "unpacked, MB",
    "to pull, MB",
    "layers",
    "layers that move",
    "MB that move",
    "load a core",
    "day",
)


def _module(path: Path) -> ModuleType:
    """Import what the tests share by its file: a library of the field ships a package that is called `tests`, too."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if not TYPE_CHECKING:
    built = _module(ROOT / "tests" / "built.py")


@dataclass(frozen=True)
class Moved:
    """What a registry that has the image gets when only the model changed."""

    layers: int
    size: int


@dataclass(frozen=True)
class Row:
    """What one way of building an image costs; seconds, bytes. The times hold those of the proof, if any."""

    name: str
    cold: float
    again: float
    unpacked: int
    packed: int
    layers: int
    moved: Moved
    proof: tuple[float, float] | None = None


@dataclass(frozen=True)
class Facts:
    """When a row was measured, how busy the machine was, and how many minutes it took with all that it needs."""

    day: str
    load: str
    minutes: float


@dataclass(frozen=True)
class Context:
    """What an engine builds, and how its model is exchanged for another one."""

    dockerfile: Path
    directory: Path
    exchange: Callable[[], None]


class Workshop:
    """Makes what several rows need, when the first of them needs it."""

    def __init__(self, work: Path, registry: built.Registry) -> None:
        self.work, self.registry = work, registry

    @cached_property
    def release(self) -> Path:
        """The ICU example's release."""
        return built.packaged("icu-mortality", self.work / "icu")

    @cached_property
    def slim(self) -> str:
        """The base of the peers, in podman."""
        return _with_pip(self.work, self.registry.slim)

    def assembled(self) -> Row:
        """Without an engine, on the distroless base."""
        return _bedside(self.work, self.release, "assembled", "--base", str(built.base("distroless")))

    def podman(self) -> Row:
        """From the Dockerfile, on the distroless base."""
        bases = ("--base", self.registry.distroless, "--installer", self.registry.slim, "--plain-http")
        return _bedside(self.work, self.release, "podman", *bases)

    def guide(self) -> Row:
        """As guides write it."""
        return _peer("the guide's Dockerfile", self.work, self.slim, _guide(self.work))

    def bentoml(self) -> Row:
        """As `bentoml containerize` would build it."""
        return _peer("BentoML, `bentoml build`", self.work, self.slim, _bentoml(self.work, self.slim))

    def mlflow(self) -> Row:
        """As `mlflow models build-docker` would build it."""
        return _peer("MLflow, `generate-dockerfile`", self.work, self.slim, _mlflow(self.work, self.slim))


ROWS = ("assembled", "podman", "guide", "bentoml", "mlflow")


def main() -> int:
    """Build everything, or the rows that are named, one after the other; what was measured stays if one fails."""
    work = Path(tempfile.mkdtemp(prefix="bench-image-", dir=os.environ.get("BENCH_IMAGE_DIRECTORY")))
    wanted = sys.argv[1:] or ROWS
    try:
        with built.containers(work / "containers") as variables, built.registry(work / "registry") as registry:
            os.environ.update(variables)
            workshop = Workshop(work, registry)
            failed = [name for name in wanted if not _measured(name, workshop)]
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"written: {PAGE}")
    if failed:
        print(f"not built: {', '.join(failed)}; what they said stands above", file=sys.stderr)
    return 4 if failed else 0


def _measured(name: str, workshop: Workshop) -> bool:
    """Measure a row and keep it; whether that worked."""
    started = time.monotonic()
    try:
        row: Row = getattr(workshop, name)()
    except subprocess.CalledProcessError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return False
    _keep(name, row, _facts(time.monotonic() - started))
    print(f"{name}: {row}", file=sys.stderr)
    return True


def _facts(seconds: float) -> Facts:
    load = f"{os.getloadavg()[2] / (os.cpu_count() or 1):.1f}"
    return Facts(f"{datetime.now(UTC):%Y-%m-%d}", load, round(seconds / 60, 1))


def _keep(name: str, row: Row, facts: Facts) -> None:
    """Put a row in the place of the one that was measured before, and write the page again."""
    kept: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    kept[name] = {"row": asdict(row), "facts": asdict(facts)}
    RESULTS.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    rows = table([_read(kept[other]) for other in ROWS if other in kept])
    PAGE.write_text(page(rows, _machine()), encoding="utf-8")
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(f"{rows}\n", encoding="utf-8")


def _read(kept: dict[str, Any]) -> tuple[Row, Facts]:
    row = kept["row"]
    return Row(**{**row, "moved": Moved(**row["moved"])}), Facts(**kept["facts"])


def _machine() -> str:
    podman = subprocess.run(["podman", "--version"], check=True, capture_output=True, text=True).stdout.split()[-1]
    return (
        f"{os.cpu_count()} shared cores, Python {platform.python_version()}, podman {podman}, {', '.join(PEERS[:2])}."
    )


def _bedside(work: Path, release: Path, engine: str, *options: str) -> Row:
    """Build as a person does, with the proof; then the same with another model."""
    once, again, other = work / f"{engine}-1", work / f"{engine}-2", _retrained(release, work / engine)
    words = ["--engine", engine, "--prove-with", "podman", *options]
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(work / f"{engine}-cache")  # nothing that was built before
    try:
        cold, first = _timed(lambda: _built(release, once, *words))
        warm, second = _timed(lambda: _built(other, again, *words))
    finally:
        del os.environ["XDG_CACHE_HOME"]
        if before is not None:
            os.environ["XDG_CACHE_HOME"] = before
    return _row(f"bedside, {engine}", cold, warm, once, again, (first, second))


def _built(release: Path, target: Path, *words: str) -> float:
    """Build, and return how many seconds of it the proof took."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert run(["build", str(release), "-o", str(target), "--json", *words]) == 0
    return float(sum(json.loads(said.getvalue())["proof"]["seconds"].values()))


def _retrained(release: Path, place: Path) -> Path:
    """Package the example once more with another model file: the same pipeline, saved under another version."""
    project = Path(shutil.copytree(release.parents[1], place / "retrained", ignore=shutil.ignore_patterns("dist")))
    settings = project / "bedside.toml"
    settings.write_text(settings.read_text().replace('version   = "1.0.0"', 'version   = "1.0.1"'))
    load = "import joblib, sys; m = joblib.load(sys.argv[1]); joblib.dump(m, sys.argv[1], compress=3)"
    subprocess.run([sys.executable, "-c", load, str(project / "model" / "icu.joblib")], check=True)
    assert run(["package", str(project)]) == 0
    return project / "dist" / "icu-mortality-1.0.1"


def _peer(name: str, work: Path, base: str, context: Context) -> Row:
    """Build a peer's context with podman, then again with another model."""
    layouts = (work / f"peer-{len(list(work.iterdir()))}-{number}" for number in (1, 2))
    once, again = layouts
    cold, _ = _timed(lambda: _build(context, base, once, "--no-cache"))
    context.exchange()
    warm, _ = _timed(lambda: _build(context, base, again))  # with its cache
    return _row(name, cold, warm, once, again)


def _build(context: Context, base: str, layout: Path, *options: str) -> float:
    words = ["podman", "build", "--network=host", "--format=oci", f"--volume={CERTIFICATES}:{CERTIFICATES}:ro"]
    words += [f"--build-arg=BASE={base}", "--iidfile", f"{layout}.id", "--file", str(context.dockerfile), *options]
    subprocess.run([*words, str(context.directory)], check=True, stdout=sys.stderr)
    image = Path(f"{layout}.id").read_text()
    subprocess.run(["podman", "push", "--quiet", image, f"oci:{layout}"], check=True)
    return 0.0


def _row(
    name: str, cold: float, again: float, once: Path, other: Path, proof: tuple[float, float] | None = None
) -> Row:
    first, second = open_layout(once), open_layout(other)
    before = {layer.digest for layer in first.manifest(first.find()).layers}
    manifest = second.manifest(second.find())
    new = [layer.size for layer in manifest.layers if layer.digest not in before]
    moved = Moved(len(new), sum(new) + manifest.config.size)
    packed, unpacked = sum(layer.size for layer in manifest.layers), sum(contents.read(second, manifest).unpacked)
    return Row(name, cold, again, unpacked, packed, len(manifest.layers), moved, proof)


def _timed(action: Callable[[], float]) -> tuple[float, float]:
    started = time.monotonic()
    found = action()
    return time.monotonic() - started, found


def _with_pip(work: Path, slim: str) -> str:
    """Return a base that has what python:3.11-slim has and the stand-in lacks: pip, and python under its own name."""
    context = work / "with-pip"
    context.mkdir()
    (context / "Dockerfile").write_text(
        f"FROM {slim}\nRUN python3.11 -m venv /usr/local/python && "
        f"printf '[global]\\ncert = {CERTIFICATES}\\n' > /etc/pip.conf\n"
        'ENV PATH="/usr/local/python/bin:$PATH"\n'
    )
    name = "localhost/library/python:3.11-slim"
    words = ["podman", "build", "--tls-verify=false", "--tag", name, str(context)]
    subprocess.run(words, check=True, stdout=sys.stderr)
    return name


def _guide(work: Path) -> Context:
    directory = Path(shutil.copytree(HERE / "guide", work / "guide"))
    shutil.copyfile(ICU / "requirements.in", directory / "requirements.txt")
    with (directory / "requirements.txt").open("a") as file:
        file.write("fastapi\nuvicorn\n")
    shutil.copyfile(ICU / "model" / "icu.joblib", directory / "model.joblib")
    return Context(directory / "Dockerfile", directory, lambda: _append(directory / "model.joblib"))


def _bentoml(work: Path, base: str) -> Context:
    project = work / "bento"
    project.mkdir()
    shutil.copyfile(HERE / "bentoml_service.py", project / "service.py")
    shutil.copyfile(ICU / "model" / "icu.joblib", project / "model.joblib")
    packages = [*(ICU / "requirements.in").read_text().split(), "bentoml==1.4.40"]
    settings = {
        "service": "service:Mortality",
        "include": ["*"],
        "python": {"packages": packages, "lock_packages": False},
    }
    (project / "bentofile.yaml").write_text(json.dumps({**settings, "docker": {"base_image": base}}))
    _tool(work, "bentoml", "build", "--output", "tag", cwd=project, BENTOML_HOME=str(work / "bentos"))
    found = subprocess.run(
        [_python(work), "-c", _WHERE], check=True, capture_output=True, text=True, env=_environment(work)
    )
    directory = Path(found.stdout.strip())
    return Context(directory / "env/docker/Dockerfile", directory, lambda: _append(directory / "src/model.joblib"))


_WHERE = "import bentoml; print(bentoml.list()[0].path)"


def _mlflow(work: Path, base: str) -> Context:
    directory, model = work / "mlflow", work / "mlflow-model"
    save = (
        "import joblib, mlflow.sklearn, sys; mlflow.sklearn.save_model(joblib.load(sys.argv[1]), sys.argv[2], "
        "pip_requirements=sys.argv[3], serialization_format='cloudpickle')"
    )
    subprocess.run(
        [_python(work), "-c", save, str(ICU / "model" / "icu.joblib"), str(model), str(ICU / "requirements.in")],
        check=True,
    )
    _tool(
        work,
        "mlflow",
        "models",
        "generate-dockerfile",
        "-m",
        str(model),
        "-d",
        str(directory),
        "--env-manager",
        "local",
    )
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
        install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", f"{home}/bin/python", *PEERS]
        subprocess.run(install, check=True)
    return f"{home}/bin/python"


def _environment(work: Path) -> dict[str, str]:
    return {
        **os.environ,
        "BENTOML_HOME": str(work / "bentos"),
        "BENTOML_DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "1",
    }


def _tool(work: Path, name: str, *words: str, cwd: Path | None = None, **variables: str) -> None:
    program = Path(_python(work)).with_name(name)
    subprocess.run(
        [str(program), *words], check=True, cwd=cwd, env={**_environment(work), **variables}, stdout=sys.stderr
    )


def page(rows: str, facts: str) -> str:
    """Return the page that `make bench-image` writes."""
    return Template((HERE / "page.md").read_text(encoding="utf-8")).substitute(rows=rows, facts=facts)


def table(rows: list[tuple[Row, Facts]]) -> str:
    """Return the rows as a table of Markdown."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    for row, facts in rows:
        proofs = [f"{seconds:.1f}" for seconds in row.proof] if row.proof is not None else ["none"] * 2
        cells = [row.name, f"{row.cold:.0f}", proofs[0], f"{row.again:.1f}", proofs[1], f"{row.unpacked / 1e6:.0f}"]
        cells += [f"{row.packed / 1e6:.0f}", str(row.layers), str(row.moved.layers), f"{row.moved.size / 1e6:.2f}"]
        lines.append(f"| {' | '.join([*cells, facts.load, facts.day])} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

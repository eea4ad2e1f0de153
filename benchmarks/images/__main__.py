"""`make bench-image`: how long an image takes, how large it is, and what moves when only the model changes.

One model, one base, one engine for everybody: the ICU example's pipeline, a stand-in for python:3.11-slim, podman.
Peers are built as their own commands lay them out: `bentoml build`, `mlflow models generate-dockerfile`, and the
Dockerfile of a guide. Writes docs/benchmarks-images.md, and the table alone to docs/benchmarks/images.md, which the
next `make bench` puts into its page; with names (`python -m benchmarks.images assembled guide`) those rows are measured
again, and the others stay.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from benchmarks.images import building, peers, rows
from benchmarks.images.rows import PAGE, ROOT, ROWS, Row

if TYPE_CHECKING:
    from tests import built


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
        return peers.with_pip(self.work, self.registry.slim)

    def assembled(self) -> Row:
        """Without an engine, on the distroless base."""
        return building.ours(self.work, self.release, "assembled", "--base", str(built.base("distroless")))

    def podman(self) -> Row:
        """From the Dockerfile, on the distroless base."""
        bases = ("--base", self.registry.distroless, "--installer", self.registry.slim, "--plain-http")
        return building.ours(self.work, self.release, "podman", *bases)

    def guide(self) -> Row:
        """As guides write it."""
        return building.theirs("the guide's Dockerfile", self.work, self.slim, peers.guide(self.work))

    def bentoml(self) -> Row:
        """As `bentoml containerize` would build it."""
        context = peers.bentoml(self.work, self.slim)
        return building.theirs("BentoML, `bentoml build`", self.work, self.slim, context)

    def mlflow(self) -> Row:
        """As `mlflow models build-docker` would build it."""
        context = peers.mlflow(self.work, self.slim)
        return building.theirs("MLflow, `generate-dockerfile`", self.work, self.slim, context)


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
    rows.keep(name, row, rows.facts(time.monotonic() - started), peers.VERSIONS)
    print(f"{name}: {row}", file=sys.stderr)
    return True


if __name__ == "__main__":
    sys.exit(main())

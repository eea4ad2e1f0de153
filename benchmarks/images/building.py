"""Building an image and another one after its model changed, and what both of them are."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bedside.image import contents
from bedside.image.layout import open_layout
from benchmarks.images.peers import CERTIFICATES, Context
from benchmarks.images.rows import Built, Moved, Row

BEDSIDE = str(Path(sys.executable).with_name("bedside"))


def ours(work: Path, release: Path, engine: str, *options: str) -> Row:
    """Build as a person does, with the proof; then the same with another model."""
    once, again, other = work / f"{engine}-1", work / f"{engine}-2", _retrained(release, work / engine)
    words = ["--engine", engine, "--prove-with", "podman", *options]
    cache = {"XDG_CACHE_HOME": str(work / f"{engine}-cache")}  # nothing that was built before
    cold = _build(release, once, words, cache)
    warm = _build(other, again, words, cache)
    return _row(f"bedside, {engine}", cold, warm, once, again)


def _build(release: Path, target: Path, words: list[str], variables: dict[str, str]) -> Built:
    """Build, and return how long it took; what the command itself does not account for is its start."""
    command = [BEDSIDE, "build", str(release), "-o", str(target), "--json", *words]
    started = time.monotonic()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **variables})
    seconds = time.monotonic() - started
    parts = json.loads(done.stdout)["seconds"]
    return Built(seconds, {"start": round(seconds - sum(parts.values()), 3), **parts})


def _retrained(release: Path, place: Path) -> Path:
    """Package the example once more with another model file: the same pipeline, saved under another version."""
    project = Path(shutil.copytree(release.parents[1], place / "retrained", ignore=shutil.ignore_patterns("dist")))
    settings = project / "bedside.toml"
    settings.write_text(settings.read_text().replace('version   = "1.0.0"', 'version   = "1.0.1"'))
    load = "import joblib, sys; m = joblib.load(sys.argv[1]); joblib.dump(m, sys.argv[1], compress=3)"
    subprocess.run([sys.executable, "-c", load, str(project / "model" / "icu.joblib")], check=True)
    subprocess.run([BEDSIDE, "package", str(project)], check=True, stdout=sys.stderr)
    return project / "dist" / "icu-mortality-1.0.1"


def theirs(name: str, work: Path, base: str, context: Context) -> Row:
    """Build a peer's context with podman, then again with another model."""
    number = len(list(work.iterdir()))
    once, again = work / f"peer-{number}-1", work / f"peer-{number}-2"
    cold = _timed(lambda: _from_context(context, base, once, "--no-cache"))
    context.exchange()
    warm = _timed(lambda: _from_context(context, base, again))  # with its cache
    return _row(name, cold, warm, once, again)


def _timed(action: Callable[[], None]) -> Built:
    started = time.monotonic()
    action()
    return Built(time.monotonic() - started)


def _from_context(context: Context, base: str, layout: Path, *options: str) -> None:
    words = ["podman", "build", "--network=host", "--format=oci", f"--volume={CERTIFICATES}:{CERTIFICATES}:ro"]
    words += [f"--build-arg=BASE={base}", "--iidfile", f"{layout}.id", "--file", str(context.dockerfile), *options]
    subprocess.run([*words, str(context.directory)], check=True, stdout=sys.stderr)
    image = Path(f"{layout}.id").read_text()
    subprocess.run(["podman", "push", "--quiet", image, f"oci:{layout}"], check=True)


def _row(name: str, cold: Built, again: Built, once: Path, other: Path) -> Row:
    first, second = open_layout(once), open_layout(other)
    before = {layer.digest for layer in first.manifest(first.find()).layers}
    manifest = second.manifest(second.find())
    new = [layer.size for layer in manifest.layers if layer.digest not in before]
    moved = Moved(len(new), sum(new) + manifest.config.size)
    packed, unpacked = sum(layer.size for layer in manifest.layers), sum(contents.read(second, manifest).unpacked)
    return Row(name, cold, again, unpacked, packed, len(manifest.layers), moved)

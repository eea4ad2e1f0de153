"""`bedside package`: from the author's project to a release, proven in a fresh environment or not written."""

import contextlib
import json
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bedside import spec as specification
from bedside.errors import GateRefused
from bedside.findings import Finding
from bedside.locking import accelerators, converters, lockfile, runtime_wheel
from bedside.locking.uv import Uv
from bedside.process import Runner
from bedside.release.reading import Release, describe, open_release, survey
from bedside.spec import Spec
from bedside.stages import runtime
from bedside_runtime import contract as seam
from bedside_runtime import golden

LOCK = "requirements.lock"
CONVERTED = "engine/model.onnx"


@dataclass(frozen=True, slots=True)
class Packaged:
    """A release that was just written.

    Attributes:
        release: Where it lies, and its digest.
        measured: What packaging measured, as in measurements.json.
        notes: What the author should know, and what did not stand in the way.
    """

    release: Release
    measured: dict[str, Any]
    notes: tuple[Finding, ...] = ()


def package(
    project: Path,
    *,
    runner: Runner,
    uv: Uv,
    upgrade: bool = False,
    keep_model: bool = False,
    on_step: Callable[[str], None] = lambda _: None,
    on_progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Packaged:
    """Write ``<project>/dist/<name>-<version>/``, or nothing.

    Args:
        project: Folder with bedside.toml.
        runner: Starts the release's runtime.
        uv: Resolves and installs.
        upgrade: Resolve anew instead of keeping the versions of the project's requirements.lock.
        keep_model: Leave a model file that was fetched in the release, as `bedside fetch` would bring it there.
        on_step: Told what is being done.
        on_progress: Told how far a long step is: how much is done, and of how much.

    Raises:
        SpecInvalid: bedside.toml, or a file that it names; all problems at once.
        GateRefused: This version was packaged before, and from something else.
        BedsideError: A requirement, the model or a golden case; see the class and message.
    """
    # 1. Read and check everything that the author wrote.
    # 2. Resolve the requirements, the runtime among them, into a hashed lock.
    # 3. Lay the files out in a folder of their own beside the releases.
    # 4. Make a fresh environment from the lock; with its own runtime, bring a model that lies in object storage.
    # 5. Inspect the artifact in it: features, globals, versions. Where ONNX Runtime shall compute, convert it, in
    #    another environment that has the converters too.
    # 6. Write contract.json; prove the engine that shall compute, and write it in.
    # 7. Load the release in that environment as production will, and replay every golden case.
    # 8. Give the folder its name. Until here nothing of it is in dist/.
    on_step("reading bedside.toml")  # 1
    spec = specification.load(project)
    with _workspace(spec) as work:
        staging = work / "release"
        on_step("locking the environment")  # 2
        lock = _lock(spec, uv, work, upgrade=upgrade)
        _lay_out(spec, lock, work / "wheels", staging)  # 3
        on_step("making a fresh environment from the lock")  # 4
        wheels = staging / "wheels"
        interpreter = uv.environment(
            work / "environment", spec.environment.python, staging / LOCK, wheels if wheels.is_dir() else None
        )
        if spec.model.source is not None:
            on_step(f"fetching {spec.model.source}")
            runtime.download(runner, interpreter, _wanted(spec, staging), on_progress)
        on_step("inspecting the model")  # 5
        inspection = runtime.inspect(runner, interpreter, _request(spec, staging))
        engine = seam.Engine()
        if spec.engine == "onnx":
            on_step("converting the model to ONNX")
            engine = seam.Engine(converted=_convert(spec, runner, uv, work, staging))
        contract = _contract(spec, inspection, engine, staging)
        considered = _write_contract(spec, contract, runner, interpreter, staging, on_step, on_progress)  # 6
        on_step(f"replaying {contract.golden.cases} golden cases")  # 7
        release = open_release(staging)
        measured = runtime.prove(runner, interpreter, staging, release.digest)
        measured["engines"] = considered
        _write_measurements(staging, measured)
        if spec.model.source is not None and not keep_model:
            release.model.unlink()
            release.model.parent.rmdir()
        return Packaged(_publish(spec, release, lock), measured, spec.notes)  # 8


@contextlib.contextmanager
def _workspace(spec: Spec) -> Iterator[Path]:
    """A folder on the file system of dist/, removed whatever happens; dist/ goes too if it was made for nothing."""
    dist = spec.root / "dist"
    dist.mkdir(exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".packaging-", dir=dist))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        with contextlib.suppress(OSError):
            dist.rmdir()


def _lock(spec: Spec, uv: Uv, work: Path, *, upgrade: bool) -> Path:
    """Resolve into ``work``, keeping what the project's own lock names where it still fits."""
    lock, kept = work / LOCK, spec.root / LOCK
    if kept.is_file() and not upgrade:
        lock.write_text(_authors_part(kept), encoding="utf-8")
    wheel = runtime_wheel.bring(work / "wheels", uv)
    uv.compile(
        spec.environment.requirements,
        runtime_wheel.requirement(_extras(spec)),
        lock,
        spec.environment.python,
        wheel.parent if wheel is not None else None,
    )
    locked = lockfile.parse(lock.read_text(encoding="utf-8"))
    accelerators.check(locked, spec.environment.accelerator, spec.environment.requirements.name)
    if spec.engine == "onnx":
        converters.require_runtime(locked, spec.environment.requirements.name)
    return lock


def _extras(spec: Spec) -> tuple[str, ...]:
    """Return the extras of the runtime that the release's settings use, and no other."""
    audit = spec.audit
    used = {
        "audit": audit is not None and (audit.signed or audit.payload == "encrypted"),
        "auth": "jwt" in spec.serve.auth.methods,
        "fetch": spec.model.source is not None,
        "signature": spec.model.signed,
        "tracing": spec.serve.tracing,
    }
    return tuple(extra for extra, needed in used.items() if needed)


def _authors_part(lock: Path) -> str:
    """Return ``lock`` without the runtime: its version and digest are those of the tools that package."""
    return lockfile.without(lock.read_text(encoding="utf-8"), runtime_wheel.DISTRIBUTION)


def _lay_out(spec: Spec, lock: Path, wheels: Path, staging: Path) -> None:
    model = spec.model
    named = [
        *([(model.artifact, f"model/{model.artifact.name}")] if model.source is None else []),
        (model.card, "model_card.json"),
        (spec.golden.cases, "golden.jsonl"),
        (lock, LOCK),
        *((path, f"code/{path.name}") for path in model.code),
        *((path, f"wheels/{path.name}") for path in sorted(wheels.glob("*.whl"))),
    ]
    for source, target in named:
        destination = staging / target
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, destination)


def _wanted(spec: Spec, staging: Path) -> seam.DownloadRequest:
    model = spec.model
    target = staging / "model" / model.artifact.name
    return seam.DownloadRequest(source=model.source or "", sha256=model.sha256 or "", target=str(target))


def _request(spec: Spec, staging: Path) -> seam.InspectionRequest:
    return seam.InspectionRequest(
        framework=spec.model.framework,
        artifact=str(staging / "model" / spec.model.artifact.name),
        code=tuple(str(staging / "code" / path.name) for path in spec.model.code),
        inputs=spec.inputs,
        output=spec.output,
    )


def _convert(spec: Spec, runner: Runner, uv: Uv, work: Path, staging: Path) -> seam.Converted:
    wheels = staging / "wheels"
    python = spec.environment.python
    interpreter = converters.environment(uv, work, python, staging / LOCK, wheels if wheels.is_dir() else None)
    target = staging / CONVERTED
    target.parent.mkdir()
    request = seam.ConversionRequest(model=_request(spec, staging), target=str(target))
    return runtime.convert(runner, interpreter, request)


def _contract(spec: Spec, inspection: seam.Inspection, engine: seam.Engine, staging: Path) -> seam.Contract:
    cases = golden.parse((staging / "golden.jsonl").read_bytes(), spec.inputs, spec.output)
    return seam.Contract(
        name=spec.model.name,
        version=spec.model.version,
        title=spec.model.title,
        model=seam.Model(
            framework=spec.model.framework,
            format=inspection.format,
            artifact=f"model/{spec.model.artifact.name}",
            source=spec.model.source,
            code=tuple(f"code/{path.name}" for path in spec.model.code),
            features=inspection.features,
            layout=inspection.layout,
            globals=inspection.globals,
            trained_with=inspection.trained_with,
        ),
        inputs=spec.inputs,
        output=spec.output,
        golden=seam.Golden(path="golden.jsonl", cases=len(cases), tolerance=spec.golden.tolerance),
        environment=inspection.environment,
        accelerator=spec.environment.accelerator,
        engine=engine,
        serve=spec.serve,
        audit=spec.audit,
        files=_files(staging),
    )


def _write_contract(
    spec: Spec,
    contract: seam.Contract,
    runner: Runner,
    interpreter: Path,
    staging: Path,
    on_step: Callable[[str], None],
    on_progress: Callable[[int, int], None],
) -> list[dict[str, Any]]:
    """Write contract.json with the engine that is proven, and return all that were considered."""
    path = staging / seam.FILE_NAME
    path.write_bytes(seam.encode(contract))
    on_step("proving an engine" if spec.engine != "native" else "timing the model")
    engine, considered = runtime.choose_engine(runner, interpreter, staging, spec.engine, on_progress)
    path.write_bytes(seam.encode(msgspec.structs.replace(contract, engine=engine)))
    return considered


def _files(staging: Path) -> tuple[seam.File, ...]:
    found = (describe(name, staging / name) for name in sorted(survey(staging)))
    return tuple(seam.File(path=item.path, sha256=item.sha256, size=item.size) for item in found)


def _write_measurements(staging: Path, measured: dict[str, Any]) -> None:
    said = {"machine": platform.machine(), **measured}
    (staging / "measurements.json").write_text(json.dumps(said, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _publish(spec: Spec, release: Release, lock: Path) -> Release:
    """Move the staged release to its name, and the lock to the project, where the next packaging finds it."""
    target = spec.root / "dist" / f"{spec.model.name}-{spec.model.version}"
    if target.exists():
        _same_release(target, release)
        shutil.rmtree(target)
    release.directory.rename(target)
    lock.write_text(_authors_part(lock), encoding="utf-8")
    lock.replace(spec.root / LOCK)
    return Release(target, release.contract, release.digest)


def _same_release(target: Path, release: Release) -> None:
    before = open_release(target).digest
    if before != release.digest:
        raise GateRefused(
            f"{target.name} exists already with digest {before[:16]}..., and this would be {release.digest[:16]}...",
            remedy="Raise [model] version; or delete that directory if nobody has used it.",
        )

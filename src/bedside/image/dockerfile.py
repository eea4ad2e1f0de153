"""A plan as a multi-stage Dockerfile that anybody can read, and build by hand from the release directory. Pure.

The stages are the plan's layers; what runs is the last one, and it only copies. Certificates and the address of an
index come as build secrets that one step sees: no layer and no variable keeps them.
"""

import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Final

from bedside.image import plan as plans
from bedside.image.bytecode import OPTIONS
from bedside.image.installed import PRUNE
from bedside.image.plan import (
    HOME,
    PYTHON,
    RELEASE,
    USER,
    VOLUME_MODE,
    Compiled,
    Copied,
    ImagePlan,
    Installed,
    PlannedLayer,
    Volume,
)
from bedside.image.reference import Reference

RUNTIME: Final = "bedside-runtime"

BYTECODE: Final = "/tmp/bytecode"  # noqa: S108 - in a stage of a build, for whatever user its base has
"""Where a stage compiles to; it stands for the root directory."""

VOLUME: Final = "/volume"
"""Where a stage makes the directory that a volume is mounted on; it stands for the root directory."""

SECRETS: Final = ("ca", "pip")
"""Ids of the build secrets, both optional: PEM certificates, and a pip.conf."""


def render(plan: ImagePlan, base: Reference, builder: Reference) -> str:
    """Return the Dockerfile of ``plan``.

    Args:
        plan: The image.
        base: What the image stands on, by digest.
        builder: What installs: the same Python with pip's venv and a shell, by digest; may be ``base``.
    """
    python = f"python{plans.minor(plan.contract)}"
    parts = (
        _header(plan),
        _installer(builder, python),
        *(_stage(layer, plan, base, python) for layer in plan.layers),
        _image(plan, base),
    )
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def commands(plan: ImagePlan, dockerfile: str, context: str) -> tuple[str, ...]:
    """Return how the Dockerfile is built by hand, with podman and with docker."""
    words = ("--tag", plan.name, "--file", dockerfile, context)
    secrets = "--secret id=ca,src=/etc/ssl/certs/ca-certificates.crt"
    return (
        f"podman build --format oci --timestamp 0 {secrets} {shlex.join(words)}",
        f"DOCKER_BUILDKIT=1 docker build {secrets} {shlex.join(words)}",
    )


def _header(plan: ImagePlan) -> Iterator[str]:
    yield f"# {plan.contract.ref}, release sha256:{plan.release}"
    yield "# Written by `bedside dockerfile`; the context is the directory of the release. By hand, without a proof:"
    for command in commands(plan, "Dockerfile", "RELEASE"):
        yield f"#   {command}"
    yield "# Both secrets are optional: ca is a file of certificates, pip is a pip.conf that names your index."


def _installer(builder: Reference, python: str) -> Iterator[str]:
    yield "# What installs, and what is left out of an installation."
    yield f"FROM {builder} AS installer"
    yield f"RUN {python} -m venv /installer && printf '%s\\n' \\"
    for line in PRUNE.read_text(encoding="utf-8").splitlines():
        yield f"    {shlex.quote(line)} \\"
    yield "    > /installer/prune.py"


def _stage(layer: PlannedLayer, plan: ImagePlan, base: Reference, python: str) -> Iterator[str]:
    match layer:
        case Installed(name):
            yield from _installed(name, plan, python)
        case Compiled(name, modules):
            yield "# Bytecode of what serving imports, by the Python that runs it: no pod could keep its own."
            yield f"FROM {base} AS {name}"
            yield from (f"COPY --from={stage} {HOME} {HOME}" for stage in ("dependencies", "runtime"))
            yield f"RUN {_exec((PYTHON, *OPTIONS, '-m', 'bedside_runtime', 'compile', '--to', BYTECODE, *modules))}"
        case Volume(name, path):
            yield "# Where the audit log goes: a volume that is new takes the owner and the mode of this directory."
            yield f"FROM installer AS {name}"
            owner = f"-m {VOLUME_MODE:04o} -o {USER} -g {USER}"
            yield f"RUN install -d {owner} {shlex.quote(f'{VOLUME}{path}')}"
        case Copied(name, files):
            yield f"# The release's {'code and lock' if name == 'code' else 'model and contract'}."
            yield f"FROM scratch AS {name}"
            for folder in sorted({str(PurePosixPath(file.path).parent) for file in files}):
                here = [file.path for file in files if str(PurePosixPath(file.path).parent) == folder]
                target = "/" if folder == "." else f"/{folder}/"
                yield f"COPY --chmod=0644 {_paths((*here, target))}"


def _installed(name: str, plan: ImagePlan, python: str) -> Iterator[str]:
    """Give the stage that installs the dependencies, or the runtime: exactly what the lock names, wheels only."""
    entry = rf"/^{RUNTIME}==/,/[^\\]$/"
    chosen = f"sed '{entry}d'" if name == "dependencies" else f"sed -n '{entry}p'"
    wheels = [file.path for file in plan.contract.files if file.path.startswith("wheels/")]
    there = wheels if name == "runtime" else []
    words = "--no-cache-dir --no-compile --no-deps --require-hashes --only-binary :all:"
    yield f"# {'Everything that the lock names but the runtime' if name == 'dependencies' else 'The runtime'}."
    yield f"FROM installer AS {name}"
    yield f"COPY {_paths(('requirements.lock', *there, '/release/'))}"
    yield "RUN --mount=type=secret,id=ca --mount=type=secret,id=pip set -eu; \\"
    yield "    if [ -f /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi; \\"
    yield "    if [ -f /run/secrets/pip ]; then export PIP_CONFIG_FILE=/run/secrets/pip; fi; \\"
    yield f"    {chosen} /release/requirements.lock > /release/{name}.txt; \\"
    yield f"    /installer/bin/pip install {words} --find-links /release \\"
    yield f"      --target {plan.site_packages} --requirement /release/{name}.txt; \\"
    yield f"    {python} -I /installer/prune.py {plan.site_packages}" + ("; \\" if name == "dependencies" else "")
    if name == "dependencies":
        yield f"    mkdir {HOME}/bin; ln -s {plan.base.interpreter} {PYTHON}; \\"
        lines = plans.pyvenv(plan.base, plan.contract).splitlines()
        yield f"    printf '%s\\n' {' '.join(map(shlex.quote, lines))} > {HOME}/pyvenv.cfg"


def _image(plan: ImagePlan, base: Reference) -> Iterator[str]:
    execution = plan.execution
    yield "# What runs. Every file belongs to root; the user is a number that the pod names too."
    yield f"FROM {base}"
    for layer in plan.layers:
        match layer:
            case Installed(name):
                yield f"COPY --from={name} {HOME} {HOME}"
            case Compiled(name):
                yield f"COPY --chown=0:0 --from={name} {BYTECODE} /"
            case Volume(name):
                yield f"COPY --from={name} {VOLUME} /"
            case Copied(name):
                yield f"COPY --from={name} / {RELEASE}/"
    own = [item for item in execution.env if item not in plan.base.env]
    if own:
        yield f"ENV {' '.join(_pair(*item.split('=', 1)) for item in own)}"
    yield "LABEL " + " \\\n      ".join(_pair(*item) for item in sorted(execution.labels.items()))
    yield f"EXPOSE {' '.join(execution.exposed_ports)}"
    yield f"WORKDIR {execution.working_dir}"
    yield f"USER {execution.user}"
    yield f"STOPSIGNAL {execution.stop_signal}"
    yield "# Whether it is ready is asked by the orchestrator: /startupz, /readyz, /livez."
    yield "HEALTHCHECK NONE"
    yield f"ENTRYPOINT {_exec(execution.entrypoint)}"
    yield f"CMD {_exec(execution.cmd)}"


def _exec(words: Sequence[str]) -> str:
    return json.dumps(list(words), ensure_ascii=False)


def _paths(paths: Sequence[str]) -> str:
    """Return paths for COPY: in JSON where one of them could be read as several."""
    plain = all(shlex.quote(path) == path for path in paths)
    return " ".join(paths) if plain else json.dumps(list(paths), ensure_ascii=False)


def _pair(name: str, value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'{name}="{escaped}"'

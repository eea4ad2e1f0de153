"""What an image of a release is, before anything is built. Pure.

One plan, two ways to build it: `dockerfile` renders it for an engine, `assembly` writes its layers directly. Both
give the same places, user, environment and command:

    /opt/bedside/bin/python                           link to the base's own interpreter
    /opt/bedside/pyvenv.cfg                           shuts the base's own packages out
    /opt/bedside/lib/python3.X/site-packages/         exactly what the lock names, and the bytecode of what is imported
    /opt/bedside/release/                             the release, as `bedside package` wrote it, but a model file that
                                                      lies in object storage: that comes to its place when a pod starts
    /var/log/model/                                   empty, and the user's: where a release with an audit log has it

Layers stand in the order in which they change: dependencies, runtime, bytecode, audit, code, model. contract.json
changes with everything, so it lies in the last one; a new model moves that layer alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import PurePosixPath
from typing import Final, Literal, TypeAlias

from bedside.errors import UsageError
from bedside.image.oci import Execution, Platform
from bedside.image.reference import Digest, Reference
from bedside_runtime import canonical
from bedside_runtime import contract as seam
from bedside_runtime.contract import Contract, File

HOME: Final = "/opt/bedside"
PYTHON: Final = f"{HOME}/bin/python"
RELEASE: Final = f"{HOME}/release"

DEFAULT_BASE: Final = "gcr.io/distroless/python3-debian12:nonroot"
"""What an assembled image stands on where nothing else is named; its digest has to be."""

DEFAULT_DOCKERFILE_BASE: Final = "docker.io/library/python:3.11-slim"
"""What a Dockerfile stands on where nothing else is named; it brings the shell and the pip that install."""

USER: Final = 10001
"""Who a container runs as; the pod names the same number. It owns no file of the image, and one directory at most."""

VOLUME_MODE: Final = 0o750
"""Of the directory of the audit log: a volume that is new takes owner and mode of what it is mounted on."""

PORT: Final = 8080
ADMIN_PORT: Final = 8081

RELEASE_DIGEST: Final = "dev.bedside.release-digest"
"""Label and annotation that carries the release digest, as ``sha256:...``."""

MODEL: Final = "dev.bedside.model"
"""Label and annotation that carries the model's name, as bedside.toml has it."""

LayerName: TypeAlias = Literal["dependencies", "runtime", "bytecode", "audit", "code", "model"]

_SHORTEST: Final = 3
"""Parts of the shortest path that a volume is planned for: ``/``, ``srv``, ``audit``."""

_LAST: Final = ("model/", "engine/", "golden.jsonl", "model_card.json")
"""What goes into the model's layer, beside contract.json; the rest of a release changes with its code and lock."""

_SYSTEM: Final = (
    *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys", "/tmp", "/usr"),  # noqa: S108
    *("/var/lock", "/var/run", "/var/tmp", HOME),  # noqa: S108
)
"""Where nothing of an image may be the user's, or a base has a link or a mode of its own."""

_LIBRARY: Final[Mapping[str, str]] = {
    "sklearn": "sklearn",
    "xgboost": "xgboost",
    "lightgbm": "lightgbm",
    "onnx": "onnxruntime",
}
"""The module that a framework is imported as."""

_ARCHITECTURES: Final[Mapping[str, str]] = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
"""Machines as Python names them, and the Go names that images carry."""


@dataclass(frozen=True, slots=True)
class Base:
    """What an image stands on.

    Attributes:
        digest: Of its manifest.
        reference: Where others find it by that digest; ``None`` where it came from a file.
        interpreter: The Python in it, ``/usr/local/bin/python3.11``.
        env: Its environment, ``NAME=value``.
    """

    digest: Digest
    interpreter: str
    reference: Reference | None = None
    env: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Installed:
    """A layer of distributions: those that ``lock``, a hashed requirements file, names."""

    name: Literal["dependencies", "runtime"]
    lock: str


@dataclass(frozen=True, slots=True)
class Compiled:
    """A layer of bytecode, by the base's own Python: of all that importing the runtime and ``modules`` brings."""

    name: Literal["bytecode"]
    modules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Volume:
    """A layer of one empty directory that the user owns, for a volume to be mounted on."""

    name: Literal["audit"]
    path: str


@dataclass(frozen=True, slots=True)
class Copied:
    """A layer of files of the release, each with the sha256 that it must have."""

    name: Literal["code", "model"]
    files: tuple[File, ...]


PlannedLayer: TypeAlias = Installed | Compiled | Volume | Copied


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """An image that can be built.

    Attributes:
        name: What the image is called, ``icu-mortality:1.0.0``, once it was proven.
        contract: What the release says of itself.
        release: The release digest, 64 hexadecimal digits.
        base: What it stands on.
        platform: What it runs on.
        layers: From the base up; a release without code, or without an audit log, has no layer for it.
        execution: How a container of it starts.
        annotations: Of its manifest; the labels of its config are the same.
        created: RFC 3339. What SOURCE_DATE_EPOCH says, else the date of the model card, else 1970.
    """

    name: str
    contract: Contract
    release: str
    base: Base
    platform: Platform
    layers: tuple[PlannedLayer, ...]
    execution: Execution
    annotations: Mapping[str, str]
    created: str

    @property
    def site_packages(self) -> str:
        """Where distributions lie in the image."""
        return site_packages(self.contract)


def plan(
    contract: Contract,
    release: str,
    *,
    base: Base,
    dependencies: str,
    runtime: str,
    epoch: int = 0,
    signature: File | None = None,
) -> ImagePlan:
    """Return what the image of a release is.

    Args:
        contract: The release.
        release: Its digest, 64 hexadecimal digits.
        base: What the image stands on.
        dependencies: The lock without bedside-runtime.
        runtime: The lock's entry of bedside-runtime.
        epoch: Seconds since 1970 that the image shall carry as its time.
        signature: contract.sig of a release that is signed; no digest of the release covers it.

    Raises:
        UsageError: The release was packaged for a machine that images are not made for, or its audit log would lie
            where files of the image do.
    """
    annotations = _annotations(contract, release, base, epoch)
    return ImagePlan(
        name=f"{contract.name}:{tag(contract.version)}",
        contract=contract,
        release=release,
        base=base,
        platform=platform(contract),
        layers=(
            Installed("dependencies", dependencies),
            Installed("runtime", runtime),
            Compiled("bytecode", imported(contract)),
            *volumes(contract),
            *_copied(contract, release, signature),
        ),
        execution=execution(contract, release, base, annotations),
        annotations=annotations,
        created=_rfc3339(epoch),
    )


def platform(contract: Contract) -> Platform:
    """Return what an image of this release runs on: the machine that its golden cases passed on."""
    machine = contract.environment.machine
    if machine not in _ARCHITECTURES or "glibc" not in contract.environment.libc:
        raise UsageError(
            f"the release was packaged on {machine} with {contract.environment.libc or 'another C library'}",
            remedy="Package it on Linux with glibc, x86_64 or aarch64: there its golden cases pass as in the image.",
        )
    return Platform(architecture=_ARCHITECTURES[machine], os="linux")


def default_base(contract: Contract, *, through_engine: bool) -> str:
    """Return what an image stands on where nobody names a base: distroless, but for GPUs and for an engine's build."""
    slim = through_engine or contract.accelerator == "cuda"
    return DEFAULT_DOCKERFILE_BASE if slim else DEFAULT_BASE


def minor(contract: Contract) -> str:
    """Return the Python that a release needs, without its patch level: ``3.11``."""
    return ".".join(contract.environment.python.split(".")[:2])


def site_packages(contract: Contract) -> str:
    """Return where distributions lie in the image."""
    return f"{HOME}/lib/python{minor(contract)}/site-packages"


def card_time(card: bytes) -> int:
    """Return the time of a release in seconds since 1970: midnight UTC of ``date`` in its model card, else 0.

    Nothing else in a release is a time: the same inputs give the same bytes, whenever they are packaged.
    """
    try:
        said = canonical.decode(card)
        day = date.fromisoformat(said["date"])
    except (canonical.NotStrictJSON, KeyError, TypeError, ValueError):
        return 0
    return max(0, int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()))


def imported(contract: Contract) -> tuple[str, ...]:
    """Return what serving a release imports beside the runtime: libraries, and where its pickled names come from.

    The author's own modules are none of them: the runtime builds those from the bytes that it compared.
    """
    model = contract.model
    own = {path.rpartition("/")[2].removesuffix(".py") for path in model.code}
    pickled = {item.module for item in model.globals if item.module.partition(".")[0] not in own}
    frame = {"pandas"} if model.layout == "frame" else set()
    converted = {"onnxruntime"} if contract.engine.name == "onnx" else set()
    return tuple(sorted({_LIBRARY[model.framework]} | pickled | frame | converted))


def tag(version: str) -> str:
    """Return ``version`` as a tag, which has no place for the ``+`` of SemVer's build metadata."""
    return version.replace("+", "_")


def pyvenv(base: Base, contract: Contract) -> str:
    """Return pyvenv.cfg: the interpreter is the base's, its packages are not."""
    home = base.interpreter.rpartition("/")[0]
    return f"home = {home}\ninclude-system-site-packages = false\nversion = {contract.environment.python}\n"


def volumes(contract: Contract) -> Iterator[Volume]:
    """Give the layer of the audit log's directory, where the release has a log.

    Raises:
        UsageError: The directory is one of the system's or of the application's.
    """
    if contract.audit is None:
        return
    path = PurePosixPath("/", contract.audit.path.strip("/"))
    if len(path.parts) < _SHORTEST or ".." in path.parts or any(path.is_relative_to(place) for place in _SYSTEM):
        raise UsageError(
            f"the audit log would lie at {path}, which is no place for what a container writes",
            remedy="Name a directory of its own as [audit] path, such as /var/log/model, and package again.",
        )
    yield Volume("audit", str(path))


def _copied(contract: Contract, release: str, signature: File | None) -> tuple[Copied, ...]:
    data = seam.encode(contract)
    files = tuple(
        item for item in contract.files if contract.model.source is None or item.path != contract.model.artifact
    )
    own = (File(path=seam.FILE_NAME, sha256=release, size=len(data)), *((signature,) if signature is not None else ()))
    code = tuple(item for item in files if not item.path.startswith(_LAST))
    model = tuple(item for item in files if item.path.startswith(_LAST))
    return tuple(layer for layer in (Copied("code", code), Copied("model", (*own, *model))) if layer.files)


def execution(contract: Contract, release: str, base: Base | None = None, labels: Mapping[str, str] = {}) -> Execution:
    """Return how a container of a release starts; without ``base``, what does not depend on it."""
    return Execution(
        user=f"{USER}:{USER}",
        exposed_ports={f"{port}/tcp": {} for port in (PORT, ADMIN_PORT)},
        env=_environment(base.env if base is not None else (), contract.environment.threads),
        entrypoint=(PYTHON, "-I", "-m", "bedside_runtime"),
        cmd=("serve", RELEASE, "--host", "0.0.0.0", "--digest", f"sha256:{release}"),  # noqa: S104 - in its own network
        working_dir="/",
        labels=dict(labels),
        stop_signal="SIGTERM",
    )


def _environment(base: tuple[str, ...], threads: Mapping[str, str]) -> tuple[str, ...]:
    """Return the base's environment with the validated thread counts.

    What steers Python in it (PYTHONPATH, PYTHONHOME) is without effect: the entry point starts it isolated.
    """
    kept = dict(item.split("=", 1) for item in base if "=" in item)
    return tuple(f"{name}={value}" for name, value in sorted({**kept, **threads}.items()))


def _annotations(contract: Contract, release: str, base: Base, epoch: int) -> dict[str, str]:
    found = {
        "org.opencontainers.image.title": contract.title,
        "org.opencontainers.image.version": contract.version,
        "org.opencontainers.image.created": _rfc3339(epoch),
        "org.opencontainers.image.base.digest": str(base.digest),
        RELEASE_DIGEST: f"sha256:{release}",
        MODEL: contract.name,
    }
    if base.reference is not None:
        found["org.opencontainers.image.base.name"] = str(base.reference.at(base.digest))
    return found


def seconds(created: str) -> int:
    """Return the seconds since 1970 of a plan's time."""
    return int(datetime.fromisoformat(created).timestamp())


def _rfc3339(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

"""How an image is held while it is proven: read-only, without capabilities or a network, within limits. Pure.

One value, two spellings: the options of `podman run` and `docker run`, and the config.json of an OCI runtime
(runtime-spec 1.0.2) for a machine that has runc or crun and no engine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from bedside.image.oci import Execution
from bedside.image.plan import USER

SCRATCH: Final = 64 << 20
"""Bytes of /tmp, which is all that a container may write."""

PROCESSES: Final = 512
"""Most processes and threads."""

_PERIOD: Final = 100_000
"""Microseconds over which the CPU limit is held."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a release may use: bytes of memory without swap, and cores."""

    memory: int
    cpus: float


@dataclass(frozen=True, slots=True)
class Containment:
    """What a container gets beside its image.

    Attributes:
        limits: Memory and cores.
        scratch: Directories in memory that it may write, with their bytes.
        covered: Files of the image that a file of this machine lies over, read-only.
        env: Variables beside the image's own.
    """

    limits: Limits
    scratch: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({"/tmp": SCRATCH}))  # noqa: S108
    covered: Mapping[str, Path] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)


def options(held: Containment, owned: str) -> tuple[str, ...]:
    """Return the options of `podman run` and `docker run`.

    Args:
        held: How the container is held.
        owned: How the engine says that a directory in memory is the user's. Its mode alone is not enough: runc gives it
            the mode that the image has there.
    """
    return (
        "--read-only",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--network=none",
        f"--user={USER}:{USER}",
        f"--memory={held.limits.memory}",
        f"--memory-swap={held.limits.memory}",
        f"--cpus={held.limits.cpus:g}",
        f"--pids-limit={PROCESSES}",
        *(
            f"--tmpfs={path}:rw,nosuid,nodev,noexec,mode=1777,size={size},{owned}"
            for path, size in held.scratch.items()
        ),
        *(f"--volume={path}:{inside}:ro,z" for inside, path in held.covered.items()),
        *(f"--env={name}={value}" for name, value in held.env.items()),
    )


def bundle(held: Containment, execution: Execution, command: Sequence[str], rootfs: Path) -> dict[str, object]:
    """Return the config.json with which an OCI runtime runs ``command`` in ``rootfs``."""
    nothing: list[str] = []
    kinds = ("bounding", "effective", "inheritable", "permitted", "ambient")
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": USER, "gid": USER},
            "args": [*execution.entrypoint, *command],
            "env": [*execution.env, *(f"{name}={value}" for name, value in held.env.items())],
            "cwd": execution.working_dir or "/",
            "capabilities": dict.fromkeys(kinds, nothing),
            "noNewPrivileges": True,
        },
        "root": {"path": str(rootfs), "readonly": True},
        "hostname": "proof",
        "mounts": [*_MOUNTS, *_scratch(held), *_covered(held)],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")],
            "resources": {
                "memory": {"limit": held.limits.memory, "swap": held.limits.memory},
                "cpu": {"quota": round(held.limits.cpus * _PERIOD), "period": _PERIOD},
                "pids": {"limit": PROCESSES},
                "devices": [{"allow": False, "access": "rwm"}],
            },
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/sched_debug", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    }


_OWNED: Final = (f"uid={USER}", f"gid={USER}")


def _mount(kind: str, place: str, *words: str) -> dict[str, object]:
    return {"destination": place, "type": kind, "source": kind, "options": list(words)}


_MOUNTS: Final = (
    _mount("proc", "/proc"),
    _mount("tmpfs", "/dev", "nosuid", "strictatime", "mode=755", "size=65536k"),
    _mount("devpts", "/dev/pts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"),
    _mount("tmpfs", "/dev/shm", "nosuid", "noexec", "nodev", "mode=1777", f"size={SCRATCH}"),  # noqa: S108
    _mount("sysfs", "/sys", "nosuid", "noexec", "nodev", "ro"),
    _mount("cgroup", "/sys/fs/cgroup", "nosuid", "noexec", "nodev", "relatime", "ro"),
)


def _scratch(held: Containment) -> list[dict[str, object]]:
    return [
        _mount("tmpfs", path, "rw", "nosuid", "nodev", "noexec", "mode=1777", f"size={size}", *_OWNED)
        for path, size in held.scratch.items()
    ]


def _covered(held: Containment) -> list[dict[str, object]]:
    return [
        {"destination": inside, "type": "bind", "source": str(path), "options": ["bind", "ro"]}
        for inside, path in held.covered.items()
    ]

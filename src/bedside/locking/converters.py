"""What converts a model to ONNX: pinned distributions, installed beside a release's lock while it is packaged."""

import importlib.resources
from collections.abc import Iterable
from pathlib import Path

from bedside.errors import GateRefused, SpecInvalid
from bedside.locking.lockfile import Locked
from bedside.locking.uv import Uv

_PINS = "data/converters.in"
_RUNTIMES = frozenset({"onnxruntime", "onnxruntime-gpu"})


def require_runtime(locked: Iterable[Locked], file: str) -> None:
    """Insist on ONNX Runtime in a lock: what the converted model is served by is the author's to choose.

    Args:
        locked: What is going to be installed.
        file: The author's requirements, for the message.

    Raises:
        SpecInvalid: It is not there.
    """
    if not any(item.name in _RUNTIMES for item in locked):
        raise SpecInvalid(
            f'[serve] engine is "onnx", and nothing that {file} resolves to is ONNX Runtime',
            remedy=f'Add onnxruntime to {file}, or write engine = "native".',
        )


def environment(uv: Uv, directory: Path, python: str, lock: Path, wheels: Path | None) -> Path:
    """Make an environment that holds ``lock`` and the converters, and return its Python.

    Args:
        uv: Resolves and installs.
        directory: A folder for it that is there.
        python: Version of the release's environment.
        lock: The release's; everything in it keeps its version.
        wheels: Directory with local wheels, or ``None``.

    Raises:
        GateRefused: The converters do not fit beside that lock.
        BedsideError: They cannot be installed; see `Uv`.
    """
    pins = importlib.resources.files("bedside.locking").joinpath(_PINS).read_text(encoding="utf-8")
    both = directory / "converters.lock"
    try:
        uv.compile(lock, pins, both, python, wheels)
    except SpecInvalid as error:
        raise GateRefused(
            f"the converters to ONNX ({', '.join(pins.split())}) do not fit beside the release's lock: {error}",
            remedy='Write [serve] engine = "native", or choose versions in the requirements that fit.',
        ) from None
    return uv.environment(directory / "converters", python, both, wheels)

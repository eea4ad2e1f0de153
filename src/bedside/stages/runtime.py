"""Asking the release's own runtime, in the release's own environment, as a child process.

The tools never load a model. What a model is and what it answers is found out by ``python -m
bedside_runtime`` inside an environment that holds exactly the release's lock.
"""

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bedside.errors import BedsideError, GateRefused, SpecInvalid, ToolFailed, VerificationFailed
from bedside.process import Completed, Runner
from bedside_runtime.contract import (
    ConversionRequest,
    Converted,
    DownloadRequest,
    Engine,
    Inspection,
    InspectionRequest,
)

ISOLATED = ("-I", "-m", "bedside_runtime")
"""Python's isolated mode: neither the user's PYTHONPATH nor the current folder can slip a module in."""

_BY_EXIT_CODE: dict[int, type[BedsideError]] = {
    1: GateRefused,
    2: SpecInvalid,
    3: VerificationFailed,
    4: ToolFailed,
}


def inspect(runner: Runner, interpreter: Path, request: InspectionRequest) -> Inspection:
    """Return what the artifact of ``request`` turns out to be inside ``interpreter``'s environment.

    Raises:
        BedsideError: The runtime refused; the class follows its exit code.
    """
    done = runner.run([str(interpreter), *ISOLATED, "inspect", "--json"], input=msgspec.json.encode(request).decode())
    return msgspec.json.decode(_answer(done), type=Inspection)


def convert(runner: Runner, interpreter: Path, request: ConversionRequest) -> Converted:
    """Have the artifact of ``request`` converted to ONNX by the converters in ``interpreter``'s environment.

    Raises:
        GateRefused: There is no conversion for it.
        BedsideError: The runtime refused for another reason; the class follows its exit code.
    """
    done = runner.run([str(interpreter), *ISOLATED, "convert", "--json"], input=msgspec.json.encode(request).decode())
    return msgspec.json.decode(_answer(done), type=Converted)


def download(
    runner: Runner, interpreter: Path, request: DownloadRequest, on_progress: Callable[[int, int], None]
) -> None:
    """Bring a model file from object storage, with what ``interpreter``'s environment has for that.

    Raises:
        BedsideError: The runtime refused; the class follows its exit code.
    """
    command = [str(interpreter), *ISOLATED, "download", "--json"]
    said = msgspec.json.encode(request).decode()
    _answer(runner.run(command, input=said, on_error_line=_progress(on_progress)))


def fetch(
    runner: Runner, interpreter: Path, release: Path, digest: str, on_progress: Callable[[int, int], None]
) -> dict[str, int]:
    """Bring the model file of a release that does not carry it to its place.

    Returns:
        How many bytes it has, and how many of them were there before.

    Raises:
        BedsideError: The runtime refused; the class follows its exit code.
    """
    command = [str(interpreter), *ISOLATED, "fetch", str(release), "--digest", digest, "--local", "--json"]
    fetched: dict[str, int] = json.loads(_answer(runner.run(command, on_error_line=_progress(on_progress))))
    return fetched


def answer(
    runner: Runner, interpreter: Path, request: InspectionRequest, rows: Sequence[Mapping[str, object]]
) -> list[float | int | str | bool]:
    """Return what the artifact of ``request`` answers for ``rows``, by input name.

    Raises:
        BedsideError: The runtime refused; the class follows its exit code.
    """
    asked = msgspec.json.encode({"request": request, "rows": rows}).decode()
    answers: list[float | int | str | bool] = json.loads(
        _answer(runner.run([str(interpreter), *ISOLATED, "answer", "--json"], input=asked))
    )
    return answers


def choose_engine(
    runner: Runner, interpreter: Path, release: Path, wanted: str, on_progress: Callable[[int, int], None]
) -> tuple[Engine, list[dict[str, Any]]]:
    """Prove an engine for the release that is being packaged, inside ``interpreter``'s environment.

    Args:
        runner: Starts the runtime.
        interpreter: Python of the release's environment.
        release: The staged release; its contract names ``native``, and what was converted for another engine.
        wanted: An engine by name, or ``auto``.
        on_progress: Told how many inputs of a proof are done, and of how many.

    Returns:
        The engine for the contract, and every engine that was considered, with reason and microseconds.

    Raises:
        GateRefused: The engine cannot compute this model, or differs from it.
        BedsideError: The runtime refused for another reason; the class follows its exit code.
    """
    command = [str(interpreter), *ISOLATED, "choose-engine", str(release), "--engine", wanted, "--json"]
    answer = json.loads(_answer(runner.run(command, on_error_line=_progress(on_progress))))
    return msgspec.convert(answer["engine"], Engine), answer["considered"]


def prove(runner: Runner, interpreter: Path, release: Path, digest: str) -> dict[str, Any]:
    """Load the release and replay its golden cases inside ``interpreter``'s environment.

    Returns:
        What was measured: cases, differences, timings in seconds, memory in bytes.

    Raises:
        BedsideError: The runtime refused; the class follows its exit code.
    """
    done = runner.run([str(interpreter), *ISOLATED, "verify", str(release), "--digest", digest, "--json"])
    measured: dict[str, Any] = json.loads(_answer(done))
    return measured


def _progress(on_progress: Callable[[int, int], None]) -> Callable[[str], None]:
    def said(line: str) -> None:
        with contextlib.suppress(json.JSONDecodeError, KeyError, TypeError):  # a model library's own words
            progress = json.loads(line)
            on_progress(progress["done"], progress["of"])

    return said


def _answer(done: Completed) -> str:
    if done.ok:
        return done.stdout
    try:
        problem = json.loads(done.stdout)
        message, remedy = problem["message"], problem["remedy"]
    except (json.JSONDecodeError, KeyError, TypeError):
        last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise ToolFailed(f"the release's runtime ended with {done.returncode}: {last[0]}") from None
    raise _BY_EXIT_CODE.get(done.returncode, ToolFailed)(message, remedy=remedy)

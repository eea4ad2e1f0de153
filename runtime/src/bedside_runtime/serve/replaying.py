"""Asking a serving process on this host its golden cases, over HTTP as any request comes.

An image is proven with it: run inside the container, beside the server, it needs neither a shell nor a network. It
talks to loopback only, and never prints a value of a case other than golden replays do.
"""

import http.client
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from bedside_runtime import canonical, golden, loading
from bedside_runtime.contract import FILE_NAME, Contract, Scalar
from bedside_runtime.errors import GoldenMismatch, NeverReady
from bedside_runtime.golden import Case
from bedside_runtime.outputs import answer

HOST: Final = "127.0.0.1"
_POLL: Final = 0.05
"""Seconds between two looks at a starting server."""

_TIMEOUT: Final = 60.0
"""Seconds for one answer."""

_NAMED: Final = 10


class Replayed(Struct, frozen=True):
    """A server that answers every golden case as the study recorded it.

    Attributes:
        digest: The release digest that every answer named, 64 hexadecimal digits.
        cases: How many were asked, each alone and then together.
        largest_difference: Largest absolute difference to what was expected, of all answers.
        ready_seconds: How long this waited until the server said that it is ready.
        seconds: How long asking took.
    """

    digest: str
    cases: int
    largest_difference: float
    ready_seconds: float
    seconds: float


class _Asked(Struct, frozen=True):
    """A golden case, and its inputs as they stand in the file."""

    case: Case
    inputs: dict[str, Any]


def replay(directory: Path, port: int, *, digest: str | None = None, within: float = 60.0) -> Replayed:
    """Ask the server on ``port`` of loopback every golden case of the release in ``directory``.

    Args:
        directory: The release; compared file by file before a case of it is asked.
        port: Public port of the server.
        digest: The release digest it must have.
        within: Seconds until the server must be ready.

    Raises:
        NeverReady: The server refuses its release, or is not ready in time.
        IntegrityError, ContractInvalid: The release here is not what was validated.
        GoldenMismatch: An answer is not the one that was recorded, or is of another release.
    """
    started = time.monotonic()
    _when_ready(port, started + within).close()
    ready = time.monotonic()
    contract, files = loading.verified(directory, digest)
    release = canonical.digest(files[FILE_NAME])
    asked = _asked(files[contract.golden.path], loading.golden_cases(contract, files))
    with closing(_when_ready(port, time.monotonic() + _TIMEOUT)) as connection:
        for path in ("/livez", "/startupz", "/readyz"):
            _ask(connection, "GET", path)
        largest = max(_compared(connection, contract, release, group) for group in _groups(asked, contract))
    seconds = time.monotonic() - ready
    return Replayed(release, len(asked), largest, round(ready - started, 3), round(seconds, 3))


def _asked(data: bytes, cases: Sequence[Case]) -> list[_Asked]:
    lines = [json.loads(line) for line in data.split(b"\n") if line.strip()]
    return [_Asked(case, line["inputs"]) for case, line in zip(cases, lines, strict=True)]


def _when_ready(port: int, deadline: float) -> http.client.HTTPConnection:
    """Return a connection whose other end is ready, and has said on it that it has started.

    Of several workers one does not speak for the other that the next connection would go to.
    """
    reason = "nothing listens"
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection(HOST, port, timeout=_TIMEOUT)
        try:
            said = _ask(connection, "GET", "/readyz", anyway=True)
            began = _ask(connection, "GET", "/startupz", anyway=True)
        except OSError:  # not listening yet
            connection.close()
            time.sleep(_POLL)
            continue
        reason = said["reason"] if said.get("ready") is not True else began["reason"]
        if reason == "started":  # of several workers one may be ready long before the last has started
            return connection
        connection.close()
        if said.get("status") == "failed":
            raise NeverReady(f"the server refuses its release: {reason}")
        time.sleep(_POLL)
    raise NeverReady(f"the server was not ready in time: {reason}")


def _groups(asked: Sequence[_Asked], contract: Contract) -> Iterator[Sequence[_Asked]]:
    """Give each case alone, then as many together as the server takes."""
    for one in asked:
        yield [one]
    group: list[_Asked] = []
    size = 0
    for one in asked:
        length = len(json.dumps(one.inputs).encode()) + 2
        if group and (len(group) == contract.serve.max_instances or size + length > contract.serve.max_body // 2):
            yield group
            group, size = [], 0
        group.append(one)
        size += length
    yield group


def _compared(
    connection: http.client.HTTPConnection, contract: Contract, release: str, group: Sequence[_Asked]
) -> float:
    """Ask ``group`` in one request and return the largest difference."""
    said = _ask(connection, "POST", "/predict", {"instances": [one.inputs for one in group]})
    if said["release"]["digest"].removeprefix("sha256:") != release:
        raise GoldenMismatch(f"the server answers for another release: {said['release']['digest']}")
    if len(said["predictions"]) != len(group):
        raise GoldenMismatch(f"the server gives {len(said['predictions'])} answers to {len(group)} questions")
    pairs = [(one.case, got) for one, got in zip(group, said["predictions"], strict=True)]
    failed = [case.id for case, got in pairs if not _as_recorded(contract, case, got)]
    if failed:
        how = "" if len(group) == 1 else " in a batch"
        raise GoldenMismatch(f"over HTTP, these golden cases are answered otherwise{how}: {', '.join(failed[:_NAMED])}")
    return max(golden.difference(case.expected, got["value"]) for case, got in pairs)


def _as_recorded(contract: Contract, case: Case, got: dict[str, Any]) -> bool:
    value: Scalar = got["value"]
    band: str | None = answer(contract.output, case.expected).band
    return golden.difference(case.expected, value) <= contract.golden.tolerance and got.get("band") == band


def _ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: object = None, *, anyway: bool = False
) -> Any:  # noqa: ANN401 - any JSON value
    """Return what the server answers; another status than 200 is a refusal unless it is wanted ``anyway``."""
    sent = None if body is None else json.dumps(body).encode()
    connection.request(method, path, sent, {"content-type": "application/json"})
    response = connection.getresponse()
    said = json.loads(response.read())
    if response.status != http.client.OK and not anyway:
        raise GoldenMismatch(f"{method} {path} is answered {response.status}: {said.get('reason', 'without a reason')}")
    return said

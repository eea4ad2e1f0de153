"""`bedside serve`: the release's own runtime, in its own locked environment, on this machine."""

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from bedside import process
from bedside.errors import ToolFailed, VerificationFailed
from bedside.locking.environments import EnvironmentCache
from bedside.release.reading import model_file, open_release
from bedside.stages.runtime import ISOLATED
from bedside.stages.verify import check_files, interpreter_of

_POLL = 0.05
"""Seconds between two looks at a starting server."""


def command(
    directory: Path,
    *,
    environments: EnvironmentCache,
    host: str = "127.0.0.1",
    port: int = 8080,
    admin_port: int = 8081,
    digest: str | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> tuple[str, ...]:
    """Return the command that serves the release in ``directory``, after comparing every file of it.

    Args:
        directory: A release.
        environments: Where its locked environment is kept.
        host: Address of both ports.
        port: Public port; 0 takes a free one.
        admin_port: Port of metrics and probes; 0 takes a free one.
        digest: The release digest that it must have.
        on_step: Told what is being done.

    Raises:
        VerificationFailed: The release is not what was validated; nothing of it was installed or run.
    """
    on_step("comparing every file")
    release = open_release(directory)
    check_files(release)
    model_file(release)
    expected = digest.removeprefix("sha256:") if digest is not None else release.digest
    on_step("making the locked environment")
    interpreter = interpreter_of(release, environments)
    ports = ("--host", host, "--port", str(port), "--admin-port", str(admin_port))
    return (str(interpreter), *ISOLATED, "serve", str(release.directory), *ports, "--digest", expected, "--local")


@dataclass(frozen=True, slots=True)
class Running:
    """A server that is ready: base URL of its public port, and of its admin port."""

    url: str
    admin_url: str
    child: process.Child


@contextmanager
def running(command: Sequence[str], *, timeout: float = 60.0) -> Iterator[Running]:
    """Start ``command`` as `command` returned it, wait until it is ready, stop it at the end.

    Args:
        command: The server's command line.
        timeout: Seconds until it must be ready.

    Raises:
        VerificationFailed: It refused its release; the message holds the reason code.
        ToolFailed: It ended, or was not ready in time.
    """
    with tempfile.TemporaryDirectory(prefix="bedside-serve-") as directory:
        log = Path(directory, "log")
        with process.background(command, log=log) as child:
            yield _ready(child, log, time.monotonic() + timeout)


def _ready(child: process.Child, log: Path, deadline: float) -> Running:
    server: Running | None = None
    while time.monotonic() < deadline:
        server = server or _listening(child, log)
        if server is not None and _is_ready(server.url):
            return server
        if child.returncode is not None:
            raise ToolFailed(f"the server ended with exit code {child.returncode} before it was ready: {_last(log)}")
        time.sleep(_POLL)
    raise ToolFailed("the server was not ready in time", remedy="Look at the reason code that /readyz answers.")


def _listening(child: process.Child, log: Path) -> Running | None:
    for line in log.read_text(encoding="utf-8").splitlines():
        event = json.loads(line) if line.startswith("{") else {}
        if event.get("event") == "listening":
            host = event["host"]
            return Running(f"http://{host}:{event['port']}", f"http://{host}:{event['admin_port']}", child)
    return None


def _is_ready(url: str) -> bool:
    try:
        answer = httpx.get(f"{url}/readyz", timeout=5.0)
    except httpx.TransportError:
        return False
    if answer.status_code != httpx.codes.OK and answer.json().get("status") == "failed":
        raise VerificationFailed(f"the server refuses this release: {answer.json()['reason']}")
    return answer.status_code == httpx.codes.OK


def _last(log: Path) -> str:
    lines = log.read_text(encoding="utf-8").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def serve_forever(directory: Path, *, environments: EnvironmentCache, host: str, port: int, admin_port: int) -> None:
    """Become the server of the release in ``directory``; returns only by an error.

    Raises:
        VerificationFailed: As in ``command``.
    """
    line = command(directory, environments=environments, host=host, port=port, admin_port=admin_port)
    process.replace(line)

"""Servers as processes of this machine: started, asked until they answer, weighed, ended with all their children."""

import contextlib
import ctypes
import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.contenders import Command

_SUBREAPER: Final = 36
"""PR_SET_CHILD_SUBREAPER of prctl(2): children of a child that ends become ours, so that none gets lost."""

_GRACE: Final = 15.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class DidNotStart(Exception):
    """A contender ended, or did not answer in time."""


def adopt_orphans() -> None:
    """Become the parent of every process below this one whose own parent ends."""
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def free_ports(count: int) -> int:
    """Return the first of ``count`` ports in a row that nobody uses now."""
    while True:
        with contextlib.ExitStack() as taken:
            first = _bound(taken, 0)
            with contextlib.suppress(OSError, OverflowError):
                for port in range(first + 1, first + count):
                    _bound(taken, port)
                return first


def _bound(taken: contextlib.ExitStack, port: int) -> int:
    one = taken.enter_context(socket.socket())
    one.bind(("127.0.0.1", port))
    return int(one.getsockname()[1])


@dataclass(slots=True)
class Server:
    """A running contender.

    Attributes:
        port: Where it listens.
        path: Where it is asked.
        child: The process that was started.
        before: Processes below this one that were there already, and so are none of its own.
    """

    port: int
    path: str
    child: "subprocess.Popen[bytes]"
    before: frozenset[int]

    def ask(self, body: bytes) -> Any:  # noqa: ANN401 - decoded JSON
        """Return the decoded answer.

        Raises:
            OSError, http.client.HTTPException: It does not answer, or not with 200.
            ValueError: Its answer is no JSON.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request("POST", self.path, body, {"content-type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
            if response.status != http.client.OK:
                raise http.client.HTTPException(f"{response.status}: {answer[:500]!r}")
            return json.loads(answer)

    def memory(self) -> int:
        """Return the resident bytes of all of its processes; what they share counts once (PSS of proc(5))."""
        total = 0
        for pid in set(descendants()) - self.before:
            with contextlib.suppress(OSError, StopIteration):
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                total += 1024 * int(next(line for line in lines if line.startswith("Pss:")).split()[1])
        return total

    def cpu_seconds(self) -> float:
        """Return the processor time that its processes have used so far."""
        return cpu_seconds(self.before)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Let all of its processes stand still, so that they take no time of the machine."""
        own = set(descendants()) - self.before
        _signal(own, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal(own, signal.SIGCONT)


def descendants() -> list[int]:
    """Return every process below this one."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int(_fields(int(entry.name))[1])
    found: list[int] = []
    level = {os.getpid()}
    while level := {pid for pid, parent in parents.items() if parent in level}:
        found += level
    return found


def cpu_seconds(but: frozenset[int] = frozenset()) -> float:
    """Return the processor time that all processes below this one have used so far, ``but`` some."""
    total = 0
    for pid in set(descendants()) - but:
        with contextlib.suppress(OSError):
            total += sum(map(int, _fields(pid)[11:13]))
    return total / _TICKS


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _fields(pid: int) -> list[str]:
    """Return the fields of proc(5)'s stat from the third on, the state."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


@contextlib.contextmanager
def running(command: Command, port: int, path: str, log: Path) -> Iterator[Server]:
    """Start ``command``; end it with all of its children."""
    environ = {**os.environ, **command.environ}
    before = frozenset(descendants())
    with log.open("wb") as out:
        child = subprocess.Popen(
            command.words, cwd=command.folder, env=environ, stdout=out, stderr=out, stdin=subprocess.DEVNULL
        )
    try:
        yield Server(port, path, child, before)
    finally:
        _end(child, before)


def _end(child: "subprocess.Popen[bytes]", before: frozenset[int]) -> None:
    """SIGTERM to the one that was started, then SIGKILL to all that came after ``before`` and is left."""
    child.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(_GRACE)
    deadline = time.monotonic() + _GRACE
    while (left := set(descendants()) - before) and time.monotonic() < deadline:
        _signal(left, signal.SIGKILL)
        for pid in left:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        child.poll()
        time.sleep(0.02)

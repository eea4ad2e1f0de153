"""The load: wrk in a closed loop with keep-alive, one thread (see ADR 7)."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

SCRIPT: Final = Path(__file__).with_name("requests.lua")


_LOST: Final = 60
"""Seconds after which a load ends that nobody asked to end any more."""


class LoadToolMissing(Exception):
    """wrk is not installed."""


class LoadFailed(Exception):
    """wrk could not ask a server, or said nothing that can be read."""


class Load(Struct, frozen=True):
    """What wrk measured; times in microseconds.

    Attributes:
        requests: Answers with a 2xx or 3xx status.
        microseconds: How long the load ran.
        refused: Answers with another status.
        broken: Connections that could not be made, broke off, or waited longer than two seconds.
        p50: Half of the answers came within this time.
        p90: Nine of ten.
        p99: 99 of 100.
        longest: All of them.
    """

    requests: int
    microseconds: int
    refused: int
    broken: int
    p50: int
    p90: int
    p99: int
    longest: int

    @property
    def per_second(self) -> float:
        """Good answers a second."""
        return self.requests / self.microseconds * 1e6


def version() -> str:
    """Return wrk's own words about its version.

    Raises:
        LoadToolMissing: It is not there.
    """
    if shutil.which("wrk") is None:
        raise LoadToolMissing("wrk is not installed; Debian and Ubuntu have it as the package wrk")
    said = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False)
    return (said.stdout + said.stderr).splitlines()[0].split("[")[0].strip()


def run(url: str, bodies: Path, connections: int, seconds: float) -> Load:
    """Ask ``url`` over ``connections`` for ``seconds``.

    Args:
        url: Where.
        bodies: JSON documents, one a line; they are sent in turn.
        connections: As many requests are always on their way.
        seconds: How long; wrk looks at its clock ten times a second.

    Raises:
        LoadFailed: Nothing was measured.
    """
    how = ("-t1", f"-c{connections}", f"-d{round(seconds) + _LOST}s", "--latency", "-s", str(SCRIPT))
    with (
        _on_last_core(),
        subprocess.Popen(["wrk", *how, url, "--", str(bodies)], stdout=subprocess.PIPE, text=True) as wrk,
    ):
        while wrk.poll() is None and not _may_be_asked_to_end(wrk.pid):
            time.sleep(0.005)
        with contextlib.suppress(subprocess.TimeoutExpired):
            wrk.wait(seconds)
        wrk.send_signal(signal.SIGINT)  # wrk counts in whole seconds; asked to end, it says what it has measured
        said = wrk.communicate()[0]
    if wrk.returncode:
        raise LoadFailed(f"wrk ended with {wrk.returncode}")
    measured = parse(said)
    if not measured.requests:
        raise LoadFailed(f"no good answer within {seconds:g} s")
    return measured


def _may_be_asked_to_end(pid: int) -> bool:
    """Whether a process handles SIGINT by now, as proc(5)'s status says; before that it would just die of it."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        caught = int(next(line for line in lines if line.startswith("SigCgt:")).split()[1], 16)
        return bool(caught >> signal.SIGINT - 1 & 1)
    return False


@contextlib.contextmanager
def _on_last_core() -> Iterator[None]:
    """What starts within runs on the last of the cores: a server finds the same cores free whenever it is asked."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def parse(stdout: str) -> Load:
    """Read the last line, which ``requests.lua`` writes. wrk counts refused answers among the requests."""
    said = json.loads(stdout.strip().splitlines()[-1])
    said["requests"] -= said["refused"]
    return Load(**said)

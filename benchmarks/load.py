"""The load: wrk in a closed loop with keep-alive, one thread (see ADR 7)."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Final

from msgspec import Struct

SCRIPT: Final = Path(__file__).with_name("requests.lua")


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
        seconds: Whole seconds.

    Raises:
        LoadFailed: Nothing was measured.
    """
    how = ("-t1", f"-c{connections}", f"-d{round(seconds)}s", "--latency", "-s", str(SCRIPT))
    done = subprocess.run(["wrk", *how, url, "--", str(bodies)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LoadFailed(f"wrk ended with {done.returncode}")
    return parse(done.stdout)


def parse(stdout: str) -> Load:
    """Read the last line, which ``requests.lua`` writes. wrk counts refused answers among the requests."""
    said = json.loads(stdout.strip().splitlines()[-1])
    said["requests"] -= said["refused"]
    return Load(**said)
